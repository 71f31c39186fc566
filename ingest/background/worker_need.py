"""The number of workers that the present load needs: computed once a second from what is in Redis."""

from collections import deque
from typing import Protocol

from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.every import every
from riskline.shared.domain.capacity import Load, Target, pace, workers_needed
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.status.counts import Counts
from riskline.shared.store.status.paces import BatchMeasurements
from riskline.shared.telemetry.metrics import WORKER_PACE, WORKERS_NEEDED

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0

LOOKS = 10
"""Arrivals are averaged over these seconds: thousands in one request are no burst, and a burst shows soon."""

QUEUE = "scoring"


class WorkerPaces(Protocol):
    """The workers' measured times in Redis; raises StoreUnavailableError where Redis fails."""

    async def read(self) -> BatchMeasurements:
        """The sums of all workers."""


class WorkerNeed:
    """The metrics for an autoscaler.

    They come from Redis alone, so that every process exports the same values. While Redis is away they stay as they
    were: more workers would not help, and fewer would be too few afterwards.
    """

    def __init__(self, backlog: Backlog, measurements: WorkerPaces, target: Target) -> None:
        self._backlog = backlog
        self._measurements = measurements
        self._target = target
        self.busy_seconds: float | None = None
        """The total time of all workers on batches as of the last read, in s; None where Redis failed."""
        self._seen: deque[tuple[float, Counts]] = deque(maxlen=LOOKS + 1)

    async def run(self) -> None:
        """Computes until cancelled."""
        failed = "reckoning the workers needed failed"
        await every(INTERVAL_SECONDS, self.update, log=log, failed=failed, outage=self._missed)

    def _missed(self, error: StoreUnavailableError) -> None:
        self.busy_seconds = None
        # the queue's look tells of it
        log.debug("Redis was not asked how fast the workers are", problem=str(error))

    async def update(self) -> None:
        """Computes once. The metric stays unset until two reads of the queue give the rate of arrivals.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        last = self._backlog.last
        if last is None:
            # arrivals during an outage did not come in the second after it
            self._seen.clear()
            return
        if not last[1].whole:
            # neither did all that a shard has ever taken arrive when it was first seen
            self._seen.clear()
        elif not self._seen or last[0] != self._seen[-1][0]:
            self._seen.append(last)
        measured = await self._measurements.read()
        self.busy_seconds = measured.busy_seconds
        how_fast = pace(measured.timed)
        if how_fast is not None:
            WORKER_PACE.labels(QUEUE).set(how_fast.per_second)
        per_second = self._arrivals_per_second()
        if per_second is not None:
            counts = last[1]
            load = Load(per_second, counts.undecided, counts.workers, how_fast)
            WORKERS_NEEDED.labels(QUEUE).set(workers_needed(load, self._target))

    def _arrivals_per_second(self) -> float | None:
        if len(self._seen) < 2:  # noqa: PLR2004  # a difference has two ends
            return None
        (then, before), (now, counts) = self._seen[0], self._seen[-1]
        if counts.arrived < before.arrived:
            # Redis lost its counts, or was replaced
            self._seen.clear()
            return None
        return (counts.arrived - before.arrived) / (now - then)
