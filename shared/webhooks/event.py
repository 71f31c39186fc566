"""The event that is sent about a transaction, and the state of its delivery as clients see it.

    POST callback_url
    {"type": "transaction.scored", "timestamp": "…Z",
     "data": {"transaction_id": "…", "status": "scored", "submitted_at": "…Z", "decision": {…}}}

The body and its headers are those of Standard Webhooks 1.0; `transaction.failed` has `error` beside a null `decision`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from riskline.shared.clock import utc_text
from riskline.shared.domain.lifecycle import CallbackStatus, Status

EVENT_TYPES = {Status.SCORED: "transaction.scored", Status.FAILED: "transaction.failed"}
TEST_EVENT = "riskline.test"

LAST_SECOND = 253_402_300_800
"""Of year 9999: no time after it can be written."""

TRACE = ("request_id", "traceparent")


class Callback(NamedTuple):
    """An event to deliver: the receiving host, the message id of all its attempts, and the content."""

    host: str
    message_id: str
    event: bytes


def new_message_id() -> str:
    """The `webhook-id` of an event."""
    return f"msg_{uuid4().hex}"


def callback_url_of(record: Mapping[str, Any]) -> str | None:
    """The callback URL of a record; None where there is none."""
    url: str | None = record.get("callback_url") or record.get("default_callback_url")
    return url


def callback_of(transaction_id: str, record: Mapping[str, Any], *, happened_at: str) -> Callback | None:
    """The event of a transaction that was just decided or has just failed, from its new record."""
    url = callback_url_of(record)
    if url is None:
        return None
    data = {"transaction_id": transaction_id, "status": record["status"], "submitted_at": record["submitted_at"]}
    data["decision"] = record.get("decision")
    if "error" in record:
        data["error"] = record["error"]
    kind = EVENT_TYPES[Status(record["status"])]
    event = {"type": kind, "url": url, "body": event_body(kind, data, happened_at=happened_at).decode()}
    event |= {name: record[name] for name in TRACE if name in record}
    return Callback(urlsplit(url).netloc, new_message_id(), orjson.dumps(event))


def event_body(kind: str, data: Mapping[str, Any], *, happened_at: str) -> bytes:
    """The body of a request that delivers an event."""
    return orjson.dumps({"type": kind, "timestamp": happened_at, "data": data})


def client_view(
    record: Mapping[str, Any], kept: Mapping[bytes, bytes] | None, *, in_full: bool = True
) -> dict[str, Any] | None:
    """A callback as a client sees it, from its transaction's record and its fields in Redis.

    Of the installation's default URL, and of one that another key has named, it sees the host only, and nothing of
    the answers.
    """
    url = callback_url_of(record)
    if url is None or (kept is None and record["status"] != Status.QUEUED):
        return None
    if record["status"] == Status.QUEUED or kept is None:
        state: dict[str, Any] = {"url": url, "status": CallbackStatus.WAITING, "event": None, "webhook_id": None}
        state |= {"attempts": list[Any](), "next_attempt_at": None}
    else:
        state = operator_view(kept)
    return state if in_full and "callback_url" in record else of_others(state)


def of_others(state: Mapping[str, Any]) -> dict[str, Any]:
    """A callback as other keys see it: its host, without secrets and answers."""
    attempts = [{**each, "answer": None} for each in state["attempts"]]
    return {**state, "url": bare_host(state["url"]), "attempts": attempts}


def bare_host(url: object) -> str:
    """The URL up to its host; empty where it is not a URL."""
    try:
        scheme, host = urlsplit(url)[:2] if isinstance(url, str) else ("", "")
    except ValueError:
        return ""
    return f"{scheme}://{host.rpartition('@')[2]}/" if host else ""


def operator_view(kept: Mapping[bytes, bytes]) -> dict[str, Any]:
    """A callback as an operator sees it; its transaction may have expired.

    Leaves out malformed fields: they must not break the page of all others.
    """
    event = _object(kept.get(b"event"))
    status = status_of(kept)
    state: dict[str, Any] = {
        "url": _text(event.get("url")),
        "status": status,
        "event": _text(event.get("type")) or None,
    }
    state |= {"webhook_id": kept.get(b"id", b"").decode(errors="replace") or None, "next_attempt_at": None}
    state["attempts"] = [each for name in _attempts(kept) if (each := _attempt(kept[name])) is not None]
    due_seconds = _number(kept.get(b"due")) / 1000
    if kept.get(b"claimed") != b"1" and time.time() < due_seconds < LAST_SECOND:
        # else it is under way, or due and waits for its host or a delivery worker
        state["next_attempt_at"] = utc_text(due_seconds)
    if b"reason" in kept:
        state["error"] = kept[b"reason"].decode(errors="replace")
    return state


def status_of(kept: Mapping[bytes, bytes]) -> CallbackStatus:
    """The status of a callback; DEAD where it is malformed, since it is not tried again."""
    try:
        return CallbackStatus(kept.get(b"status", b"").decode(errors="replace"))
    except ValueError:
        return CallbackStatus.DEAD


def _attempts(kept: Mapping[bytes, bytes]) -> Sequence[bytes]:
    return sorted((name for name in kept if name[:1] == b"a" and name[1:].isdigit()), key=lambda name: int(name[1:]))


def _attempt(text: bytes) -> dict[str, Any] | None:
    attempt = _object(text)
    kinds = {"at": str, "status": int | None, "latency_ms": float | int | None, "answer": str | None}
    kinds["error"] = str | None
    fits = attempt.keys() >= {"at"} and all(isinstance(attempt.get(name), kind) for name, kind in kinds.items())
    return {name: attempt.get(name) for name in kinds} if fits else None


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        loaded = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(text: bytes | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
