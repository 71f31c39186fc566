"""Middleware that gives each request its id and counts it in the metrics."""

import re
import time
from itertools import count
from secrets import token_hex
from typing import Any

import falcon.asgi
from falcon.routing import CompiledRouter

from riskline.ingest.problems.problem import HttpProblem
from riskline.shared.telemetry.metrics import REQUEST_SECONDS, REQUESTS
from riskline.shared.telemetry.trace_context import traceparent

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_made_here = count(1)
_process = token_hex(6)


def request_id(given: str | None) -> str:
    """The caller's id where it is sane, else a new one: unlike any other process's, and each its own."""
    return given if given and REQUEST_ID.fullmatch(given) else f"{_process}-{next(_made_here):x}"


class RequestIdMiddleware:
    """Gives each request an id, the caller's where it is sane, and returns it with the answer."""

    async def process_request(self, req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """Takes the caller's id and trace, or makes an id."""
        req.context.request_id = request_id(req.get_header("X-Request-ID"))
        req.context.traceparent = traceparent(req.get_header("traceparent"))

    async def process_response(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, *_: object) -> None:
        """Returns the id."""
        resp.set_header("X-Request-ID", req.context.request_id)


class MetricsMiddleware:
    """Counts and times requests by their route's template."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str, Any], Any] = {}
        self._timers: dict[tuple[str, str], Any] = {}

    async def process_request(self, req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """Starts the clock."""
        req.context.started = time.perf_counter()

    async def process_response(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, *_: object) -> None:
        """Counts the answer."""
        route = req.uri_template or "unknown"
        key = (route, req.method, resp.status)
        counter = self._counters.get(key)
        if counter is None:
            status = str(falcon.http_status_to_code(resp.status))
            counter = self._counters[key] = REQUESTS.labels(route, req.method, status)
        counter.inc()
        # their time measures others, or a wait without an event
        waits = "yes" if resp.get_header("Preference-Applied") or "wait=" in req.query_string else "no"
        timer = self._timers.get((route, waits))
        if timer is None:
            timer = self._timers[route, waits] = REQUEST_SECONDS.labels(route, waits)
        timer.observe(time.perf_counter() - req.context.started)


EXPOSED = ("X-Request-ID", "Link", "Location", "Retry-After", "Preference-Applied", "RateLimit", "RateLimit-Policy")
"""The headers of an answer that a page of another origin may read."""


def cors(origins: tuple[str, ...]) -> list[falcon.CORSMiddleware[Any, Any]]:
    """The middleware that lets pages of these origins call, none where there are none; `*` is any origin."""
    if not origins:
        return []
    return [falcon.CORSMiddleware(allow_origins="*" if "*" in origins else origins, expose_headers=EXPOSED)]


class Router(CompiledRouter):
    """Falcon's routes, with HEAD wherever there is GET."""

    def map_http_methods(self, resource: object, **kwargs: Any) -> Any:
        """The responders of a resource by method."""
        responders: Any = super().map_http_methods(resource, **kwargs)
        if "GET" in responders:
            responders.setdefault("HEAD", responders["GET"])
        return responders


class AcceptMiddleware:
    """Refuses clients that take no JSON, before anything is done for them.

    A resource with `answers_json = False` answers in another format, whatever the client accepts, as RFC 9110 allows:
    monitoring systems and browsers send narrow Accept headers.
    """

    async def process_resource(
        self, req: falcon.asgi.Request, _resp: falcon.asgi.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Looks at the Accept header.

        Raises:
            HttpProblem: 406.
        """
        if getattr(resource, "answers_json", True) and not req.client_accepts(falcon.MEDIA_JSON):
            raise HttpProblem("not-acceptable")
