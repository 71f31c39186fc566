"""The problems of requests that are refused for their form, before anybody asks what they want."""

from collections.abc import Mapping

import falcon
import httptools
import orjson

from riskline.ingest.problems.table import MEDIA_PROBLEM, Problem, described, help_link, internal_error
from riskline.shared.log import get_logger

log = get_logger(__name__)

UNREADABLE_URI = "Its URI cannot be read."

RETRY_AFTER_SECONDS = 1
"""What a client is told that finds all connections taken, or too many requests before its own: both pass sooner."""

CUT_OFF = "cut_off"
"""Where the state of a request's scope says that its body broke off."""

GONE = "gone"
"""Where it says that the client is gone, so that nobody reads what is still to come of an answer."""

MAX_INSTANCE_BYTES = 256
"""How much of a path an answer repeats."""


def bad_request(detail: str) -> Problem:
    """400: what came is no HTTP request, or not a whole one."""
    return Problem(status=400, name="bad-request", title="The request is not valid HTTP", detail=detail)


def not_acceptable() -> Problem:
    """406: the client takes none of the media types that there are."""
    return Problem(
        status=406,
        name="not-acceptable",
        title="The client takes no JSON",
        detail="Answers are JSON: send Accept: application/json, Accept: */*, or no Accept at all.",
    )


def request_timeout(seconds: float) -> Problem:
    """408: the request came too slowly."""
    return Problem(
        status=408,
        name="request-timeout",
        title="The request came too slowly",
        detail=f"A request may take {seconds:g} seconds in which it sends next to nothing. Send it again.",
    )


def uri_too_long(max_bytes: int) -> Problem:
    """414: the path and its parameters are over the limit."""
    return Problem(
        status=414, name="uri-too-long", title="The URI is too long", detail=f"It may have up to {max_bytes} bytes."
    )


def body_cut_off() -> Problem:
    """400: the body ended before its end."""
    return bad_request("Its body breaks off.")


def expectation_failed() -> Problem:
    """417: an Expect that nobody knows."""
    return Problem(
        status=417,
        name="expectation-failed",
        title="The expectation is not known",
        detail="The only one is Expect: 100-continue.",
    )


def host_not_allowed(name: str) -> Problem:
    """421: the request was sent to a name that is not known to be this service's."""
    return Problem(
        status=421,
        name="host-not-allowed",
        title="The service is not known by this name",
        detail="It asks for no API key, so it answers to addresses, to localhost, and to the names in "
        "RISKLINE_ALLOWED_HOSTS: else a page of another site could call it from a browser. "
        f"Add {name or 'the name that was used'} there if it is meant for this service, or have it ask for keys.",
    )


def head_too_large(max_bytes: int, max_fields: int) -> Problem:
    """431: the headers are over the limit."""
    return Problem(
        status=431,
        name="head-too-large",
        title="The headers are too large",
        detail=f"They may be {max_fields} fields and {max_bytes} bytes in all.",
    )


def too_many_connections() -> Problem:
    """503: this process has as many connections as it may."""
    return Problem(
        status=503,
        name="too-many-connections",
        title="All connections are taken",
        detail="Nothing was accepted. Come again, and keep a connection for many requests.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def too_busy() -> Problem:
    """503: as many requests wait for this process as may."""
    return Problem(
        status=503,
        name="too-busy",
        title="Too many requests wait for this process",
        detail="Nothing was accepted. Send it again later, or start more API processes.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


class RefusedError(Exception):
    """Raised in a parser's callback, which ends the parsing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.name)
        self.problem = problem


def why(error: httptools.HttpParserError) -> Problem:
    """The problem of what the parser could not go on with; says nothing of what was sent."""
    raised = error.__context__
    if isinstance(raised, RefusedError):
        return raised.problem
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return bad_request("It begins with no method of HTTP; if this was meant to be HTTPS: this port has none.")
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return bad_request(UNREADABLE_URI)
    if isinstance(error, httptools.HttpParserCallbackError):
        log.error("a request failed while it was read", exc_info=raised)
        return internal_error()
    return bad_request(f"The parser says: {error}.")


def wire_answer(
    problem: Problem, *, instance: bytes, root_path: str, request_id: str, defaults: list[tuple[bytes, bytes]]
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
