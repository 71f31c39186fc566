"""The decisions, newest first, by filter and page by page."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import falcon.asgi

from ingest.console.changes import Changes
from ingest.console.chips import chips_of
from ingest.console.columns import Shown, cells_of, with_known
from ingest.console.filters import Filter
from ingest.console.guard import ConsolePage, parameters
from ingest.console.rendering import Renderer, in_utc
from ingest.console.shown_values import shows_values
from ingest.console.why import Push, main_pushes
from shared.decision import is_decision
from shared.model.registry import Registry
from shared.model.serving import Serving
from shared.policy import Action
from shared.store.decisions import Cursor
from shared.store.search import NEWEST, DecisionSearch, Found

ROWS = 50

PART = 500
"""Decisions that are read at a time: a millisecond of Redis, two of ours."""

EXPORT_PART = 100
"""Read at a time for a file: it takes seconds, in which others want their answers within a millisecond."""

SEARCH_SECONDS = 0.045
"""How long a page is searched for: what is rare is found over several pages, and each says how far back it looked."""


class Search:
    """Looks for what a filter admits."""

    def __init__(self, search: DecisionSearch, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._search = search
        self._clock = clock

    async def page(self, wanted: Filter) -> tuple[list[Found], Cursor | None, int]:
        """Up to ROWS decisions, from where to go on (None at the end of the feed), and how many were looked at.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        if wanted.exact_id and (one := await self._one(wanted)) is not None:
            return one
        end = self._clock() + SEARCH_SECONDS
        rows: list[Found] = []
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

    async def _one(self, wanted: Filter) -> tuple[list[Found], None, int] | None:
        """By its record; None where there is none any more: the feed may have the decision for longer."""
        (record,) = await self._search.transactions([wanted.exact_id])
        if record is None:
            return None
        decision = record.get("decision")
        if not is_decision(decision):
            return [], None, 0
        fits = wanted.admits(decision) and (not wanted.names_fields or wanted.admits_values(record["transaction"]))
        scored_at_ms = 1000 * datetime.fromisoformat(decision["scored_at"]).timestamp()
        fits = fits and wanted.not_before_ms <= scored_at_ms <= wanted.start.milliseconds
        return [Found(NEWEST, decision)] if fits else [], None, 0

    async def state(self, transaction_id: str) -> str | None:
        """The state of a transaction, decided or not; None if none is kept.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        (record,) = await self._search.transactions([transaction_id])
        return None if record is None else str(record["status"])

    async def values(self, rows: Sequence[Found]) -> list[Mapping[str, Any] | None]:
        """The transactions of decisions; None where one is not kept any more.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        records = await self._search.transactions([each.decision["transaction_id"] for each in rows])
        return [None if record is None else record["transaction"] for record in records]

    async def span_ms(self, wanted: Filter) -> tuple[int, int]:
        """From when to when decisions are that may be admitted, in ms since 1970, the newest first.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        newest = min(wanted.start.milliseconds, int(time.time() * 1000))
        oldest = await self._search.oldest_ms()
        return newest, newest if oldest is None else max(oldest, wanted.not_before_ms)

    async def all(self, wanted: Filter) -> AsyncIterator[tuple[list[Found], Cursor | None]]:
        """All that the filter admits, a part at a time, and where each part ends (None at the end of the feed).

        Raises:
            StoreUnavailableError: Redis failed.
        """
        cursor: Cursor | None = wanted.start
        while cursor is not None:
            part = await self._search.back(cursor, not_before_ms=wanted.not_before_ms, limit=EXPORT_PART)
            yield await self._admitted(wanted, part.found), part.before
            cursor = part.before

    async def _admitted(self, wanted: Filter, found: Any) -> list[Found]:
        admitted = [each for each in found if wanted.admits(each.decision)]
        if not wanted.names_fields or not admitted:
            return admitted
        records = await self._search.transactions([each.decision["transaction_id"] for each in admitted])
        return [
            each
            for each, record in zip(admitted, records, strict=True)
            if record is not None and wanted.admits_values(record["transaction"])
        ]


class DecisionsPage(ConsolePage):
    """GET /console/decisions."""

    def __init__(
        self,
        renderer: Renderer,
        search: Search,
        changes: Changes,
        *,
        fields: Sequence[Shown],
        columns: Sequence[str],
        serving: Serving,
        registry: Registry,
    ) -> None:
        """`columns` are the fields that are shown unless the URL names others."""
        self._renderer = renderer
        self._search = search
        self._changes = changes
        self._fields = fields
        self._columns = columns
        self._serving = serving
        self._registry = registry

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A page of decisions; of a filter that was not understood none, as they would be others than those wanted."""
        wanted = Filter.read(parameters(req), self._fields)
        if wanted.names_fields:
            # what is found has these values, without that anybody asked to be shown them
            await self._changes.note_look(req, "decisions looked for by values", filter=wanted.told)
        rows, cursor, looked_at = ([], None, 0) if wanted.is_wrong else await self._search.page(wanted)
        with_values = shows_values(req)
        columns = (wanted.columns or self._columns) if with_values else ()
        self._renderer.page(
            req,
            resp,
            "decisions.html",
            session=req.context.session,
            wanted=wanted,
            chips=chips_of(wanted),
            fields=self._known_fields(),
            versions=[(each, each) for each in reversed(await asyncio.to_thread(self._registry.versions))],
            actions=[(each.value, each.value) for each in Action],
            periods=_periods(wanted, datetime.now(UTC)),
            state=await self._search.state(wanted.exact_id) if wanted.exact_id and not rows else None,
            groups=grouped(rows, await self._cells(req, wanted, rows, columns), with_values=with_values),
            number=len(rows),
            is_full=len(rows) == ROWS,
            with_values=with_values,
            columns=columns,
            chosen=wanted.columns or self._columns,
            back_to=None if cursor is None else cursor.milliseconds / 1000,
            older=None if cursor is None else wanted.query(before=str(cursor)),
            looked_at=looked_at,
        )

    async def _cells(
        self, req: falcon.asgi.Request, wanted: Filter, rows: Sequence[Found], columns: Sequence[str]
    ) -> list[list[str]]:
        """What each row shows of its transaction, which is kept as a look at values."""
        if not rows or not columns:
            return [[] for _ in rows]
        about = {"fields": " ".join(columns), "decisions": len(rows), "filter": wanted.told or "none"}
        await self._changes.note_look(req, "values of decisions looked at", **about)
        return [cells_of(each, columns) for each in await self._search.values(rows)]

    def _known_fields(self) -> list[Shown]:
        model = self._serving.model
        return list(self._fields) if model is None else with_known(self._fields, model.common)


