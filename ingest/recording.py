"""Keeps what the synchronous door decided, after its answers: best effort, counted, caught up when Redis is back."""

import asyncio
from collections import deque
from itertools import islice
from typing import NamedTuple

from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.metrics import RECORDED, RECORDINGS_DROPPED, RECORDINGS_PENDING, REDIS_FAULTS
from shared.outage import Outage
from shared.store.interfaces import TransactionIntake
from shared.store.records import decided_at_once
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

    def __init__(self, intake: TransactionIntake, *, capacity: int) -> None:
        self._intake = intake
        self._capacity = capacity
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
        if len(self._buffer) >= self._capacity or self._bytes >= MAX_BYTES:
            self.dropped += 1
            RECORDINGS_DROPPED.inc()
            return
        self._buffer.append((transaction.transaction_id, body, scored_at, shown))
        self._bytes += len(body) + len(shown)
        if not self._filled.is_set():
            self._filled.set()

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
            RECORDINGS_PENDING.set(len(self._buffer))
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
        RECORDINGS_PENDING.set(len(self._buffer))
        if not self._buffer:
            self._filled.clear()
        self._outage.over()
