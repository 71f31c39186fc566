"""The JSON of a transaction's record, and what may become of it.

    {"v": 1, "status": "queued", "submitted_at": "…Z", "transaction": {…}, "explain": true, "request_id": "…",
     "traceparent": "…", "decision": {…}, "error": "…"}

`explain`, `request_id`, `traceparent`, `decision` and `error` are there where they say something.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from shared.decision import Decision
from shared.lifecycle import Event, Status, next_status
from shared.transaction import TransactionModel

RECORD_VERSION = 1

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """A transaction on its way into the store, with its record as JSON."""

    transaction_id: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction: its final record, and the decision for the feed (empty where there is none)."""

    transaction_id: str
    record: bytes
    decision: bytes


def queued_record(
    transaction: TransactionModel,
    *,
    submitted_at: str,
    explain: bool = False,
    request_id: str | None = None,
    traceparent: str | None = None,
) -> Submission:
    """The record of a transaction that was just submitted."""
    record: Record = {"v": RECORD_VERSION, "status": next_status(None, Event.SUBMIT), "submitted_at": submitted_at}
    record["transaction"] = orjson.Fragment(transaction.to_json())
    if explain:
        record["explain"] = True
    if request_id is not None:
        record["request_id"] = request_id
    if traceparent is not None:
        record["traceparent"] = traceparent
    return Submission(transaction.transaction_id, orjson.dumps(record))


def decided_at_once(transaction: TransactionModel, *, scored_at: str, shown: bytes) -> Outcome:
    """The record of a transaction that the synchronous door decided; `shown` is the decision as it was answered."""
    record = {
        "v": RECORD_VERSION,
        "status": next_status(None, Event.DECIDE),
        "submitted_at": scored_at,
        "transaction": orjson.Fragment(transaction.to_json()),
        "decision": orjson.Fragment(shown),
    }
    return Outcome(transaction.transaction_id, orjson.dumps(record), shown)


def decided(record: Record, decision: Decision) -> Outcome:
    """The record after its decision.

    Raises:
        LifecycleError: the record is not one that can be decided.
    """
    shown = orjson.dumps(decision.to_dict())
    status = next_status(Status(record["status"]), Event.DECIDE)
    after = {**record, "status": status, "decision": orjson.Fragment(shown)}
    return Outcome(decision.transaction_id, orjson.dumps(after), shown)


def failed(transaction_id: str, record: Record, reason: str) -> Outcome:
    """The record of a transaction that cannot be decided, with the reason.

    Raises:
        LifecycleError: the record is not one that can fail.
    """
    after = {**record, "status": next_status(Status(record["status"]), Event.FAIL), "error": reason}
    return Outcome(transaction_id, orjson.dumps(after), b"")


def state_of(transaction_id: str, record: Record) -> dict[str, Any]:
    """What a client sees of a record."""
    shown = {
        "transaction_id": transaction_id,
        "status": record["status"],
        "submitted_at": record["submitted_at"],
        "decision": record.get("decision"),
        "callback": record.get("callback"),
    }
    if "error" in record:
        shown["error"] = record["error"]
    return shown
