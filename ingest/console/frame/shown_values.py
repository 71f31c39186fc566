"""The switch by which a session sees transactions' values on every page. Switching it on is kept under Changes."""

import falcon
import falcon.asgi

from riskline.ingest.console.change_log import ChangeLog
from riskline.ingest.console.frame.guard import ConsolePage, give_cookie, own_page, read_form
from riskline.ingest.console.frame.sessions import Session

COOKIE = "riskline_console_values"

SIGNED = "values are shown"
"""The word whose signature by the session is the cookie's value: another session's cookie has no effect."""


def shows_values(req: falcon.asgi.Request) -> bool:
    """True where the session has switched values on for every page."""
    session: Session = req.context.session
    return any(session.has_signed(each, SIGNED) for each in req.get_cookie_values(COOKIE) or ())


class ValuesPage(ConsolePage):
    """POST /console/values: shows values on every page from now on, or hides them again."""

    looking_only = True

    def __init__(self, changes: ChangeLog) -> None:
        self._changes = changes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Keeps the request in the change log, and leads back to the page that it came from."""
        form = await read_form(req)
        shown = form.get("shown") == "1"
        await self._changes.note_look(req, "values shown on every page" if shown else "values hidden again")
        give_cookie(req, resp, COOKIE, req.context.session.signature(SIGNED) if shown else "")
        resp.status = falcon.HTTP_303
        resp.location = own_page(req, form.get("back", ""))
