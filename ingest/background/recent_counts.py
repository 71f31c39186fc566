"""The last minutes and the last hour of the whole installation, for the console.

Workers and, once a second, API processes add their counts to sums in Redis. Each API process keeps the last reads of
the sums in memory. One of them writes a snapshot a minute to Redis, which survives restarts.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Protocol

from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.every import every
from riskline.ingest.background.process_status import ProcessStatus
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.status.counts import TOTALS, Counts
from riskline.shared.store.status.minute_counts import Snapshot
from riskline.shared.store.status.tallies import SCORE, Field, Measured
from riskline.shared.telemetry.histograms import INFINITE
from riskline.shared.telemetry.metrics import DECISIONS, PROBABILITY, REQUEST_SECONDS

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0

LOOKS = 61
"""Snapshots of the last minute, one a second."""

HOUR_SECONDS = 3600

DOORS = {"/score-transaction": "sync_seconds", "/transactions": "submit_seconds"}
"""The measure's name for the answer times of a route."""


class MinuteSnapshots(Protocol):
    """The snapshots in Redis, one a minute; both methods raise StoreUnavailableError where Redis fails."""

    async def keep(self, snapshot: Snapshot) -> None:
        """Keeps the snapshot of its minute, unless there is one."""

    async def since(self, at: float) -> list[Snapshot]:
        """The snapshots from a time on, oldest first."""


class MeasuredSums(Protocol):
    """The sums in Redis over all processes; raises StoreUnavailableError where Redis fails."""

    async def add_measured(self, counts: Measured) -> None:
        """Adds this process's counts."""


class RecentCounts:
    """The counts of the last minute and hour, for the console; None and empty where Redis has not been read."""

    def __init__(
        self,
        backlog: Backlog,
        processes: ProcessStatus,
        *,
        sums: MeasuredSums,
        kept: MinuteSnapshots,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._backlog = backlog
        self._processes = processes
        self._sums = sums
        self._kept = kept
        self._clock = clock
        self._told: Measured = Counter()
        self._written_minute = 0
        self.looks: deque[Snapshot] = deque(maxlen=LOOKS)
        self.minutes: list[Snapshot] = []
        """Snapshots of the last hour, one a minute, oldest first."""

    @property
    def counts(self) -> Counts | None:
        """The counts of the last read of the queue; None where Redis failed."""
        return self._backlog.counts

    async def run(self) -> None:
        """Reads until cancelled."""
        await every(INTERVAL_SECONDS, self.update, log=log, failed="keeping the history failed", outage=_missed)

    async def update(self) -> None:
        """Adds this process's counts to Redis, and keeps the sums of all processes.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        await self.add_own_counts()
        now = self._clock()
        numbers = self._numbers()
        if numbers is None:
            self.looks.clear()
            return
        self.looks.append(Snapshot(now, numbers))
        await self._keep_minute(self.looks[-1])

    async def add_own_counts(self) -> None:
        """Adds to Redis the answers of this process since the last time.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        own = Counter(dict(_answered()))
        news = Counter({field: number - self._told[field] for field, number in own.items()})
        news = Counter({field: number for field, number in news.items() if number})
        if news:
            await self._sums.add_measured(news)
            self._told = own

    async def _keep_minute(self, snapshot: Snapshot) -> None:
        minute = int(snapshot.at // 60)
        if minute == self._written_minute:
            return
        await self._kept.keep(snapshot)
        self.minutes = await self._kept.since(snapshot.at - HOUR_SECONDS)
        self._written_minute = minute

    def _numbers(self) -> dict[str, float] | None:
        counts, decided, measured = self._backlog.counts, self._processes.decided, self._processes.measured
        if counts is None or decided is None or measured is None:
            return None
        numbers: Counter[str] = Counter({name: getattr(counts, name) for name in TOTALS})
        for (_, what), number in decided.items():
            scored = what.startswith(SCORE)
            numbers[f"queue_score  {what.removeprefix(SCORE)}" if scored else f"queue {what} number"] += number
        numbers.update({" ".join(field): number for field, number in measured.items()})
        return {**numbers, "undecided": counts.undecided, "oldest_seconds": (counts.oldest_ms or 0) / 1000}


def _answered() -> Iterator[tuple[Field, int]]:
    """The answers of this process's synchronous door, by its own metrics."""
    actions: Counter[str] = Counter()
    for sample in next(iter(DECISIONS.collect())).samples:
        if sample.name.endswith("_total"):
            actions[sample.labels["action"]] += int(sample.value)
    yield from ((Field("sync", action, "number"), number) for action, number in actions.items())
    scores = [sample for sample in next(iter(PROBABILITY.collect())).samples if sample.name.endswith("_bucket")]
    yield from _each_bucket("sync_score", [(sample.labels["le"], int(sample.value)) for sample in scores])
    for route, name in DOORS.items():
        samples = [
            (sample.labels["le"], int(sample.value))
            for sample in next(iter(REQUEST_SECONDS.collect())).samples
            if sample.name.endswith("_bucket") and sample.labels["route"] == route and sample.labels["waits"] == "no"
        ]
        yield from _each_bucket(name, samples)


def _each_bucket(measure: str, below: list[tuple[str, int]]) -> Iterator[tuple[Field, int]]:
    """The number in each bucket, from the cumulative numbers of the series, one after the other."""
    found: Counter[str] = Counter()
    before = 0
    for bound, number in below:
        found[bound] += number - before
        before = 0 if bound == INFINITE else number
    yield from ((Field(measure, "", bound), number) for bound, number in found.items())


def _missed(error: StoreUnavailableError) -> None:
    # the queue's look tells of it
    log.debug("Redis was not told what was answered", problem=str(error))
