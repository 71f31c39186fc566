"""Signing in to the console with an API key or a link, and out again."""

from collections.abc import Callable

import falcon
import falcon.asgi

from riskline.ingest.auth.rate_limits import RateAccount
from riskline.ingest.console.change_log import ChangeLog
from riskline.ingest.console.frame.guard import ConsolePage, own_page, read_form, remember
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.frame.sessions import COOKIE, Session, Sessions
from riskline.shared.access.rate import Rate
from riskline.shared.log import get_logger

log = get_logger(__name__)

ATTEMPTS = Rate(quota=10, window_seconds=60)
"""Failed attempts of one address. A key of 256 bits cannot be guessed, but attempts cost time and fill the log."""

KNOWN_ADDRESSES = 10_000


class SignInPage(ConsolePage):
    """GET and POST /console/sign-in."""

    is_open = True

    def __init__(
        self, renderer: Renderer, sessions: Sessions, changes: ChangeLog, *, clock: Callable[[], float]
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._changes = changes
        self._clock = clock
        self._failures: dict[str, RateAccount] = {}

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The form; or a session, where the link is good."""
        link = req.get_param("link")
        # a preview asks for the head alone, and must not use it up
        if link is not None and req.method == "GET":
            session = await self._sessions.redeem(link)
            if session is not None:
                await self._go(req, resp, session, "")
                return
            self._count_failure(req)
            self._form(req, resp, problem="This link was used before, or is too old. Sign in with a key.")
            return
        if not self._sessions.are_needed or req.context.session is not None:
            raise falcon.HTTPStatus(falcon.HTTP_303, headers={"Location": f"{req.root_path}/console"})
        self._form(req, resp, problem="")

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A session, where the key is good."""
        form = await read_form(req)
        session = await self._sessions.sign_in(form.get("key", "").strip())
        if session is None:
            self._count_failure(req)
            log.warning("console: no session for this key", address=req.remote_addr, request_id=req.context.request_id)
            resp.status = falcon.HTTP_401
            problem = "No valid API key with the scope admin or read. Check it, and try again."
            self._form(req, resp, problem=problem, target=form.get("next", ""))
            return
        await self._go(req, resp, session, form.get("next", ""))

    async def _go(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, session: Session, target: str) -> None:
        req.context.session = session
        may = "look and change" if session.may_change else "look"
        await self._changes.note_look(req, "signed in", address=req.remote_addr, may=may)
        remember(req, resp, session)
        resp.status = falcon.HTTP_303
        resp.location = own_page(req, target)

    def _form(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, *, problem: str, target: str | None = None
    ) -> None:
        target = req.get_param("next") or "" if target is None else target
        self._renderer.page(req, resp, "sign_in.html", problem=problem, next=target)

    def _count_failure(self, req: falcon.asgi.Request) -> None:
        """Refuses an address that failed too often. It may be a proxy's, so a valid key is accepted all the same."""
        address, now = req.remote_addr, self._clock()
        if len(self._failures) >= KNOWN_ADDRESSES:
            self._failures = {each: account for each, account in self._failures.items() if account.level(now)}
        if len(self._failures) >= KNOWN_ADDRESSES:
            self._failures.clear()
        account = self._failures.setdefault(address, RateAccount(address, ATTEMPTS, now=now, sharers=1))
        if not account.take(now):
            wait_seconds = account.free_in_seconds(now)
            raise falcon.HTTPTooManyRequests(
                title="Too many attempts to sign in",
                description=f"Try again in {wait_seconds} seconds.",
                retry_after=wait_seconds,
            )


class SignOutPage(ConsolePage):
    """POST /console/sign-out."""

    is_open = True

    def __init__(self, sessions: Sessions, changes: ChangeLog) -> None:
        self._sessions = sessions
        self._changes = changes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Ends the session, where its own form asks for that, and shows the form to sign in."""
        session: Session | None = req.context.session
        form = await read_form(req)
        if session is not None and session.is_from(form.get("csrf", "")):
            await self._sessions.end(session)
            await self._changes.note_look(req, "signed out")
            resp.unset_cookie(COOKIE, path=f"{req.root_path}/console", same_site="Strict")
        resp.status = falcon.HTTP_303
        resp.location = f"{req.root_path}/console/sign-in"
