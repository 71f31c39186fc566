"""Whether an HTTP answer is one that the contract allows."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

AGAIN = 503
"""Repeat the request later: the one refusal that clients must expect at any time."""

PROBLEM_MEMBERS = ("type", "title", "status", "detail", "instance")

FAILED = "it failed"
"""How the reason begins why a transaction has no decision that the service has given up."""


class BadAnswerError(Exception):
    """An answer that must never be; says what is wrong with it."""


def checked(status: int, headers: Mapping[str, str], content: bytes, *, allowed: Collection[int]) -> dict[str, Any]:
    """The JSON object of an answer that is as it must be.

    Raises:
        BadAnswerError: its status is not among the allowed, or it is malformed.
    """
    if status not in allowed:
        raise BadAnswerError(f"status {status}: {content[:300]!r}")
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadAnswerError(f"status {status} with no JSON ({error}): {content[:300]!r}") from None
    if not isinstance(body, dict):
        raise BadAnswerError(f"status {status} with no object: {content[:300]!r}")
    media_type = headers.get("content-type", "").partition(";")[0]
    if media_type != ("application/json" if status < 400 else "application/problem+json"):
        raise BadAnswerError(f"status {status} as {media_type!r}")
    if status >= 400 and (body.get("status") != status or any(name not in body for name in PROBLEM_MEMBERS)):
        raise BadAnswerError(f"status {status} with a problem that lacks something: {content[:300]!r}")
    if status == AGAIN and not headers.get("retry-after", "").isdigit():
        raise BadAnswerError("status 503 without Retry-After")
    return body


def checked_state(body: dict[str, Any], transaction_id: str) -> dict[str, Any] | None:
    """The decision in a transaction's state; None where it is queued.

    Raises:
        BadAnswerError: it is the state of nothing, or of another transaction.
    """
    status = body.get("status")
    if body.get("transaction_id") != transaction_id or not isinstance(body.get("submitted_at"), str):
        raise BadAnswerError(f"the state of another transaction than {transaction_id}: {body}")
    if status == "queued" and body.get("decision") is None:
        return None
    if status == "scored" and isinstance(body.get("decision"), dict):
        return dict(body["decision"])
    if status == "failed":
        raise BadAnswerError(f"{FAILED}: {body.get('error')}")
    raise BadAnswerError(f"a state that cannot be: {body}")
