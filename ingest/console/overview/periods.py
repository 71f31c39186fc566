"""The overview's period: an hour, a day or a week, as a row of spans of about equal length."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from riskline.ingest.background.recent_counts import RecentCounts
from riskline.ingest.console.overview.intervals import Interval, between
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.status.minute_counts import Snapshot

log = get_logger(__name__)

MOST_SPANS = 60
"""The most spans of a picture: about as many as it has room for."""

FRESH_SECONDS = 60.0
"""The time for which the snapshots of a day or a week are reused: one is added each quarter of an hour."""


PATIENCE_SECONDS = 1.0
"""The time limit of the read, as Redis may hang."""


class Period(NamedTuple):
    """A period to choose from: its name in the URL, in words, and its length."""

    name: str
    words: str
    seconds: int


PERIODS = (Period("1h", "1 hour", 3_600), Period("24h", "24 hours", 86_400), Period("7d", "7 days", 604_800))


def period_named(name: str) -> Period:
    """The period of this name; the first where there is none."""
    return next((each for each in PERIODS if each.name == name), PERIODS[0])


class WeekSnapshots(Protocol):
    """The snapshots of the last week in Redis; raises StoreUnavailableError where Redis fails."""

    async def of_the_week(self, at: float, *, apart_seconds: float) -> list[Snapshot]:
        """The quarter-hourly snapshots from a time on, oldest first, at least `apart_seconds` apart."""


class PeriodPart(NamedTuple):
    """A part of a period, in seconds since 1970; without numbers where Redis lost what it had counted."""

    start: float
    end: float
    numbers: Interval | None


@dataclass(frozen=True)
class TimeSpans:
    """The spans of a period. It begins with the first snapshot that is known."""

    parts: Sequence[PeriodPart]
    last: Snapshot

    @property
    def start(self) -> float:
        """The start of the first span."""
        return self.parts[0].start

    @property
    def end(self) -> float:
        """The end of the last span."""
        return self.parts[-1].end

    @property
    def whole(self) -> Interval:
        """The whole period as one interval."""
        known = [each.numbers for each in self.parts if each.numbers is not None]
        numbers: Counter[str] = Counter()
        for each in known:
            numbers.update(each.numbers)
        return Interval(sum(each.seconds for each in known), numbers)


class Periods:
    """The spans of each period, from what this process knows of the last hour and Redis of the week."""

    def __init__(
        self, recent_counts: RecentCounts, kept: WeekSnapshots, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._recent_counts = recent_counts
        self._kept = kept
        self._clock = clock
        self._older: dict[str, tuple[float, list[Snapshot]]] = {}
        self._asking = asyncio.Lock()

    async def spans(self, period: Period) -> TimeSpans | None:
        """The spans of a period; None before there are two snapshots. While Redis is away, the last ones known."""
        now = self._clock()
        recent = [*self._recent_counts.minutes, *list(self._recent_counts.looks)[-1:]]
        if period.seconds > PERIODS[0].seconds:
            older = await self._older_of(period, now)
            recent = [*older, *(each for each in recent if not older or each.at > older[-1].at)]
        return spans_of(thinned([each for each in recent if each.at >= now - period.seconds]))

    async def _older_of(self, period: Period, now: float) -> list[Snapshot]:
        async with self._asking:
            asked_at, older = self._older.get(period.name, (-FRESH_SECONDS, []))
            if now - asked_at >= FRESH_SECONDS:
                apart_seconds = period.seconds / MOST_SPANS
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        older = await self._kept.of_the_week(now - period.seconds, apart_seconds=apart_seconds)
                except (StoreUnavailableError, TimeoutError) as error:
                    log.debug("Redis was not asked for the last days", problem=str(error))
                else:
                    self._older[period.name] = (now, older)
            return older


def thinned(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """The first, the last, and as many between as a picture has room for."""
    if len(snapshots) < 2:  # noqa: PLR2004  # a span has two ends
        return list(snapshots)
    apart = (snapshots[-1].at - snapshots[0].at) / MOST_SPANS
    kept = [snapshots[0]]
    for each in snapshots[1:-1]:
        # a snapshot may come a moment sooner after its minute than the one before
        if each.at - kept[-1].at >= 0.9 * apart and snapshots[-1].at - each.at >= 0.9 * apart:
            kept.append(each)
    return [*kept, snapshots[-1]]


def spans_of(snapshots: Sequence[Snapshot]) -> TimeSpans | None:
    """The spans between snapshots; None where there are fewer than two."""
    parts = [
        PeriodPart(one.at, other.at, between(one, other)) for one, other in pairwise(snapshots) if other.at > one.at
    ]
    return TimeSpans(parts, snapshots[-1]) if parts else None
