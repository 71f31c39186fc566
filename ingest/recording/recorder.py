"""Keeps what the synchronous door decided, after its answers: best effort, counted, caught up when Redis is back."""

import asyncio
from collections import deque
from collections.abc import Callable

from riskline.ingest.recording.backpressure import Backpressure, BufferLevel
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.kept_history import history_members
from riskline.shared.store.records import decided_at_once
from riskline.shared.store.sharding.sharded_store import ShardedIntake
from riskline.shared.store.sharding.shards import share
from riskline.shared.telemetry.metrics import RECORDED, RECORDINGS_PENDING, REDIS_FAULTS

log = get_logger(__name__)


LINGER_SECONDS = 0.02
"""The time that the first decision waits for others: each call takes CPU from the answers."""

AT_ONCE = 256
"""Decisions in a call: preparing them takes this process under 1 ms, recording them takes Redis 2 ms."""

MOST_AT_ONCE = 1024
MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
"""The decisions in a call where more wait: a call has a fixed cost. Larger calls cost Redis
more for each decision, and keep it for longer than 8 ms from what others want of it."""

AHEAD = 4 * MOST_AT_ONCE
"""The number of waiting decisions from which on the door decides only as many as are recorded."""

PATIENCE_SECONDS = 0.25
PATIENCE_LOOKS = 10
"""How long a call may take before Redis is what is slow: then the door answers, and the buffer fills. So often it is
looked at meanwhile: an event loop with much to do reads an answer of Redis late, and is late with these looks, too."""

MAX_BYTES = 128 * 1024 * 1024
"""The bytes of decisions in the buffer: bounds memory where a team's transactions are large."""

RETRY_SECONDS = 0.5
"""The pause between two attempts while Redis is away."""


Decided = tuple[str, bytes, str, bytes]
"""Id, transaction (with its history), time and decision as bytes: a third of the objects' memory."""


class Recorder:
    """A bounded buffer of decisions that are yet to be recorded, and the task that empties it."""

    def __init__(
        self,
        intake: TransactionIntake,
        *,
        capacity: int,
        max_bytes: int = MAX_BYTES,
        pressure: Backpressure | None = None,
        pending_in_all: Callable[[], int] | None = None,
        ahead: int = AHEAD,
    ) -> None:
        """Of several recorders, `pending_in_all` returns the number of decisions in all their buffers."""
        self.pressure = Backpressure() if pressure is None else pressure
        """The pressure that the door checks before it decides."""
        self._intake = intake
        self._level = BufferLevel(capacity=capacity, max_bytes=max_bytes)
        self._ahead = max(1, min(ahead, capacity // 2))
        self._pending_in_all = pending_in_all
        self._buffer: deque[Decided] = deque()
        self._filled = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._bytes = 0
        self._is_patient = False
        self._may_be_added = 0
        self._outage = Outage(log, failing="recording is behind: Redis is away", back="recording has caught up")

    @property
    def pending(self) -> int:
        """Decisions in the buffer."""
        return len(self._buffer)

    @property
    def dropped(self) -> int:
        """Decisions that found the buffer full."""
        return self._level.dropped

    def add(self, transaction: TransactionModel, *, scored_at: str, shown: bytes) -> None:
        """Buffers a decision as it was answered; counts it as dropped where the buffer is full."""
        body = transaction.to_json()
        if type(transaction).lacks_history:
            # its class has history
            body += history_members(transaction)
        waiting = len(self._buffer)
        level = self._level
        if (waiting >= level.watched or self._bytes >= level.watched_bytes) and not level.has_room(
            waiting, self._bytes
        ):
            return
        self._buffer.append((transaction.transaction_id, body, scored_at, shown))
        self._bytes += len(body) + len(shown)
        if waiting >= self._ahead and self._is_patient:
            self._may_be_added -= 1
            if self._may_be_added <= 0:
                self.pressure.is_high = True
        if not self._filled.is_set():
            self._filled.set()

    def _show_pending(self) -> None:
        RECORDINGS_PENDING.set(len(self._buffer) if self._pending_in_all is None else self._pending_in_all())

    async def run(self) -> None:
        """Records until cancelled."""
        while True:
            await self._filled.wait()
            if len(self._buffer) < MOST_AT_ONCE:
                await asyncio.sleep(LINGER_SECONDS)
            try:
                await self.flush()
            except StoreUnavailableError as error:
                self._outage.failed(error)
                REDIS_FAULTS.labels("record").inc()
            except Exception:
                log.exception("recording failed")
            else:
                continue
            await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Records all that is in the buffer now.

        Raises:
            StoreUnavailableError: Redis failed; what was not recorded stays in the buffer.
        """
        async with self._flushing:
            left = len(self._buffer)
            while left > 0:
                left -= await self._record(self._next_batch())
            self._outage.over()

    async def flush_of(self, _transaction_id: str) -> None:
        """Records the buffer of the shard that has this transaction: here, all.

        Raises:
            StoreUnavailableError: Redis failed; what was not recorded stays in the buffer.
        """
        await self.flush()

    def _next_batch(self) -> list[Decided]:
        """The waiting decisions, newcomers too, up to the size of a call."""
        most = AT_ONCE if len(self._buffer) < MOST_AT_ONCE else MOST_AT_ONCE
        batch: list[Decided] = []
        size = 0
        for decided in self._buffer:
            if len(batch) >= most or size >= MOST_BYTES_AT_ONCE:
                break
            batch.append(decided)
            size += _size(decided)
        return batch

    async def _record(self, batch: list[Decided]) -> int:
        """Makes one call; returns the number of decisions that it recorded."""
        outcomes = [
            decided_at_once(transaction_id, transaction=transaction, scored_at=at, shown=shown)
            for transaction_id, transaction, at, shown in batch
        ]
        self._show_pending()
        # no request waits for Redis while it is away
        self._is_patient = not self._outage.lasts
        self._look(PATIENCE_LOOKS)
        try:
            await self._intake.record(outcomes)
        finally:
            self._next_look.cancel()
            self._is_patient = False
            if self.pressure.is_high:
                # requests that wait are answered while the next call is under way
                asyncio.get_running_loop().call_soon(self.pressure.ease)
        self._recorded(batch)
        return len(batch)

    def _recorded(self, batch: list[Decided]) -> None:
        for decided in batch:
            self._buffer.popleft()
            self._bytes -= _size(decided)
        RECORDED.inc(len(batch))
        # fewer than were recorded, so that the buffer empties, and enough for the door to go on
        self._may_be_added = len(batch) // 2
        self._level.fell(len(self._buffer), self._bytes)
        self._show_pending()
        if not self._buffer:
            self._filled.clear()

    def _look(self, left: int) -> None:
        if left:
            loop = asyncio.get_running_loop()
            self._next_look = loop.call_later(PATIENCE_SECONDS / PATIENCE_LOOKS, self._look, left - 1)
            return
        self._is_patient = False
        if self.pressure.is_high:
            self.pressure.ease()


def _size(decided: Decided) -> int:
    return len(decided[1]) + len(decided[3])


class ShardedRecorder:
    """A buffer for each shard of the store: the decisions of one that is away keep no others from being recorded."""

    def __init__(self, intake: ShardedIntake, *, capacity: int) -> None:
        parts = len(intake.parts)
        self.pressure = Backpressure()
        self._route = intake.route
        self._parts = tuple(
            Recorder(
                part,
                capacity=share(capacity, parts),
                max_bytes=share(MAX_BYTES, parts),
                pressure=self.pressure,
                ahead=share(AHEAD, parts),
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
        """See Recorder. Where a shard fails, the decisions of the others are recorded all the same."""
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
