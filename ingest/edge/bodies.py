"""The body of a request, within the limit, and its parameters."""

import re

import falcon.asgi

from riskline.ingest.problems.problem import HttpProblem, bad_parameter, body_too_large, not_json_content
from riskline.ingest.problems.refusals import CUT_OFF

MAX_WAIT_SECONDS = 30.0
WAIT_RULE = f"a number of seconds from 0 to {MAX_WAIT_SECONDS:.0f}"
PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)
"""The wait preference of RFC 7240 in a Prefer header."""


async def read_json_body(req: falcon.asgi.Request, *, max_body_bytes: int) -> bytes:
    """The body, of which no more than the limit is ever held.

    Raises:
        HttpProblem: 415 where it is not declared as JSON, 413 where it is over the limit, 400 where it breaks off.
    """
    content_type = req.content_type
    if content_type != "application/json" and not _is_json(content_type):
        raise not_json_content(content_type)
    length = req.content_length
    if length is not None:
        if length > max_body_bytes:
            raise body_too_large(max_body_bytes)
        body = await req.stream.read()
    else:
        body = await _read_within(max_body_bytes, req)
    if req.scope.get("state", {}).get(CUT_OFF):
        # the bytes so far may parse as a transaction, but not as the one that the client meant
        raise HttpProblem("bad-request", "Its body breaks off.")
    return body


async def _read_within(max_body_bytes: int, req: falcon.asgi.Request) -> bytes:
    parts: list[bytes] = []
    held = 0
    async for part in req.stream:
        held += len(part)
        if held > max_body_bytes:
            raise body_too_large(max_body_bytes)
        parts.append(part)
    return b"".join(parts)


def explain_wanted(req: falcon.asgi.Request) -> bool:
    """True where `?explain=true` asks for reasons whatever the action.

    Raises:
        HttpProblem: 422 where it is neither true nor false.
    """
    return _is_true(req, "explain")


def dry_run_wanted(req: falcon.asgi.Request) -> bool:
    """True where `?dry_run=true` asks for a decision of which nothing is kept.

    Raises:
        HttpProblem: 422 where it is neither true nor false.
    """
    return _is_true(req, "dry_run")


def _is_true(req: falcon.asgi.Request, name: str) -> bool:
    if not req.query_string:
        return False
    given = req.get_param(name)
    if given is None:
        return False
    if given not in ("true", "false"):
        raise bad_parameter(name, "true or false")
    return given == "true"


def wait_parameter_seconds(req: falcon.asgi.Request) -> float:
    """The seconds of `?wait=N`; 0 without it.

    Raises:
        HttpProblem: 422 where it is not a number within its range.
    """
    given = req.get_param("wait")
    if given is None:
        return 0.0
    try:
        seconds = float(given)
    except ValueError:
        raise bad_parameter("wait", WAIT_RULE) from None
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise bad_parameter("wait", WAIT_RULE)
    return seconds


def preferred_wait_seconds(req: falcon.asgi.Request) -> float | None:
    """The seconds of `Prefer: wait=N`, at most 30; None without it."""
    found = PREFER_WAIT.search(req.get_header("Prefer") or "")
    return None if found is None else min(float(found.group(1)), MAX_WAIT_SECONDS)


def _is_json(content_type: str | None) -> bool:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
