"""The failed transactions and callbacks, with reason, time and attempts, and the retry of one, some or all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

import falcon
import falcon.asgi

from riskline.ingest.console.change_log import ChangeLog
from riskline.ingest.console.failed.kinds import FailureKind
from riskline.ingest.console.failed.scan import (
    COUNT_SECONDS,
    LOOK_SECONDS,
    ROWS,
    FailedView,
    ReasonGroup,
    number,
    reason_filter,
    scan,
    summarize,
)
from riskline.ingest.console.frame.guard import ConsolePage, parameters, read_form
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.frame.sessions import Session
from riskline.shared.store.callbacks import PausedReceiver
from riskline.shared.store.failures import BATCH
from riskline.shared.store.listing import Entry

AT_A_TIME = 20 * BATCH
"""The most that one request retries: half a second of work. Then the page shows the progress, and goes on."""

MOST_DIGITS = 12

PART_SECONDS = 0.5
"""The time that one request scans for them."""


class FailedPage(ConsolePage):
    """GET /console/failed: all kinds, filtered by the text of their reasons, each page by page."""

    def __init__(
        self, renderer: Renderer, kinds: Sequence[FailureKind], *, paused: Callable[[], list[PausedReceiver]]
    ) -> None:
        """`paused` returns the receivers of callbacks that get none for now."""
        self._renderer = renderer
        self._paused = paused
        self._kinds = {kind.name: kind for kind in kinds}

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A page of each kind; with `confirm`, the question whether to retry; with `of`, the result."""
        params = parameters(req)
        view = FailedView.read(params, self._kinds)
        sections = [
            await asyncio.to_thread(
                _section, kind, view, asked=params.get("confirm") == kind.name, does=_verb(kind, params)
            )
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
        """The result of the request that led here, and the number of failures that it has yet to look through.

        Only a run that a form of ours began goes on by itself: a link could begin any.
        """
        kind = self._kinds.get(params.get("of", ""))
        done = _count(params.get("done", ""))
        if kind is None or done is None:
            return None
        go = Entry.parse(params.get("go", ""))
        left = 0 if go is None else max(0, kind.listing.count() - kind.listing.rank(go))
        does, wanted = _verb(kind, params), reason_filter(params)
        told = (kind.name, does.name, wanted.reason, wanted.is_whole, done, params.get("go", ""))
        return {
            "kind": kind,
            "does": does,
            "number": done,
            "id": params.get("id", ""),
            "go": go,
            "left": left,
            "goes_on": session.may_change and session.has_signed(params.get("run", ""), *told),
        }


class FailureAction(NamedTuple):
    """An action on failures: its name in a form, and its words for the question, the result and the change log."""

    name: str
    asks: str
    done: str
    change: str


DISCARD = FailureAction("discard", "Discard", "discarded", "discarded")


def _verb(kind: FailureKind, params: Mapping[str, str]) -> FailureAction:
    """The action that a form or a link asks for: a retry, unless it says otherwise."""
    if kind.may_be_discarded and params.get("do") == DISCARD.name:
        return DISCARD
    return FailureAction("", "Try", f"tried {kind.how}", f"tried {kind.how}")


class RetryPage(ConsolePage):
    """POST /console/failed/{kind}: retries or discards one, those of a filter, or all."""

    def __init__(self, kinds: Sequence[FailureKind], changes: ChangeLog) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._changes = changes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, kind: str) -> None:
        """Retries or discards them, or a part of them, and shows the progress."""
        if kind not in self._kinds:
            raise falcon.HTTPNotFound
        form = await read_form(req)
        does = self._one if form.get("id") else self._part
        resp.status = falcon.HTTP_303
        resp.location = f"{req.root_path}/console/{await does(req, self._kinds[kind], form)}"

    async def _one(self, req: falcon.asgi.Request, kind: FailureKind, form: Mapping[str, str]) -> str:
        transaction_id = form["id"]
        done = 0
        does = _verb(kind, form)
        if await asyncio.to_thread(kind.has, transaction_id):
            await self._changes.note(req, f"{kind.noun}s {does.change}", transaction=transaction_id)
            done = await asyncio.to_thread(_done_by(kind, does), [transaction_id])
        told = {"of": kind.name, **({"do": does.name} if does.name else {}), "done": done}
        if form.get("back") == "transaction":
            # the target is ours: one from the form could lead anywhere
            return f"transactions/{quote(transaction_id, safe='')}?{urlencode(told)}"
        view = FailedView.read(dict(parse_qsl(form.get("page", ""))), self._kinds)
        return f"failed?{view.query(**told, id=transaction_id)}"

    async def _part(self, req: falcon.asgi.Request, kind: FailureKind, form: Mapping[str, str]) -> str:
        view, does = FailedView(reason_filter(form)), _verb(kind, form)
        # from the newest back: a transaction that fails again meanwhile is not met twice
        go = Entry.parse(form.get("go", ""))
        found = await asyncio.to_thread(scan, kind, view.wanted, go, most=AT_A_TIME, seconds=PART_SECONDS)
        done = 0
        if found.rows:
            about = {"number": len(found.rows), "reason": view.reason or "any"}
            await self._changes.note(req, f"{kind.noun}s {does.change}", **about)
            ids = [row.transaction_id for row in reversed(found.rows)]
            done = await asyncio.to_thread(_done_by(kind, does), ids)
        done += _count(form.get("done", "")) or 0
        session, run = req.context.session, None
        if found.before is not None:
            run = session.signature(kind.name, does.name, view.reason, view.wanted.is_whole, done, found.before)
        return f"failed?{view.query(of=kind.name, do=does.name, done=done, go=found.before, run=run)}"


