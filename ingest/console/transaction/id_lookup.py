"""The lookup of a transaction in any state, by its id or a prefix of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import falcon
import falcon.asgi

from riskline.ingest.console.decisions.filters import ANY_END, Filter
from riskline.ingest.console.frame.guard import ConsolePage
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.transaction.filtered_search import FilteredSearch
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.listing import Entry, Listings

MOST = 50
"""The most ids shown of one state."""

PART = 1_000
"""Ids read at a time: 1 ms of Redis, and 1 ms of this process."""

LOOK_SECONDS = 0.03
"""The time to scan each list, which is in order of time: some tens of thousands of ids."""


class StateListing(NamedTuple):
    """The store's list of transactions in one state."""

    state: str
    listing: Listings


class IdMatches(NamedTuple):
    """The ids of one state with the prefix, and whether all of that state were scanned."""

    state: str
    ids: list[str]
    is_whole: bool


class IdLookupPage(ConsolePage):
    """GET /console/find."""

    def __init__(
        self, renderer: Renderer, search: FilteredSearch, *, intake: TransactionIntake, places: Sequence[StateListing]
    ) -> None:
        self._renderer = renderer
        self._search = search
        self._intake = intake
        self._places = places

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Redirects to the transaction of this id, or to the only one with the prefix; else lists the matches."""
        sought = (req.get_param("q") or "").strip()
        begins = sought.removesuffix(ANY_END)
        if not begins:
            raise _to(req, "decisions")
        if sought == begins and (await self._intake.get([sought]))[0] is not None:
            raise _to_one(req, sought)
        found = await self._found(begins)
        ids = {each for hits in found for each in hits.ids}
        if len(ids) == 1 and all(hits.is_whole for hits in found):
            raise _to_one(req, ids.pop())
        self._renderer.page(
            req, resp, "find.html", session=req.context.session, sought=sought, begins=begins, found=found, most=MOST
        )

    async def _found(self, begins: str) -> list[IdMatches]:
        rows, before, _ = await self._search.page(Filter(transaction_id=begins + ANY_END))
        decided = IdMatches("decided", [str(each.decision["transaction_id"]) for each in rows], before is None)
        others = [await asyncio.to_thread(_look, place, begins) for place in self._places]
        return [decided, *others]


def _look(place: StateListing, begins: str, clock: Callable[[], float] = time.perf_counter) -> IdMatches:
    """The ids of one list with the prefix, the newest first."""
    end = clock() + LOOK_SECONDS
    ids: list[str] = []
    before: Entry | None = None
    while entries := place.listing.back(before, PART):
        ids += [each.transaction_id for each in entries if each.transaction_id.startswith(begins)]
        if len(entries) < PART and len(ids) <= MOST:
            break
        if len(ids) > MOST or clock() >= end:
            return IdMatches(place.state, ids[:MOST], is_whole=False)
        before = entries[-1]
    return IdMatches(place.state, ids, is_whole=True)


def _to_one(req: falcon.asgi.Request, transaction_id: str) -> falcon.HTTPStatus:
    return _to(req, f"transactions/{quote(transaction_id, safe='')}")


def _to(req: falcon.asgi.Request, page: str) -> falcon.HTTPStatus:
    return falcon.HTTPStatus(falcon.HTTP_303, headers={"Location": f"{req.root_path}/console/{page}"})
