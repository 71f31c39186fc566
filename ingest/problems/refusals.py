"""The problems of requests that are refused for their form, before they are routed."""

from collections.abc import Mapping

import falcon
import httptools
import orjson

from riskline.ingest.problems.problem import MEDIA_PROBLEM, HttpProblem, described, help_link
from riskline.shared.log import get_logger

log = get_logger(__name__)

UNREADABLE_URI = "Its URI cannot be read."

CUT_OFF = "cut_off"
"""The key of the scope's state that says that the body was cut off."""

GONE = "gone"
"""The key of the scope's state that says that the client is gone: the rest of its answer is not read."""

MAX_INSTANCE_BYTES = 256
"""The most characters of a path that an answer repeats."""


def request_timeout(seconds: float) -> HttpProblem:
    """408: the request came too slowly."""
    return HttpProblem(
        "request-timeout", f"A request may take {seconds:g} seconds in which it sends next to nothing. Send it again."
    )


def uri_too_long(max_bytes: int) -> HttpProblem:
    """414: the path and its parameters are over the limit."""
    return HttpProblem("uri-too-long", f"It may have up to {max_bytes} bytes.")


def host_not_allowed(name: str) -> HttpProblem:
    """421: the request was sent to a name that is not one of this service's."""
    return HttpProblem(
        "host-not-allowed",
        "It asks for no API key, so it answers to addresses, to localhost, and to the names in "
        "RISKLINE_ALLOWED_HOSTS: else a page of another site could call it from a browser. "
        f"Add {name or 'the name that was used'} there if it is meant for this service, or have it ask for keys.",
    )


def head_too_large(max_bytes: int, max_fields: int) -> HttpProblem:
    """431: the headers are over the limit."""
    return HttpProblem("head-too-large", f"They may be {max_fields} fields and {max_bytes} bytes in all.")


class RefusedError(Exception):
    """Raised in a parser's callback, which ends the parsing."""

    def __init__(self, problem: HttpProblem) -> None:
        super().__init__(problem.name)
        self.problem = problem


def why(error: httptools.HttpParserError) -> HttpProblem:
    """The problem for a parser's error. It repeats none of the request's bytes."""
    raised = error.__context__
    if isinstance(raised, RefusedError):
        return raised.problem
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return HttpProblem(
            "bad-request", "It begins with no method of HTTP; if this was meant to be HTTPS: this port has none."
        )
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return HttpProblem("bad-request", UNREADABLE_URI)
    if isinstance(error, httptools.HttpParserCallbackError):
        log.error("a request failed while it was read", exc_info=raised)
        return HttpProblem("internal-error")
    return HttpProblem("bad-request", f"The parser says: {error}.")


def wire_answer(
    problem: HttpProblem, *, instance: bytes, root_path: str, request_id: str, defaults: list[tuple[bytes, bytes]]
) -> bytes:
    """The last answer of a connection, as bytes."""
    body = described(problem)
    if instance:
        body["instance"] = falcon.uri.encode_check_escaped(instance[:MAX_INSTANCE_BYTES].decode("latin-1"))
    content = orjson.dumps(body)
    own: Mapping[str, str] = {
        **(dict(problem.headers) if problem.headers else {}),
        "content-type": MEDIA_PROBLEM,
        "link": help_link(problem.name, root_path=root_path),
        "x-request-id": request_id,
        "content-length": str(len(content)),
        "connection": "close",
    }
    lines = [b"HTTP/1.1 " + falcon.code_to_http_status(problem.status_code).encode()]
    lines += [name + b": " + value for name, value in defaults]
    lines += [f"{name.lower()}: {value}".encode("latin-1") for name, value in own.items()]
    return b"\r\n".join([*lines, b"", content])
