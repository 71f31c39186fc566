"""Scans for failures that can be retried, the newest first: bounded in time, resumed where the last scan ended."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import urlencode

from riskline.ingest.console.failed.kinds import FailureKind, RetriableItem
from riskline.shared.store.failures import BATCH
from riskline.shared.store.listing import Entry

ROWS = 50

LOOK_SECONDS = 0.045
"""The time that a page scans for each kind. Rare failures are found over several pages; each says how far it got."""

COUNT_SECONDS = 2.0
"""The time to count the failures of a confirmation: tens of thousands. Of more the page says "at least"."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class ReasonFilter:
    """A filter on reasons: all, those that contain a text, or those of one group."""

    reason: str = ""
    is_whole: bool = False
    """True where the text is a group's whole reason."""

    def admits(self, row: RetriableItem) -> bool:
        """True where the filter admits this one."""
        if self.is_whole:
            return row.why == self.reason
        return self.reason.lower() in f"{row.where}: {row.reason}".lower()


ALL = ReasonFilter()


class ReasonGroup(NamedTuple):
    """The failures of one reason: their number, and the first and the last of their entries."""

    why: str
    number: int
    first: Entry
    last: Entry


@dataclass(frozen=True)
class FailedView:
    """The view in the page's URL: the filter, and the kinds of which an older page is shown."""

    wanted: ReasonFilter = ALL
    places: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, params: Mapping[str, str], kinds: Iterable[str]) -> Self:
        """The view of a page's parameters. Invalid ones are left out."""
        places = {kind: Entry.parse(params.get(kind, "")) for kind in kinds}
        return cls(reason_filter(params), {kind: each for kind, each in places.items() if each is not None})

    @property
    def reason(self) -> str:
        """The text of the filter."""
        return self.wanted.reason

    def query(self, **others: object) -> str:
        """The part of a URL behind the `?` that is this view, with other values where they are given."""
        whole = "1" if self.wanted.is_whole else None
        values = {"reason": self.reason, "whole": whole, **self.places, **others}
        return urlencode({name: str(value) for name, value in values.items() if value not in (None, "")})


class ScanResult(NamedTuple):
    """The rows of a scan, and the entry after which to resume; None where there are no more."""

    rows: list[RetriableItem]
    before: Entry | None


class ScanSummary(NamedTuple):
    """The first scan: the newest rows, the groups of all that there was time for, and the number of these."""

    found: ScanResult
    groups: list[ReasonGroup]
    looked_at: int


def reason_filter(params: Mapping[str, str]) -> ReasonFilter:
    """The filter in a page's parameters or a form's fields."""
    reason, is_whole = params.get("reason", ""), params.get("whole") == "1"
    return ReasonFilter(reason if is_whole else reason.strip(), is_whole=is_whole)


def scan(
    kind: FailureKind,
    wanted: ReasonFilter,
    before: Entry | None,
    *,
    most: int,
    seconds: float,
    clock: Clock = time.perf_counter,
) -> ScanResult:
    """Up to `most` that the filter admits.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    end = clock() + seconds
    rows: list[RetriableItem] = []
    for part in _parts(kind, before):
        for entry, row in part:
            if row is not None and wanted.admits(row):
                rows.append(row)
            if len(rows) == most:
                return ScanResult(rows, entry if kind.listing.back(entry, 1) else None)
        if clock() >= end:
            last = part[-1][0]
            return ScanResult(rows, last if kind.listing.back(last, 1) else None)
    return ScanResult(rows, None)


def summarize(
    kind: FailureKind, wanted: ReasonFilter, *, most: int, seconds: float, clock: Clock = time.perf_counter
) -> ScanSummary:
    """The newest that the filter admits, and the groups by reason of all that there is time for.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    end = clock() + seconds
    rows: list[RetriableItem] = []
    groups: dict[str, ReasonGroup] = {}
    last_row = last_seen = None
    looked_at = 0
    for part in _parts(kind, None):
        looked_at += len(part)
        last_seen = part[-1][0]
        for entry, row in part:
            if row is None or not wanted.admits(row):
                continue
            known = groups.get(row.why, ReasonGroup(row.why, 0, entry, entry))
            groups[row.why] = known._replace(number=known.number + 1, first=entry)
            if len(rows) < most:
                rows.append(row)
                last_row = entry
        if clock() >= end:
            break
    # fewer than a page: the scan for the groups has covered the rows, too
    before = last_row if len(rows) == most else last_seen
    if before is not None and not kind.listing.back(before, 1):
        before = None
    return ScanSummary(ScanResult(rows, before), sorted(groups.values(), key=lambda group: -group.number), looked_at)


def number(
    kind: FailureKind, wanted: ReasonFilter, *, seconds: float, clock: Clock = time.perf_counter
) -> tuple[int, bool]:
    """The number that the filter admits, and whether there was time to count all.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    if kind.is_all_of_its_listing and wanted == ALL:
        return kind.listing.count(), True
    end = clock() + seconds
    found = 0
    for part in _parts(kind, None):
        found += sum(row is not None and wanted.admits(row) for _, row in part)
        if clock() >= end:
            return found, not kind.listing.back(part[-1][0], 1)
    return found, True


def _parts(kind: FailureKind, before: Entry | None) -> Iterator[list[tuple[Entry, RetriableItem | None]]]:
    """The rows after an entry, in growing parts: few at first, as a page may need no more."""
    size = ROWS
    while entries := kind.listing.back(before, size):
        yield list(zip(entries, kind.rows(entries), strict=True))
        if len(entries) < size:
            return
        before = entries[-1]
        size = min(2 * size, BATCH)
