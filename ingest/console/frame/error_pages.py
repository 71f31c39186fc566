"""The error pages of the console."""

from collections.abc import Callable
from typing import Any

import falcon.asgi

from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.problems.problem import HttpProblem, described

WITHOUT_REDIS = (
    "It is away, hangs, or takes no writes. This page is about what is in it, so there is nothing to show; what you "
    "asked to change may not have been changed. The overview says what goes on meanwhile."
)

Serializer = Callable[[falcon.asgi.Request, falcon.asgi.Response, falcon.HTTPError], None]


def with_pages(otherwise: Serializer, renderer: Renderer) -> Serializer:
    """The serializer of errors that answers below /console with a page, and elsewhere as before."""

    def serialize(req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError) -> None:
        if not is_console(req.path):
            otherwise(req, resp, error)
            return
        problem: dict[str, Any] = described(error)
        if not isinstance(error, HttpProblem) and error.title not in (None, error.status):
            problem["title"] = error.title
        if isinstance(error, HttpProblem) and error.name == "store-unavailable":
            problem |= {"title": "Redis does not answer", "detail": WITHOUT_REDIS}
        renderer.page(
            req,
            resp,
            "error.html",
            session=req.context.get("session"),
            title=problem["title"],
            detail=problem["detail"],
            status=problem["status"],
            request_id=req.context.request_id,
        )

    return serialize


def is_console(path: str) -> bool:
    """True where a path is the console's."""
    return path == "/console" or path.startswith("/console/")
