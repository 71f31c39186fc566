"""The decisions that a filter admits, from the newest back, bounded in time."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from riskline.ingest.console.decisions.filters import Filter
from riskline.shared.domain.decision import is_decision
from riskline.shared.store.feed import Cursor
from riskline.shared.store.search import NEWEST, DecisionSearch, FoundDecision

ROWS = 50

PART = 500
"""Decisions read at a time: 1 ms of Redis, 2 ms of this process."""

EXPORT_PART = 100
"""Decisions read at a time for a file: it takes seconds, and other requests must not wait longer than 1 ms."""

SEARCH_SECONDS = 0.045
"""The time to search for a page. Rare decisions are found over several pages; each says how far back it got."""


class FilteredSearch:
    """Searches for the decisions that a filter admits."""

    def __init__(self, search: DecisionSearch, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._search = search
        self._clock = clock

    async def page(self, wanted: Filter) -> tuple[list[FoundDecision], Cursor | None, int]:
        """Up to ROWS decisions, from where to go on (None at the end of the feed), and how many were looked at.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        if wanted.exact_id and (one := await self._one(wanted)) is not None:
            return one
        end = self._clock() + SEARCH_SECONDS
        rows: list[FoundDecision] = []
        looked_at = 0
        cursor: Cursor | None = wanted.start
        while cursor is not None and len(rows) < ROWS and (looked_at == 0 or self._clock() < end):
            part = await self._search.back(cursor, not_before_ms=wanted.not_before_ms, limit=PART)
            admitted = await self._admitted(wanted, part.found)
            room = ROWS - len(rows)
            looked_at += len(part.found)
            cursor = part.before
            if len(admitted) > room:
                cursor = admitted[room - 1].place
                # those of other shards that came at the same moment, too: the next page begins behind it
                admitted = [each for each in admitted if each.place >= cursor]
            rows += admitted
        return rows, cursor, looked_at

    async def _one(self, wanted: Filter) -> tuple[list[FoundDecision], None, int] | None:
        """The decision of the record; None without a record: the feed may have the decision for longer."""
        (record,) = await self._search.transactions([wanted.exact_id])
        if record is None:
            return None
        decision = record.get("decision")
        if not is_decision(decision):
            return [], None, 0
        fits = wanted.admits(decision) and (not wanted.names_fields or wanted.admits_values(record["transaction"]))
        scored_at_ms = 1000 * datetime.fromisoformat(decision["scored_at"]).timestamp()
        fits = fits and wanted.not_before_ms <= scored_at_ms <= wanted.start.milliseconds
        return [FoundDecision(NEWEST, decision)] if fits else [], None, 0

    async def state(self, transaction_id: str) -> str | None:
        """The state of a transaction, decided or not; None if none is kept.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        (record,) = await self._search.transactions([transaction_id])
        return None if record is None else str(record["status"])

    async def values(self, rows: Sequence[FoundDecision]) -> list[Mapping[str, Any] | None]:
        """The transactions of decisions; None where one is not kept any more.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        records = await self._search.transactions([each.decision["transaction_id"] for each in rows])
        return [None if record is None else record["transaction"] for record in records]

    async def newer(self, wanted: Filter, after: Cursor) -> tuple[list[FoundDecision], bool]:
        """The newer decisions that a filter without fields admits, and whether all of them were scanned.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        not_before_ms = max(wanted.not_before_ms, after.milliseconds)
        part = await self._search.back(wanted.start, not_before_ms=not_before_ms, limit=PART)
        found = [each for each in part.found if each.place > after and wanted.admits(each.decision)]
        return found, part.before is None or part.before <= after

    async def span_ms(self, wanted: Filter) -> tuple[int, int]:
        """The times in which admitted decisions can lie, in ms since 1970, the newest first.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        newest = min(wanted.start.milliseconds, int(time.time() * 1000))
        oldest = await self._search.oldest_ms()
        return newest, newest if oldest is None else max(oldest, wanted.not_before_ms)

    async def all(self, wanted: Filter) -> AsyncIterator[tuple[list[FoundDecision], Cursor | None]]:
        """All that the filter admits, a part at a time, and where each part ends (None at the end of the feed).

        Raises:
            StoreUnavailableError: Redis failed.
        """
        cursor: Cursor | None = wanted.start
        while cursor is not None:
            part = await self._search.back(cursor, not_before_ms=wanted.not_before_ms, limit=EXPORT_PART)
            yield await self._admitted(wanted, part.found), part.before
            cursor = part.before

    async def _admitted(self, wanted: Filter, found: Any) -> list[FoundDecision]:
        admitted = [each for each in found if wanted.admits(each.decision)]
        if not wanted.names_fields or not admitted:
            return admitted
        records = await self._search.transactions([each.decision["transaction_id"] for each in admitted])
        return [
            each
            for each, record in zip(admitted, records, strict=True)
            if record is not None and wanted.admits_values(record["transaction"])
        ]
