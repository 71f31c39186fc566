"""The access check of the console: made once for every page, before it does anything."""

from typing import Any
from urllib.parse import quote, urlsplit

import falcon
import falcon.asgi

from riskline.ingest.console.frame.sessions import COOKIE, Session, Sessions

MAX_FORM_BYTES = 65_536

BY_ITSELF = "by_itself"
"""The parameter of a page's own polling, which does not show that its viewer is still there."""


class ConsolePage:
    """The base of the console's resources. By it the middleware knows the requests that the guard checks."""

    answers_json = False
    is_open = False
    """True where it needs no session."""
    looking_only = False
    """True where its forms change nothing: a session that may only look can send them."""


class Guard:
    """Falcon middleware: without a session a request is sent to the sign-in page; only our own forms make changes."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def process_resource(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Finds the session, and sees to it that a change was meant.

        Raises:
            HTTPStatus: 303 to the sign-in page.
            HTTPForbidden: the request comes from elsewhere, or the session may only look.
            StoreUnavailableError: Redis failed.
        """
        if not isinstance(resource, ConsolePage):
            return
        self._check_origin(req)
        session = await self._sessions.of(req, is_used=req.get_param(BY_ITSELF) is None)
        req.context.session = session
        if resource.is_open:
            return
        if session is None:
            raise _to_sign_in(req)
        if not self._sessions.are_needed:
            remember(req, resp, session)
        if req.method == "POST":
            await self._check_form(req, session, resource)

    @staticmethod
    def _check_origin(req: falcon.asgi.Request) -> None:
        if _is_part_of_a_foreign_page(req):
            raise falcon.HTTPForbidden(title="Asked for by another site", description="Open the console itself.")
        if req.method == "POST" and not _is_of_this_site(req):
            raise falcon.HTTPForbidden(title="The form is of another site", description="Open the console itself.")

    @staticmethod
    async def _check_form(req: falcon.asgi.Request, session: Session, page: ConsolePage) -> None:
        form = await read_form(req)
        if not session.is_from(form.get("csrf", "")):
            raise falcon.HTTPForbidden(
                title="The form is too old",
                description="It was made before you signed in, or for somebody else. Go back, reload the page, and "
                "send it again. Nothing was changed.",
            )
        if not (session.may_change or page.looking_only):
            raise falcon.HTTPForbidden(
                title="You may look, and change nothing",
                description=f"The key {session.who} has the scope read; sign in with one that has admin.",
            )


def _to_sign_in(req: falcon.asgi.Request) -> falcon.HTTPStatus:
    target = f"{req.root_path}/console/sign-in"
    if req.get_header("HX-Request"):
        # a part of a page that is open: the page as a whole has to go there
        return falcon.HTTPStatus(falcon.HTTP_204, headers={"HX-Redirect": target})
    if req.method == "GET" and req.path != "/console":
        target += f"?next={quote(req.relative_uri, safe='')}"
    return falcon.HTTPStatus(falcon.HTTP_303, headers={"Location": target})


def remember(req: falcon.asgi.Request, resp: falcon.asgi.Response, session: Session) -> None:
    """Gives the browser the session's token; over TLS, also that of a proxy in front, for TLS alone."""
    give_cookie(req, resp, COOKIE, session.token)


def give_cookie(req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str, value: str) -> None:
    """Sets a cookie that only the console's own pages get, and no script."""
    # of several proxies the first has the client's own scheme
    schemes = (req.forwarded_scheme, (req.get_header("X-Forwarded-Proto") or "").partition(",")[0].strip().lower())
    secure = "https" in schemes or req.forwarded_scheme.startswith("https,")
    resp.set_cookie(name, value, path=f"{req.root_path}/console", http_only=True, same_site="Strict", secure=secure)


def own_page(req: falcon.asgi.Request, target: str) -> str:
    """The address where it is one of the console's pages, else the overview's: none that a browser takes elsewhere."""
    own = f"{req.root_path}/console"
    is_ours = (target == own or target.startswith((own + "/", own + "?"))) and "\\" not in target
    return target if is_ours else own


async def read_form(req: falcon.asgi.Request) -> dict[str, str]:
    """The fields of a form, the last of each name; read once, and kept with the request.

    Raises:
        HTTPContentTooLarge: it is too large.
        HTTPUnsupportedMediaType: it is no form.
    """
    form: dict[str, str] | None = req.context.get("form")
    if form is not None:
        return form
    if (req.content_length or 0) > MAX_FORM_BYTES or req.content_length is None:
        raise falcon.HTTPContentTooLarge(description=f"A form may have {MAX_FORM_BYTES} bytes.")
    if (req.content_type or "").partition(";")[0].strip().lower() != falcon.MEDIA_URLENCODED:
        raise falcon.HTTPUnsupportedMediaType(description=f"A form is sent as {falcon.MEDIA_URLENCODED}.")
    media = await req.get_media()
    form = {name: value[-1] if isinstance(value, list) else value for name, value in media.items()}
    req.context.form = form
    return form


def parameters(req: falcon.asgi.Request) -> dict[str, str]:
    """The parameters of the URL, the last of each name."""
    return {name: value[-1] if isinstance(value, list) else value for name, value in req.params.items()}


def _is_part_of_a_foreign_page(req: falcon.asgi.Request) -> bool:
    """True where a foreign page loads it as a picture or the like. It cannot read it, but would fill the change log."""
    return req.get_header("Sec-Fetch-Site") == "cross-site" and req.get_header("Sec-Fetch-Mode") not in (
        None,
        "navigate",
    )


def _is_of_this_site(req: falcon.asgi.Request) -> bool:
    """True where a page of ours sent the form: by Sec-Fetch-Site, else by the hosts it was sent from and to."""
    site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc in (req.get_header("Host"), req.get_header("X-Forwarded-Host"))
