"""Looks for what can be tried again, the newest first: bounded in time, on from where the last look ended."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import urlencode

from ingest.console.kinds import Kind, Row
from shared.store.failures import BATCH
from shared.store.listing import Entry

ROWS = 50

LOOK_SECONDS = 0.045
"""How long a page looks for each kind: what is rare is found over several pages, and each says how far it looked."""

COUNT_SECONDS = 2.0
"""How long the number is counted that a question is about: tens of thousands; of more it says "at least"."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class View:
    """What the page's URL says of what is shown: what reasons have in them, and of which kinds an older page."""

    reason: str = ""
    places: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, params: Mapping[str, str], kinds: Iterable[str]) -> Self:
        """The view of a page's parameters; what is wrong among them is left out."""
        places = {kind: Entry.parse(params.get(kind, "")) for kind in kinds}
        return cls(params.get("reason", "").strip(), {kind: each for kind, each in places.items() if each is not None})

    def query(self, **others: object) -> str:
        """The part of a URL behind the `?` that is this view, with other values where they are given."""
        values = {"reason": self.reason, **self.places, **others}
        return urlencode({name: str(value) for name, value in values.items() if value not in (None, "")})


class Found(NamedTuple):
    """What a look found, and after which entry to go on; None where there are no more."""

    rows: list[Row]
    before: Entry | None


def look(
    kind: Kind, wanted: str, before: Entry | None, *, most: int, seconds: float, clock: Clock = time.perf_counter
) -> Found:
    """Up to `most` whose reasons have a text in them.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    end = clock() + seconds
    rows: list[Row] = []
    for part in _parts(kind, before):
        for entry, row in part:
            if row is not None and row.has(wanted):
                rows.append(row)
            if len(rows) == most:
                return Found(rows, entry if kind.listing.back(entry, 1) else None)
        if clock() >= end:
            last = part[-1][0]
            return Found(rows, last if kind.listing.back(last, 1) else None)
    return Found(rows, None)


def number(kind: Kind, wanted: str, *, seconds: float, clock: Clock = time.perf_counter) -> tuple[int, bool]:
    """How many there are whose reasons have a text in them, and whether these are all: there was time to count them.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    if kind.is_all_of_its_listing and not wanted:
        return kind.listing.count(), True
    end = clock() + seconds
    found = 0
    for part in _parts(kind, None):
        found += sum(row is not None and row.has(wanted) for _, row in part)
        if clock() >= end:
            return found, not kind.listing.back(part[-1][0], 1)
    return found, True


def _parts(kind: Kind, before: Entry | None) -> Iterator[list[tuple[Entry, Row | None]]]:
    """What is listed after an entry: few at first, as a page may need no more."""
    size = ROWS
    while entries := kind.listing.back(before, size):
        yield list(zip(entries, kind.rows(entries), strict=True))
        if len(entries) < size:
            return
        before = entries[-1]
        size = min(2 * size, BATCH)
