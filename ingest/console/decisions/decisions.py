"""The decisions, newest first, by filter and page by page."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import falcon.asgi

from riskline.ingest.console.change_log import ChangeLog
from riskline.ingest.console.decisions.chips import chips_of
from riskline.ingest.console.decisions.columns import ShownField, cells_of, with_known
from riskline.ingest.console.decisions.filters import Filter
from riskline.ingest.console.frame.guard import ConsolePage, parameters
from riskline.ingest.console.frame.rendering import Renderer, in_utc
from riskline.ingest.console.frame.shown_values import shows_values
from riskline.ingest.console.transaction.explanation import MainReason, main_reasons
from riskline.ingest.console.transaction.filtered_search import ROWS, FilteredSearch
from riskline.shared.domain.policy import Action
from riskline.shared.model.registry import Registry
from riskline.shared.model.serving import Serving
from riskline.shared.store.feed import Cursor
from riskline.shared.store.search import NEWEST, FoundDecision


class DecisionsPage(ConsolePage):
    """GET /console/decisions."""

    def __init__(
        self,
        renderer: Renderer,
        search: FilteredSearch,
        changes: ChangeLog,
        *,
        fields: Sequence[ShownField],
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
        """A page of decisions; none for a filter that was not understood."""
        wanted = Filter.read(parameters(req), self._fields)
        if wanted.names_fields:
            # the rows found have these values, even where none is shown
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
            tail=_tail(wanted, rows),
        )

    async def _cells(
        self, req: falcon.asgi.Request, wanted: Filter, rows: Sequence[FoundDecision], columns: Sequence[str]
    ) -> list[list[str]]:
        """The cells of each row. Showing them is kept as a look at values."""
        if not rows or not columns:
            return [[] for _ in rows]
        about = {"fields": " ".join(columns), "decisions": len(rows), "filter": wanted.told or "none"}
        await self._changes.note_look(req, "values of decisions looked at", **about)
        return [cells_of(each, columns) for each in await self._search.values(rows)]

    def _known_fields(self) -> list[ShownField]:
        model = self._serving.model
        return list(self._fields) if model is None else with_known(self._fields, model.common)


class DecisionRow(NamedTuple):
    """A decision, the cells of its transaction, and the reasons that moved its score most."""

    decision: Mapping[str, Any]
    place: Cursor | None
    """Its place in the feed; None where it was found by its record."""
    cells: list[str]
    pushes: list[MainReason]


class DecisionGroup(NamedTuple):
    """Decisions of one day by one model version that stand beside each other."""

    day: str
    version: str
    rows: list[DecisionRow]


def grouped(rows: Sequence[FoundDecision], cells: Sequence[list[str]], *, with_values: bool) -> list[DecisionGroup]:
    """The rows in their order; day and version are said where they change."""
    groups: list[DecisionGroup] = []
    for found, shown in zip(rows, cells, strict=True):
        decision = found.decision
        at = in_utc(decision["scored_at"])
        day = "no day" if at is None else at.strftime("%-d %B %Y")
        if not groups or (groups[-1].day, groups[-1].version) != (day, decision["model_version"]):
            groups.append(DecisionGroup(day, decision["model_version"], []))
        place = None if found.place == NEWEST else found.place
        groups[-1].rows.append(DecisionRow(decision, place, shown, main_reasons(decision, with_values=with_values)))
    return groups


def _tail(wanted: Filter, rows: Sequence[FoundDecision]) -> str | None:
    """The query for newer decisions of a list; None where there can be none, or the filter names fields."""
    if not rows or rows[0].place == NEWEST or wanted.start != NEWEST or wanted.names_fields:
        return None
    return wanted.query(after=str(rows[0].place))


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
    """A time in the format of the form's inputs."""
    return moment.strftime("%Y-%m-%dT%H:%M")
