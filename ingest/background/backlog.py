"""The backlog, read once a second: transactions that wait for a decision, and the rate at which they are decided."""

import math
import time
from collections import deque
from collections.abc import Callable

from riskline.ingest.background.every import every
from riskline.shared.errors import QueueFullError, StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.status.counts import Counts
from riskline.shared.telemetry.metrics import (
    CALLBACKS_DEAD,
    CALLBACKS_HELD,
    CALLBACKS_OVERDUE_SECONDS,
    CALLBACKS_PENDING,
    FAILED,
    OLDEST_SECONDS,
    QUEUE_LIMIT,
    RECEIVERS_PAUSED,
    UNDECIDED,
    WORKERS,
)
from riskline.shared.wording import counted

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0

LOOKS = 10
"""The rate is that of the last seconds in which there was always something to decide: long enough to be steady,
short enough to see workers come and go."""

ROOM = 0.1
"""The part of the queue that is to be free before refused clients come again: with less they would be refused again."""

LONGEST_SECONDS = 300
"""The largest Retry-After: workers may have been added since."""

UNKNOWN_SECONDS = 30
"""The Retry-After while nothing is decided: a missing worker has to be started first."""

SOON_SECONDS = 2
"""The Retry-After while workers live and their rate is not yet known."""


class Backlog:
    """The last read of the queue, and from it the answer to a client that finds the queue full."""

    def __init__(
        self, intake: TransactionIntake, *, queue_limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._intake = intake
        self._queue_limit = queue_limit
        self._clock = clock
        self._busy: deque[tuple[float, int]] = deque(maxlen=LOOKS)
        self._last: tuple[float, Counts] | None = None
        self._outage = Outage(log, failing="Redis is away", back="Redis is back")
        self._no_worker = Outage(log, failing="no worker shows signs of life", back="a worker lives")
        QUEUE_LIMIT.set(queue_limit)
        self._no_delivery = Outage(log, failing="callbacks are not delivered", back="callbacks are delivered again")

    @property
    def last(self) -> tuple[float, Counts] | None:
        """The time of the last read, by the clock, and its counts; None where Redis failed."""
        return self._last

    @property
    def counts(self) -> Counts | None:
        """The counts of the last read; None before the first, or where Redis failed."""
        return None if self._last is None else self._last[1]

    async def run(self) -> None:
        """Reads until cancelled."""
        await every(INTERVAL_SECONDS, self.update, log=log, failed="looking at the queue failed", outage=self._missed)

    def _missed(self, error: StoreUnavailableError) -> None:
        self._last = None
        self._outage.failed(error)

    async def update(self) -> None:
        """Reads once.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        counts = await self._intake.count()
        now = self._clock()
        # the first look after an outage may come before the workers have shown that they live
        seen_before = self._last is not None
        if self._last is not None and self._last[1].whole and self._last[1].undecided and counts.undecided:
            then, before = self._last
            done = counts.decided + counts.failed - before.decided - before.failed
            self._busy.append((now - then, max(0, done)))
        self._last = (now, counts)
        if counts.undecided and not counts.workers and seen_before:
            waiting = counted(counts.undecided, "transaction waits", "transactions wait")
            self._no_worker.failed(waiting, remedy="start `riskline worker`")
        elif counts.workers:
            self._no_worker.over()
        self._look_at_callbacks(counts)
        UNDECIDED.set(counts.undecided)
        OLDEST_SECONDS.set((counts.oldest_ms or 0) / 1000)
        WORKERS.set(counts.workers)
        FAILED.set(counts.failed_now)
        self._outage.over()

    def _look_at_callbacks(self, counts: Counts) -> None:
        overdue_seconds = counts.callbacks_overdue_ms / 1000
        if counts.nobody_delivers:
            pending = counted(counts.callbacks_pending, "callback is", "callbacks are")
            problem = f"{pending} pending, one due for {overdue_seconds:.0f} s"
            self._no_delivery.failed(problem, remedy="start `riskline worker --queue callbacks`")
        else:
            self._no_delivery.over()
        CALLBACKS_PENDING.set(counts.callbacks_pending)
        CALLBACKS_OVERDUE_SECONDS.set(overdue_seconds)
        CALLBACKS_DEAD.set(counts.callbacks_dead_now)
        RECEIVERS_PAUSED.set(counts.receivers_paused)
        CALLBACKS_HELD.set(counts.callbacks_held)

    @property
    def decided_per_second(self) -> float:
        """The decisions a second while the queue is not empty; 0 where that was not seen."""
        seconds = sum(each for each, _ in self._busy)
        return sum(done for _, done in self._busy) / seconds if seconds > 0 else 0.0

    def queue_full(self) -> QueueFullError:
        """The problem for a client that finds the queue full."""
        nobody = ", and no worker lives" if self.counts is not None and self.counts.workers == 0 else ""
        return QueueFullError(
            f"{self._queue_limit} transactions wait for a decision, the limit of this installation{nobody}; repeat the "
            "request later.",
            self.retry_after_seconds(),
        )

    def retry_after_seconds(self) -> int:
        """The seconds until a client will find room, at the present rate of decisions."""
        rate = self.decided_per_second
        if rate == 0:
            nobody_works = bool(self._busy) or self.counts is None or self.counts.workers == 0
            return UNKNOWN_SECONDS if nobody_works else SOON_SECONDS
        return min(LONGEST_SECONDS, math.ceil(ROOM * self._queue_limit / rate))
