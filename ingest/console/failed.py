"""What failed and what could not be delivered: why, when, how often; and another try for one, for some, for all."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import falcon
import falcon.asgi

from ingest.console.changes import Changes
from ingest.console.guard import ConsolePage, read_form
from ingest.console.rendering import Renderer
from shared.callback import shown_by_itself
from shared.store.failures import BATCH
from shared.store.upkeep import AllCallbacks, AllFailures

SHOWN = 200
"""Of each kind, the newest; what a filter is for has all of them."""

AT_A_TIME = 20 * BATCH
"""How many one request replays: half a second at the most, after which the page shows how far it is, and goes on."""


class Row(NamedTuple):
    """Something that can be tried again."""

    transaction_id: str
    at: str | float | None
    reason: str
    times: int


class Kind(Protocol):
    """A kind of what failed."""

    name: str
    title: str

    def count(self) -> int:
        """How many there are."""

    def newest(self, limit: int) -> list[Row]:
        """The last of them."""

    def ids(self) -> list[str]:
        """All, oldest first."""

    def again(self, transaction_ids: Sequence[str]) -> int:
        """Has them tried again; how many that were."""


class FailedTransactions:
    """Transactions that could not be decided."""

    name, title = "transactions", "Failed transactions"

    def __init__(self, failures: AllFailures) -> None:
        self._failures = failures

    def count(self) -> int:
        """How many there are."""
        return self._failures.count()

    def newest(self, limit: int) -> list[Row]:
        """The last of them."""
        return [
            Row(each.transaction_id, each.failed_at, each.reason, 1 + each.record.get("replays", 0))
            for each in self._failures.newest(limit)
        ]

    def ids(self) -> list[str]:
        """All, oldest first."""
        return self._failures.ids()

    def again(self, transaction_ids: Sequence[str]) -> int:
        """Makes them wait for a worker again."""
        return len(self._failures.replay(transaction_ids).replayed)


class DeadLetters:
    """Callbacks that were given up."""

    name, title = "callbacks", "Callbacks that were given up"

    def __init__(self, records: AllCallbacks) -> None:
        self._records = records

    def count(self) -> int:
        """How many there are."""
        return self._records.counts()[1]

    def newest(self, limit: int) -> list[Row]:
        """The last of them."""
        found = []
        for transaction_id, kept in self._records.read(self._records.dead(limit)):
            shown = shown_by_itself(kept)
            last = shown["attempts"][-1]["at"] if shown["attempts"] else None
            reason = f"{shown['url']}: {shown.get('error', 'given up')}"
            found.append(Row(transaction_id, last, reason, len(shown["attempts"])))
        return found

    def ids(self) -> list[str]:
        """All, oldest first."""
        return self._records.all_dead()

    def again(self, transaction_ids: Sequence[str]) -> int:
        """Makes them due at once."""
        return len(self._records.resend(transaction_ids))


class FailedPage(ConsolePage):
    """GET /console/failed: both kinds, filtered by what their reasons have in them."""

    def __init__(self, renderer: Renderer, kinds: Sequence[Kind]) -> None:
        self._renderer = renderer
        self._kinds = kinds

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The newest of each kind; with `confirm`, the question whether to try again."""
        wanted = (req.get_param("reason") or "").strip()
        sections = [await asyncio.to_thread(_section, kind, wanted) for kind in self._kinds]
        self._renderer.page(
            req,
            resp,
            "failed.html",
            session=req.context.session,
            wanted=wanted,
            sections=sections,
            confirm=req.get_param("confirm"),
            done=req.get_param_as_int("done"),
            left=req.get_param_as_int("left"),
            of=next((kind.name for kind in self._kinds if kind.name == req.get_param("of")), ""),
        )


class AgainPage(ConsolePage):
    """POST /console/failed/{kind}: another try for one, for those of a filter, or for all."""

    def __init__(self, kinds: Sequence[Kind], changes: Changes) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._changes = changes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, kind: str) -> None:
        """Does a part of it, and shows how far it is."""
        if kind not in self._kinds:
            raise falcon.HTTPNotFound
        form = await read_form(req)
        chosen, one, wanted = self._kinds[kind], form.get("id", ""), form.get("reason", "")
        about = {"transaction": one} if one else {"of": kind, "reason": wanted or "any"}
        await self._changes.note(req, f"{kind} tried again", **about)
        found = [one] if one else await asyncio.to_thread(_matching, chosen, wanted)
        done = await asyncio.to_thread(chosen.again, found[:AT_A_TIME])
        done_before = form.get("done", "")
        done += int(done_before) if done_before.isdecimal() else 0
        query: dict[str, Any] = {"of": kind, "done": done, "left": max(0, len(found) - AT_A_TIME), "reason": wanted}
        resp.status = falcon.HTTP_303
        resp.location = f"{req.root_path}/console/failed?{urlencode(query)}"


def _section(kind: Kind, wanted: str) -> dict[str, Any]:
    rows = [row for row in kind.newest(SHOWN) if wanted.lower() in row.reason.lower()]
    return {"name": kind.name, "title": kind.title, "count": kind.count(), "rows": rows}


def _matching(kind: Kind, wanted: str) -> list[str]:
    if not wanted:
        return kind.ids()
    return [row.transaction_id for row in kind.newest(kind.count()) if wanted.lower() in row.reason.lower()]
