"""Keeps what the synchronous door decided, after its answers: best effort, counted, caught up when Redis is back."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.metrics import RECORDED, RECORDINGS_DROPPED, RECORDINGS_PENDING, REDIS_FAULTS
from shared.outage import Outage
from shared.store.interfaces import TransactionIntake
from shared.store.records import decided_at_once
from shared.store.sharded import ShardedIntake
from shared.store.shards import share
from shared.transaction import TransactionModel

log = get_logger(__name__)


class Pace(NamedTuple):
    """How decisions are gathered to be recorded: how long the first waits for company, and how many share a call."""

    linger_seconds: float
    batch: int


CALM = Pace(linger_seconds=0.02, batch=32)
"""A call is so short that an answer which comes at the same time is not a millisecond late."""

BUSY = Pace(linger_seconds=0.1, batch=256)
"""Each time Redis takes a core to write to disk, the answers are slower for a while: rarely, and much at a time."""

BEHIND = Pace(linger_seconds=0.0, batch=1024)
"""A process that answers without a pause gets to few calls: they have to carry all that comes, or it would be lost."""

BEHIND_FROM = 4096
"""Decisions that wait to be recorded from which on a process is behind."""

BUSY_PER_SECOND = 10_000
"""Decisions a second from which on a process has no core to spare."""

MAX_BYTES = 128 * 1024 * 1024
"""Of decisions in the buffer, however few they are: bounds memory where a team's transactions are large."""

RETRY_SECONDS = 0.5
"""How long to wait between two attempts while Redis is away."""


class Recorder:
    """A bounded buffer of decisions that are yet to be recorded, and the task that empties it."""

    def __init__(
        self,
        intake: TransactionIntake,
        *,
        capacity: int,
        max_bytes: int = MAX_BYTES,
        pending_in_all: Callable[[], int] | None = None,
    ) -> None:
        """Where it is one of several, `pending_in_all` says how many decisions are in all their buffers."""
        self._intake = intake
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._pending_in_all = pending_in_all
        # id, transaction, time and decision as bytes: a third of what the objects would take
        self._buffer: deque[tuple[str, bytes, str, bytes]] = deque()
        self._filled = asyncio.Event()
        self._pace = CALM
        self._flushed_at = 0.0
        self._flushing = asyncio.Lock()
        self._bytes = 0
        self._outage = Outage(log, failing="recording is behind: Redis is away", back="recording has caught up")
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Decisions in the buffer."""
        return len(self._buffer)

    def add(self, transaction: TransactionModel, *, scored_at: str, shown: bytes) -> None:
        """Takes a decision, as it was answered, to be recorded, or counts it as dropped where the buffer is full."""
        body = transaction.to_json()
        if len(self._buffer) >= self._capacity or self._bytes >= self._max_bytes:
            self.dropped += 1
            RECORDINGS_DROPPED.inc()
            return
        self._buffer.append((transaction.transaction_id, body, scored_at, shown))
        self._bytes += len(body) + len(shown)
        if not self._filled.is_set():
            self._filled.set()

    def _show_pending(self) -> None:
        RECORDINGS_PENDING.set(len(self._buffer) if self._pending_in_all is None else self._pending_in_all())

    async def run(self) -> None:
        """Records until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(self._pace.linger_seconds)
            try:
                await self.flush()
            except StoreUnavailableError as error:
                self._outage.failed(error)
                REDIS_FAULTS.labels("record").inc()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("recording failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Records all that is in the buffer now.

        Raises:
            StoreUnavailableError: Redis failed; what was not recorded stays in the buffer.
        """
        async with self._flushing:
            await self._flush()

    async def flush_of(self, _transaction_id: str) -> None:
        """Records what is in the buffer of the shard that has this transaction: here, all.

        Raises:
            StoreUnavailableError: Redis failed; what was not recorded stays in the buffer.
        """
        await self.flush()

    async def _flush(self) -> None:
        # what comes meanwhile waits for company again: a call for each handful would cost more than the answers do
        left = len(self._buffer)
        now = asyncio.get_running_loop().time()
        if left > BEHIND_FROM:
            self._pace = BEHIND
        else:
            self._pace = BUSY if left > BUSY_PER_SECOND * (now - self._flushed_at) else CALM
        self._flushed_at = now
        while left > 0:
            batch = list(islice(self._buffer, min(self._pace.batch, left)))
            self._show_pending()
            await self._intake.record(
                [
                    decided_at_once(transaction_id, transaction=transaction, scored_at=at, shown=shown)
                    for transaction_id, transaction, at, shown in batch
                ]
            )
            for _, transaction, _, shown in batch:
                self._buffer.popleft()
                self._bytes -= len(transaction) + len(shown)
            RECORDED.inc(len(batch))
            left -= len(batch)
        self._show_pending()
        if not self._buffer:
            self._filled.clear()
        self._outage.over()


class ShardedRecorder:
    """A buffer for each shard of the store: the decisions of one that is away keep no others from being recorded."""

    def __init__(self, intake: ShardedIntake, *, capacity: int) -> None:
        parts = len(intake.parts)
        self._route = intake.route
        self._parts = tuple(
            Recorder(
                part,
                capacity=share(capacity, parts),
                max_bytes=share(MAX_BYTES, parts),
                pending_in_all=lambda: self.pending,
            )
            for part in intake.parts
        )

    @property
    def pending(self) -> int:
        """Decisions in all buffers."""
        return sum(part.pending for part in self._parts)

    @property
    def dropped(self) -> int:
        """Decisions that found their buffer full."""
        return sum(part.dropped for part in self._parts)

    def add(self, transaction: TransactionModel, *, scored_at: str, shown: bytes) -> None:
        """See Recorder."""
        part = self._parts[self._route(transaction.transaction_id)]
        part.add(transaction, scored_at=scored_at, shown=shown)

    async def run(self) -> None:
        """See Recorder."""
        await asyncio.gather(*(part.run() for part in self._parts))

    async def flush(self) -> None:
        """See Recorder; where a shard fails, what is for the others is recorded all the same."""
        for outcome in await asyncio.gather(*(part.flush() for part in self._parts), return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def flush_of(self, transaction_id: str) -> None:
        """See Recorder."""
        await self._parts[self._route(transaction_id)].flush()


AnyRecorder = Recorder | ShardedRecorder


def recorder_of(intake: TransactionIntake, *, capacity: int) -> AnyRecorder:
    """The recorder of a store, whatever it is made of."""
    if isinstance(intake, ShardedIntake):
        return ShardedRecorder(intake, capacity=capacity)
    return Recorder(intake, capacity=capacity)