class Row(NamedTuple):
    """A decision, what is shown of its transaction, and what moved its score most."""

    decision: Mapping[str, Any]
    cells: list[str]
    pushes: list[Push]


class Group(NamedTuple):
    """Decisions of one day by one model version that stand beside each other."""

    day: str
    version: str
    rows: list[Row]


def grouped(rows: Sequence[Found], cells: Sequence[list[str]], *, with_values: bool) -> list[Group]:
    """The rows in their order; day and version are said where they change."""
    groups: list[Group] = []
    for found, shown in zip(rows, cells, strict=True):
        decision = found.decision
        at = in_utc(decision["scored_at"])
        day = "no day" if at is None else at.strftime("%-d %B %Y")
        if not groups or (groups[-1].day, groups[-1].version) != (day, decision["model_version"]):
            groups.append(Group(day, decision["model_version"], []))
        groups[-1].rows.append(Row(decision, shown, main_pushes(decision, with_values=with_values)))
    return groups


def _periods(wanted: Filter, now: datetime) -> list[tuple[str, str]]:
    """Times that are often asked for, and the same filter for each of them."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    spans = (
        ("last hour", now - timedelta(hours=1), None),
        ("today", today, None),
        ("yesterday", today - timedelta(days=1), today - timedelta(minutes=1)),
    )
    return [
        (name, wanted.query(since=_minute(since), until="" if until is None else _minute(until), before=""))
        for name, since, until in spans
    ]


def _minute(moment: datetime) -> str:
    """As the form's own inputs write it."""
    return moment.strftime("%Y-%m-%dT%H:%M")
