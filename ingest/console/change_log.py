"""The log of changes made by the console, with who made each and when: kept in Redis, logged, and shown."""

from collections.abc import Mapping
from typing import Protocol

import falcon.asgi

from riskline.ingest.console.frame.guard import ConsolePage
from riskline.ingest.console.frame.rendering import Renderer
from riskline.shared.clock import utc_now
from riskline.shared.log import get_logger
from riskline.shared.store.feed import Cursor

log = get_logger(__name__)

SHOWN = 100

ACTIVATION = "a model to be activated"
"""The name of the change that activates a version."""

MOST_CHARACTERS = 400
"""The bound on a change's details, which a viewer may have typed."""


class ChangeStore(Protocol):
    """The change log in Redis; both methods raise StoreUnavailableError where Redis fails."""

    async def note(self, entry: dict[str, str], *, is_change: bool) -> None:
        """Appends a change, or a look at values."""

    async def notes(self, limit: int, *, before: str | None = None, changes_only: bool = False) -> list[dict[str, str]]:
        """The last entries before a place, newest first, each with its own `place`."""


class ChangeLog:
    """The audit trail. A change that it cannot keep is not made."""

    def __init__(self, store: ChangeStore) -> None:
        self._store = store

    async def note(self, req: falcon.asgi.Request, what: str, **about: object) -> None:
        """Keeps and logs a change and who makes it.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        await self._note(req, what, about, is_change=True)

    async def note_look(self, req: falcon.asgi.Request, what: str, **about: object) -> None:
        """Keeps and logs a look at personal values and who takes it; raises as `note`."""
        await self._note(req, what, about, is_change=False)

    async def _note(self, req: falcon.asgi.Request, what: str, about: Mapping[str, object], *, is_change: bool) -> None:
        who = req.context.session.who
        told = {name: str(value)[:MOST_CHARACTERS] for name, value in about.items()}
        log.info(
            "console: changed" if is_change else "console: looked at",
            what=what,
            who=who,
            request_id=req.context.request_id,
            **told,
        )
        entry = {"at": utc_now(), "who": who, "what": what, "request_id": req.context.request_id}
        entry["transaction"] = told.get("transaction", "")
        await self._store.note(
            entry | {"about": ", ".join(f"{name} {value}" for name, value in told.items())}, is_change=is_change
        )

    async def newest(self, *, before: str | None) -> list[dict[str, str]]:
        """The last ones before a place, newest first.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        return await self._store.notes(SHOWN, before=before)

    async def activation_of(self, version: str) -> dict[str, str] | None:
        """The entry of a version's activation; None where it is not among the last changes.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        entries = await self._store.notes(SHOWN, changes_only=True)
        about = f"version {version},"
        return next(
            (each for each in entries if each.get("what") == ACTIVATION and each.get("about", "").startswith(about)),
            None,
        )


class ChangesPage(ConsolePage):
    """GET /console/changes."""

    def __init__(self, renderer: Renderer, changes: ChangeLog) -> None:
        self._renderer = renderer
        self._changes = changes

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A page of changes."""
        before = Cursor.parse(req.get_param("before") or "")
        entries = await self._changes.newest(before=None if before is None else str(before))
        older = entries[-1]["place"] if len(entries) == SHOWN else None
        self._renderer.page(req, resp, "changes.html", session=req.context.session, entries=entries, older=older)
