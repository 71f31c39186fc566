"""What is sent about a transaction, and what a client is told of the sending.

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

from shared.clock import spelled
from shared.lifecycle import CallbackStatus, Status

EVENT_TYPES = {Status.SCORED: "transaction.scored", Status.FAILED: "transaction.failed"}
TEST_EVENT = "riskline.test"

TRACE = ("request_id", "traceparent")


class Callback(NamedTuple):
    """An event that is to be delivered: the receiving host, the id that all its attempts have, and what to send."""

    host: str
    message_id: str
    event: bytes


def new_message_id() -> str:
    """The `webhook-id` of an event."""
    return f"msg_{uuid4().hex}"


def callback_url_of(record: Mapping[str, Any]) -> str | None:
    """Where a transaction's decision is to be sent, by its record; None where it is not."""
    url: str | None = record.get("callback_url") or record.get("default_callback_url")
    return url


def callback_of(transaction_id: str, record: Mapping[str, Any], *, happened_at: str) -> Callback | None:
    """The event of a transaction that was just decided or has just failed, by its record after that."""
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


def shown(record: Mapping[str, Any], kept: Mapping[bytes, bytes] | None) -> dict[str, Any] | None:
    """What a client is told of its callback, by its transaction's record and what is kept of it in Redis.

    Of the installation's default URL it sees the host alone, and nothing of the answers: both are the operator's.
    """
    url = callback_url_of(record)
    if url is None or (kept is None and record["status"] != Status.QUEUED):
        return None
    if record["status"] == Status.QUEUED or kept is None:
        state: dict[str, Any] = {"url": url, "status": CallbackStatus.WAITING, "event": None, "webhook_id": None}
        state |= {"attempts": list[Any](), "next_attempt_at": None}
    else:
        state = shown_by_itself(kept)
    if "callback_url" not in record:
        scheme, host = urlsplit(url)[:2]
        state["url"] = f"{scheme}://{host}/"
        state["attempts"] = [{**each, "answer": None} for each in state["attempts"]]
    return state


def shown_by_itself(kept: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What an operator is told of a callback, whose transaction need not be there any more."""
    event = orjson.loads(kept[b"event"])
    state = {"url": event["url"], "status": kept[b"status"].decode(), "event": event["type"]}
    state |= {"webhook_id": kept[b"id"].decode(), "next_attempt_at": None}
    state["attempts"] = [orjson.loads(kept[name]) for name in _attempts(kept)]
    due = float(kept.get(b"due", 0)) / 1000
    if kept.get(b"claimed") != b"1" and due > time.time():
        # else it is under way, or due and waits for its host or a delivery worker
        state["next_attempt_at"] = spelled(due)
    if b"reason" in kept:
        state["error"] = kept[b"reason"].decode()
    return state


def _attempts(kept: Mapping[bytes, bytes]) -> Sequence[bytes]:
    return sorted((name for name in kept if name[:1] == b"a" and name[1:].isdigit()), key=lambda name: int(name[1:]))
