"""How many transactions wait for a decision, and how fast they are decided: looked at once a second."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.metrics import FAILED, OLDEST_SECONDS, UNDECIDED, WORKERS
from shared.outage import Outage
from shared.store.counts import Counts
from shared.store.transactions import TransactionIntake

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0

LOOKS = 10
"""Of the last so many looks the rate is taken: long enough to be steady, short enough to see workers come and go."""

ROOM = 0.1
"""The part of the queue that shall be free before refused clients come again: with less they would be refused again."""

LONGEST_SECONDS = 300
"""The most that a client is told to stay away: workers may have been added since."""

UNKNOWN_SECONDS = 30
"""What a client is told where nothing was decided lately: a worker that is missing has to be started first."""


class Backlog:
    """The last look at the queue, and what follows from it for a client that finds it full."""

    def __init__(
        self, intake: TransactionIntake, *, queue_limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._intake = intake
        self._queue_limit = queue_limit
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque(maxlen=LOOKS + 1)
        self._outage = Outage(log, failing="Redis is away", back="Redis is back")
        self.counts: Counts | None = None
        """What was there at the last look; None where there was none, or Redis failed it."""

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.look()
                self._outage.over()
            except StoreUnavailableError as error:
                self.counts = None
                self._outage.failed(error)
            except Exception:
                log.exception("looking at the queue failed")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Counts once.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        counts = await self._intake.count()
        self.counts = counts
        self._looks.append((self._clock(), counts.decided + counts.failed))
        UNDECIDED.set(counts.undecided)
        OLDEST_SECONDS.set((counts.oldest_ms or 0) / 1000)
        WORKERS.set(counts.workers)
        FAILED.set(counts.failed_now)

    @property
    def decided_per_second(self) -> float:
        """How fast the queue has been worked on lately; 0 where that is not known."""
        if len(self._looks) < 2:  # noqa: PLR2004  # a rate needs two looks
            return 0.0
        (began, before), (ended, after) = self._looks[0], self._looks[-1]
        return max(0, after - before) / (ended - began) if ended > began else 0.0

    def retry_after_seconds(self) -> int:
        """When a client that found the queue full will find room, at the rate at which it is worked on now."""
        rate = self.decided_per_second
        if rate == 0:
            return UNKNOWN_SECONDS
        return min(LONGEST_SECONDS, math.ceil(ROOM * self._queue_limit / rate))