def _count(text: str) -> int | None:
    """The number of a parameter; None where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None


def _done_by(kind: FailureKind, does: FailureAction) -> Callable[[Sequence[str]], int]:
    return kind.discard if does == DISCARD else kind.retry


def _section(kind: FailureKind, view: FailedView, *, asked: bool, does: FailureAction) -> dict[str, Any]:
    place = view.places.get(kind.name)
    if place is None:
        found, groups, looked_at = summarize(kind, view.wanted, most=ROWS, seconds=LOOK_SECONDS)
    else:
        found, groups, looked_at = scan(kind, view.wanted, place, most=ROWS, seconds=LOOK_SECONDS), [], 0
    count = kind.listing.count()
    before = found.before
    return {
        "kind": kind,
        "rows": found.rows,
        "groups": [_group(kind, view, each) for each in groups],
        "looked_at": looked_at,
        "count": count,
        "first": 0 if place is None else kind.listing.rank(place),
        "to": count if before is None else kind.listing.rank(before),
        "back_to": None if before is None else before.score / kind.per_second,
        "is_whole": place is None and before is None,
        "is_filtered": bool(view.reason) or not kind.is_all_of_its_listing,
        "is_full": len(found.rows) == ROWS,
        "newest": None if place is None else view.query(**{kind.name: None}),
        "older": None if before is None else view.query(**{kind.name: before}),
        "does": does,
        "asked": number(kind, view.wanted, seconds=COUNT_SECONDS) if asked else None,
    }


def _group(kind: FailureKind, view: FailedView, group: ReasonGroup) -> dict[str, Any]:
    """A group with the queries that show its rows, and that ask to retry or discard them."""
    of_group = {"reason": group.why, "whole": "1"}
    return {
        **group._asdict(),
        "first_at": group.first.score / kind.per_second,
        "last_at": group.last.score / kind.per_second,
        "rows": view.query(**of_group),
        "again": view.query(**of_group, confirm=kind.name),
        "discard": view.query(**of_group, confirm=kind.name, do=DISCARD.name) if kind.may_be_discarded else None,
    }
