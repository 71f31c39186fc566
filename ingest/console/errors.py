"""What goes wrong on the console's pages, told on a page."""

from collections.abc import Callable
from typing import Any

import falcon.asgi

from ingest.console.rendering import Renderer
from ingest.problems import described

Serializer = Callable[[falcon.asgi.Request, falcon.asgi.Response, falcon.HTTPError], None]


def with_pages(otherwise: Serializer, renderer: Renderer) -> Serializer:
    """The serializer of errors that answers below /console with a page, and elsewhere as before."""

    def serialize(req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError) -> None:
        if not is_console(req.path):
            otherwise(req, resp, error)
            return
        problem: dict[str, Any] = described(error)
        renderer.page(
            req,
            resp,
            "error.html",
            session=req.context.get("session"),
            title=problem["title"] if error.title in (None, error.status) else error.title,
            detail=problem["detail"],
            status=problem["status"],
            request_id=req.context.request_id,
        )

    return serialize


def is_console(path: str) -> bool:
    """Whether a path is the console's."""
    return path == "/console" or path.startswith("/console/")
