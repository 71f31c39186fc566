"""Keeps what the synchronous door decided, after its answers: best effort, counted, caught up when Redis is back."""

import asyncio
from collections import deque
from itertools import islice
from typing import NamedTuple

from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.metrics import RECORDED, RECORDINGS_DROPPED, RECORDINGS_PENDING, REDIS_FAULTS
from shared.store.records import decided_at_once
from shared.store.transactions import TransactionIntake
from shared.transaction import TransactionModel

log = get_logger(__name__)

BATCH = 256
"""Decisions recorded in one call: more would hold up the event loop, and Redis, for milliseconds."""

LINGER_SECONDS = 0.02
"""How long a first decision waits for company: each call costs Redis a write to disk, so few are better than many."""

RETRY_SECONDS = 0.5
"""How long to wait between two attempts while Redis is away."""


class _Decided(NamedTuple):
    """What is kept of a decision until it is recorded: bytes, a third of what the objects would take."""

    transaction_id: str
    transaction: bytes
    scored_at: str
    shown: bytes


class Recorder:
    """A bounded buffer of decisions that are yet to be recorded, and the task that empties it."""

    def __init__(self, intake: TransactionIntake, *, capacity: int) -> None:
        self._intake = intake
        self._capacity = capacity
        self._buffer: deque[_Decided] = deque()
        self._filled = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.dropped = 0
        self.away = False

    @property
    def pending(self) -> int:
        """Decisions in the buffer."""
        return len(self._buffer)

    def add(self, transaction: TransactionModel, *, scored_at: str, shown: bytes) -> None:
        """Takes a decision, as it was answered, to be recorded, or counts it as dropped where the buffer is full."""
        if len(self._buffer) >= self._capacity:
            self.dropped += 1
            RECORDINGS_DROPPED.inc()
            return
        self._buffer.append(_Decided(transaction.transaction_id, transaction.to_json(), scored_at, shown))
        if not self._filled.is_set():
            self._filled.set()

    async def run(self) -> None:
        """Records until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(LINGER_SECONDS)
            try:
                await self.flush()
            except StoreUnavailableError as error:
                if not self.away:
                    log.warning("recording is behind: Redis is away", problem=str(error))
                self.away = True
                REDIS_FAULTS.labels("record").inc()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("recording failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Records all that is in the buffer.

        Raises:
            StoreUnavailableError: Redis failed; what was not recorded stays in the buffer.
        """
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        while self._buffer:
            batch = list(islice(self._buffer, BATCH))
            RECORDINGS_PENDING.set(len(self._buffer))
            await self._intake.record(
                [
                    decided_at_once(
                        each.transaction_id, transaction=each.transaction, scored_at=each.scored_at, shown=each.shown
                    )
                    for each in batch
                ]
            )
            for _ in batch:
                self._buffer.popleft()
            RECORDED.inc(len(batch))
        RECORDINGS_PENDING.set(0)
        self._filled.clear()
        if self.away:
            log.info("recording has caught up")
            self.away = False
