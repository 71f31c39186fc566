"""The way from one decision of a list to the next newer or older one, and what is new in a list."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import quote

import falcon.asgi

from riskline.ingest.console.decisions.columns import ShownField
from riskline.ingest.console.decisions.filters import Filter
from riskline.ingest.console.frame.guard import ConsolePage, parameters
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.transaction.filtered_search import FilteredSearch
from riskline.shared.store.feed import Cursor
from riskline.shared.store.search import FoundDecision

AT, AFTER = "at", "after"
"""Parameters with a place in the feed: that of a transaction's decision, and that of the newest one in a list."""


class Neighbours(NamedTuple):
    """The links to the neighbours: queries, and paths below the console's transactions; None where there is none."""

    trail: str
    """The query that keeps the list in the transaction's own URL."""
    listing: str
    """The query of the list."""
    newer: str | None
    older: str | None


async def neighbours(
    search: FilteredSearch, params: Mapping[str, str], fields: Sequence[ShownField]
) -> Neighbours | None:
    """The neighbours of a transaction in the list that led to it; None without a list.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    at = Cursor.parse(params.get(AT, ""))
    wanted = replace(Filter.read(params, fields), transaction_id="")
    if at is None or wanted.is_wrong:
        return None
    trail, listing = wanted.query(before="", at=str(at)), wanted.query(before="")
    if wanted.names_fields:
        # to look for values is a look that is kept: the list does that
        return Neighbours(trail, listing, None, None)
    newer, is_whole = await search.newer(wanted, at)
    older, _, _ = await search.page(replace(wanted, before=at))
    return Neighbours(
        trail,
        listing,
        _path(newer[-1], wanted) if newer and is_whole else None,
        _path(older[0], wanted) if older else None,
    )


def _path(found: FoundDecision, wanted: Filter) -> str:
    return f"{quote(found.decision['transaction_id'], safe='')}?{wanted.query(before='', at=str(found.place))}"


class NewDecisionsPage(ConsolePage):
    """GET /console/decisions/new: the number of decisions that are newer than an open list."""

    def __init__(self, renderer: Renderer, search: FilteredSearch, *, fields: Sequence[ShownField]) -> None:
        self._renderer = renderer
        self._search = search
        self._fields = fields

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A link to them; nothing where there are none."""
        params = parameters(req)
        wanted, after = Filter.read(params, self._fields), Cursor.parse(params.get(AFTER, ""))
        newer: list[FoundDecision] = []
        is_whole = True
        if after is not None and not wanted.is_wrong and not wanted.names_fields:
            newer, is_whole = await self._search.newer(wanted, after)
        values = {"base": f"{req.root_path}/console", "query": wanted.query(before=""), "number": len(newer)}
        self._renderer.fragment(resp, self._renderer.text("new.html", {**values, "is_whole": is_whole}))
