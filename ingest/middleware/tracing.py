"""A span for each request, of the caller's trace or a new one, where traces are on."""

import falcon
import falcon.asgi

from riskline.shared.telemetry.tracing import Tracing

UNTRACED = ("/health", "/metrics")
"""Machines ask for these every few seconds. Their traces are of no use."""

SERVER_ERROR = 500


class TracingMiddleware:
    """Times requests as OpenTelemetry's conventions for HTTP servers have it, and hands the trace on to the queue."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def process_request(self, req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """Begins the span; what is queued from here on is its child."""
        req.context.span = None
        if req.path.startswith(UNTRACED):
            return
        req.context.span = self._tracing.start(
            "HTTP",
            kind="server",
            parent=req.context.traceparent,
            attributes={
                "http.request.method": req.method,
                "url.path": req.path,
                "url.scheme": req.scheme,
                "riskline.request_id": req.context.request_id,
            },
        )
        req.context.traceparent = req.context.span.traceparent or req.context.traceparent

    async def process_response(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, *_: object) -> None:
        """Ends it."""
        if req.context.span is None:
            return
        status = falcon.http_status_to_code(resp.status)
        route = {} if req.uri_template is None else {"http.route": req.uri_template}
        req.context.span.end(
            name=f"{req.method} {req.uri_template}" if route else None,
            attributes={"http.response.status_code": status, **route},
            error=str(status) if status >= SERVER_ERROR else None,
        )
