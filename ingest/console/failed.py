"""What failed and what could not be delivered: why, when, how often; and another try for one, for some, for all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import falcon
import falcon.asgi

from ingest.console.changes import Changes
from ingest.console.guard import ConsolePage, parameters, read_form
from ingest.console.kinds import Kind
from ingest.console.looking import COUNT_SECONDS, LOOK_SECONDS, ROWS, View, look, number
from ingest.console.rendering import Renderer
from ingest.console.sessions import Session
from shared.store.callbacks import PausedReceiver
from shared.store.failures import BATCH
from shared.store.listing import Entry

AT_A_TIME = 20 * BATCH
"""How many one request replays: half a second at the most, after which the page shows how far it is, and goes on."""

MOST_DIGITS = 12

PART_SECONDS = 0.5
"""How long one request looks for them."""


class FailedPage(ConsolePage):
    """GET /console/failed: all kinds, filtered by what their reasons have in them, each page by page."""

    def __init__(
        self, renderer: Renderer, kinds: Sequence[Kind], *, paused: Callable[[], list[PausedReceiver]]
    ) -> None:
        """`paused` says which receivers of callbacks are left alone."""
        self._renderer = renderer
        self._paused = paused
        self._kinds = {kind.name: kind for kind in kinds}

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A page of each kind; with `confirm`, the question whether to try again; with `of`, what became of that."""
        params = parameters(req)
        view = View.read(params, self._kinds)
        sections = [
            await asyncio.to_thread(_section, kind, view, asked=params.get("confirm") == kind.name)
            for kind in self._kinds.values()
        ]
        self._renderer.page(
            req,
            resp,
            "failed.html",
            session=req.context.session,
            view=view,
            sections=sections,
            paused=await asyncio.to_thread(self._paused),
            done=await asyncio.to_thread(self._done, params, req.context.session),
        )

    def _done(self, params: Mapping[str, str], session: Session) -> dict[str, Any] | None:
        """What was tried again by the request that led here, and how many are left to be looked through for it.

        Only what follows on a form of ours goes on by itself: a link can say anything.
        """
        kind = self._kinds.get(params.get("of", ""))
        done = _count(params.get("done", ""))
        if kind is None or done is None:
            return None
        go = Entry.parse(params.get("go", ""))
        left = 0 if go is None else max(0, kind.listing.count() - kind.listing.rank(go))
        told = (kind.name, params.get("reason", "").strip(), done, params.get("go", ""))
        return {
            "kind": kind,
            "number": done,
            "id": params.get("id", ""),
            "go": go,
            "left": left,
            "goes_on": session.may_change and session.has_signed(params.get("run", ""), *told),
        }


class AgainPage(ConsolePage):
    """POST /console/failed/{kind}: another try for one, for those of a filter, or for all."""

    def __init__(self, kinds: Sequence[Kind], changes: Changes) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._changes = changes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, kind: str) -> None:
        """Does it, or a part of it, and shows how far it is."""
        if kind not in self._kinds:
            raise falcon.HTTPNotFound
        form = await read_form(req)
        does = self._one if form.get("id") else self._part
        resp.status = falcon.HTTP_303
        resp.location = f"{req.root_path}/console/{await does(req, self._kinds[kind], form)}"

    async def _one(self, req: falcon.asgi.Request, kind: Kind, form: Mapping[str, str]) -> str:
        transaction_id = form["id"]
        done = 0
        if await asyncio.to_thread(kind.has, transaction_id):
            await self._changes.note(req, _what(kind), transaction=transaction_id)
            done = await asyncio.to_thread(kind.again, [transaction_id])
        told = {"of": kind.name, "done": done}
        if form.get("back") == "transaction":
            # where to is ours to say: what a form says would be anybody's
            return f"transactions/{quote(transaction_id, safe='')}?{urlencode(told)}"
        view = View.read(dict(parse_qsl(form.get("page", ""))), self._kinds)
        return f"failed?{view.query(**told, id=transaction_id)}"

    async def _part(self, req: falcon.asgi.Request, kind: Kind, form: Mapping[str, str]) -> str:
        view = View(form.get("reason", "").strip())
        # from the newest back, so that what fails once more meanwhile is not met again
        go = Entry.parse(form.get("go", ""))
        found = await asyncio.to_thread(look, kind, view.reason, go, most=AT_A_TIME, seconds=PART_SECONDS)
        done = 0
        if found.rows:
            await self._changes.note(req, _what(kind), number=len(found.rows), reason=view.reason or "any")
            done = await asyncio.to_thread(kind.again, [row.transaction_id for row in reversed(found.rows)])
        done += _count(form.get("done", "")) or 0
        session, run = req.context.session, None
        if found.before is not None:
            run = session.signature(kind.name, view.reason, done, found.before)
        return f"failed?{view.query(of=kind.name, done=done, go=found.before, run=run)}"


def _count(text: str) -> int | None:
    """The number that a parameter says; None where it says none that there can be."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None


def _what(kind: Kind) -> str:
    return f"{kind.noun}s tried {kind.how}"


def _section(kind: Kind, view: View, *, asked: bool) -> dict[str, Any]:
    place = view.places.get(kind.name)
    found = look(kind, view.reason, place, most=ROWS, seconds=LOOK_SECONDS)
    count = kind.listing.count()
    before = found.before
    return {
        "kind": kind,
        "rows": found.rows,
        "count": count,
        "first": 0 if place is None else kind.listing.rank(place),
        "to": count if before is None else kind.listing.rank(before),
        "back_to": None if before is None else before.score / kind.per_second,
        "is_whole": place is None and before is None,
        "is_filtered": bool(view.reason) or not kind.is_all_of_its_listing,
        "is_full": len(found.rows) == ROWS,
        "newest": None if place is None else view.query(**{kind.name: None}),
        "older": None if before is None else view.query(**{kind.name: before}),
        "asked": number(kind, view.reason, seconds=COUNT_SECONDS) if asked else None,
    }
