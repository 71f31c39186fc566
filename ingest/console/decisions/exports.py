"""The decisions of a filter as a file: read a little at a time, and for no longer than its reader may see them."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import falcon
import falcon.asgi

from riskline.ingest.console.change_log import ChangeLog
from riskline.ingest.console.decisions.columns import shown_fields
from riskline.ingest.console.decisions.filters import Filter
from riskline.ingest.console.frame.guard import ConsolePage, parameters
from riskline.ingest.console.frame.rendering import HEADERS
from riskline.ingest.console.frame.sessions import Session, Sessions
from riskline.ingest.console.transaction.filtered_search import FilteredSearch
from riskline.ingest.problems.refusals import GONE
from riskline.shared.clock import utc_text
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.store.feed import Cursor

EXPORT_PAUSE_SECONDS = 0.002
"""The pause between two parts, in which other requests are answered."""

MAX_EXPORTS = 2
"""The most exports at a time of one process; of a session one."""

EXPORT_RETRY_SECONDS = 10

CSV_COLUMNS = ("transaction_id", "scored_at", "fraud_probability", "action", "model_version", "reasons")

MARK = "\x1e"
"""ASCII's record separator, which no cell has."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The characters with which a spreadsheet begins a formula (OWASP, CSV injection)."""


class DecisionsExport(ConsolePage):
    """GET /console/decisions.csv."""

    def __init__(
        self, search: FilteredSearch, changes: ChangeLog, sessions: Sessions, transaction_class: type[TransactionModel]
    ) -> None:
        self._search = search
        self._changes = changes
        self._sessions = sessions
        self._fields = shown_fields(transaction_class)
        self._running: list[str] = []

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """All decisions of the filter, as they are found, without transactions' values; with `progress`, marks between.

        A mark is the time that the scan has reached, between two MARKs.
        """
        wanted = Filter.read(parameters(req), self._fields)
        if wanted.is_wrong:
            told = f"{'; '.join(wanted.complaints)}. Nothing was exported."
            raise falcon.HTTPBadRequest(title="The filter is not understood", description=told)
        session: Session = req.context.session
        if session.token in self._running or len(self._running) >= MAX_EXPORTS:
            raise falcon.HTTPTooManyRequests(
                title="Another export is under way",
                description="It reads all that is kept: wait until it has ended, or stop it.",
                retry_after=EXPORT_RETRY_SECONDS,
            )
        await self._changes.note_look(req, "decisions exported", filter=wanted.told or "none")
        newest_ms, oldest_ms = await self._search.span_ms(wanted)
        resp.set_headers(
            {**HEADERS, "Riskline-Newest": utc_text(newest_ms / 1000), "Riskline-Oldest": utc_text(oldest_ms / 1000)}
        )
        resp.content_type = "text/csv; charset=utf-8"
        resp.downloadable_as = "decisions.csv"
        resp.stream = self._lines(wanted, req, shows_places=req.get_param("progress") is not None)

    async def _lines(self, wanted: Filter, req: falcon.asgi.Request, *, shows_places: bool) -> AsyncIterator[bytes]:
        """The lines, as long as the client is there and its session may see them.

        Raises:
            HTTPForbidden: the session has ended meanwhile.
        """
        session: Session = req.context.session
        self._running.append(session.token)
        try:
            yield (",".join(CSV_COLUMNS) + "\r\n").encode()
            async for found, before in self._search.all(wanted):
                if req.scope.get("state", {}).get(GONE):
                    return
                if not self._sessions.is_good(session):
                    raise falcon.HTTPForbidden(title="The session has ended")
                text = io.StringIO()
                csv.writer(text).writerows(_cells(each.decision) for each in found)
                place = _marked(before) if shows_places and before is not None else ""
                yield (text.getvalue().replace(MARK, "") + place).encode()
                await asyncio.sleep(EXPORT_PAUSE_SECONDS)
        finally:
            self._running.remove(session.token)


def _marked(place: Cursor) -> str:
    return f"{MARK}{utc_text(place.milliseconds / 1000)}{MARK}"


def _cells(decision: dict[str, Any]) -> list[object]:
    reasons = "; ".join(
        f"{reason['feature']} {reason['contribution']:+.4f}" for reason in decision.get("reasons") or ()
    )
    return [_safe(value) for value in (*(decision.get(name) for name in CSV_COLUMNS[:-1]), reasons)]


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
