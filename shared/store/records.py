"""The JSON of a transaction's record, and its changes.

    {"v": 1, "status": "queued", "submitted_at": "…Z", "transaction": {…}, "explain": true, "request_id": "…",
     "traceparent": "…", "callback_url": "…", "callback_by": "…", "decision": {…}, "error": "…", "replays": 1,
     "history": {…}, "history_of": "…", "history_order": […]}

Of one that was erased there are `v`, `status`, `submitted_at`, a `transaction` that is null, and `erased_at`.

A release that changes what `transaction` or `explain` mean raises `v`; the other members stay what they are, so that an
API of any release can show the state of a transaction. A worker decides none of a later release: see `is_later`.

`explain`, `request_id`, `traceparent`, `callback_url` (or `default_callback_url`, which the submission did not name),
`callback_by`, `decision`, `error` and `replays` are there where they say something. `callback_by` is which API key has
named the `callback_url`: other keys see its host only. Those of `history` are in `kept_history`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from riskline.shared.clock import utc_now
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.lifecycle import Event, Status, next_status
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import LifecycleError
from riskline.shared.store.kept_history import history_members
from riskline.shared.webhooks.event import Callback, callback_of, callback_url_of, client_view

RECORD_VERSION = 1

NEW_STATUS = next_status(None, Event.SUBMIT)
AT_ONCE = orjson.dumps(
    {"v": RECORD_VERSION, "status": next_status(None, Event.DECIDE), "submitted_at": ""}
).removesuffix(b'"}')
"""The beginning of a synchronously decided transaction's record."""

Record = dict[str, Any]

STATUSES = tuple(map(str, Status))
TYPES: dict[str, type | tuple[type, ...]] = {
    "callback_url": str,
    "default_callback_url": str,
    "request_id": str,
    "traceparent": str,
    "error": str,
    "erased_at": str,
    "replays": (int, float),
    "history": (dict, str),
    "history_of": str,
    "history_order": list,
    "decision": (dict, type(None)),
}
"""Types of the optional members."""


class Submission(NamedTuple):
    """A transaction on its way into the store, with its record as JSON and when it was submitted."""

    transaction_id: str
    record: bytes
    submitted_at: str


class Outcome(NamedTuple):
    """A transaction's outcome: final record, decision for the feed (empty where there is none), and callback."""

    transaction_id: str
    record: bytes
    decision: bytes
    callback: Callback | None = None


class Queueing:
    """Makes the records of the transactions of one request."""

    def __init__(
        self,
        *,
        submitted_at: str,
        explain: bool = False,
        request_id: str | None = None,
        traceparent: str | None = None,
        default_callback_url: str | None = None,
        sender: str | None = None,
    ) -> None:
        """`sender` is the identity of the sender's API key."""
        head: Record = {"v": RECORD_VERSION, "status": NEW_STATUS, "submitted_at": submitted_at}
        said = {"explain": explain or None, "request_id": request_id, "traceparent": traceparent}
        tail = {name: value for name, value in said.items() if value is not None}
        self._submitted_at = submitted_at
        self._before = orjson.dumps(head)[:-1] + b',"transaction":'
        self._after = b"," + orjson.dumps(tail)[1:] if tail else b"}"
        self._default = None if default_callback_url is None else _member("default_callback_url", default_callback_url)
        self._sender = b"" if sender is None else _member("callback_by", sender)

    def submission(self, transaction: TransactionModel, *, callback_url: str | None = None) -> Submission:
        """The transaction with its record."""
        called_back = self._default if callback_url is None else _member("callback_url", callback_url) + self._sender
        record = self._before + transaction.to_json() + (called_back or b"")
        if type(transaction).lacks_history:
            # its class has history
            record += history_members(transaction)
        record += self._after
        return Submission(transaction.transaction_id, record, self._submitted_at)


def _member(name: str, value: str) -> bytes:
    return b"," + orjson.dumps({name: value})[1:-1]


def queued_record(
    transaction: TransactionModel,
    *,
    submitted_at: str,
    explain: bool = False,
    request_id: str | None = None,
    traceparent: str | None = None,
    callback_url: str | None = None,
    default_callback_url: str | None = None,
    sender: str | None = None,
) -> Submission:
    """A single submitted transaction, with its record."""
    queueing = Queueing(
        submitted_at=submitted_at,
        explain=explain,
        request_id=request_id,
        traceparent=traceparent,
        default_callback_url=default_callback_url,
        sender=sender,
    )
    return queueing.submission(transaction, callback_url=callback_url)


def just_queued(submission: Submission) -> Record:
    """The record of a submission that was just accepted, as far as a client sees it; saves reading it again."""
    return {"status": Status.QUEUED, "submitted_at": submission.submitted_at}


def decided_at_once(transaction_id: str, *, transaction: bytes, scored_at: str, shown: bytes) -> Outcome:
    """The record of a transaction that the synchronous door decided; `shown` is the decision as it was answered.

    `transaction` may have `history_members` behind it.
    """
    record = b"".join((AT_ONCE, scored_at.encode(), b'","transaction":', transaction, b',"decision":', shown, b"}"))
    return Outcome(transaction_id, record, shown)


def decided(record: Record, decision: Decision) -> Outcome:
    """The record after its decision.

    Raises:
        LifecycleError: the record is not one that can be decided.
    """
    answer = orjson.dumps(decision.to_dict())
    status = next_status(record["status"], Event.DECIDE)
    after = {**record, "status": status, "decision": orjson.Fragment(answer)}
    if decision.history is not None:
        # also where the record has values, which are of other columns
        after["history"] = decision.history
    callback = callback_of(decision.transaction_id, after, happened_at=decision.scored_at)
    return Outcome(decision.transaction_id, orjson.dumps(after), answer, callback)


def failed(transaction_id: str, record: Record, reason: str) -> Outcome:
    """The record of a transaction that cannot be decided, with the reason; without the parts that cannot be written.

    Raises:
        LifecycleError: the record is not one that can fail.
    """
    after = {**record, "status": next_status(record["status"], Event.FAIL), "error": reason}
    try:
        callback = callback_of(transaction_id, after, happened_at=utc_now())
        return Outcome(transaction_id, orjson.dumps(after), b"", callback)
    except orjson.JSONEncodeError:
        # JSON nested too deep can be read, and not written
        kept: Record = {name: record[name] for name in ("submitted_at", "replays") if name in record}
        return unreadable(transaction_id, kept, flawed="a member")


def replayed(record: Record) -> bytes:
    """The record of a failed transaction that is tried again, as JSON.

    Raises:
        LifecycleError: the record is not one of a failed transaction, or cannot be written.
    """
    after = {**record, "status": next_status(record["status"], Event.REPLAY), "replays": record.get("replays", 0) + 1}
    after.pop("error", None)
    try:
        return orjson.dumps(after)
    except orjson.JSONEncodeError as error:
        raise LifecycleError(f"its record cannot be written: {error}") from error


def erased(record: Record, *, erased_at: str) -> bytes:
    """The record of an erased transaction, as JSON: none of its values.

    Raises:
        LifecycleError: the transaction is not decided yet.
    """
    status = next_status(record["status"], Event.ERASE)
    kept = {"v": RECORD_VERSION, "status": status, "submitted_at": record["submitted_at"], "transaction": None}
    return orjson.dumps({**kept, "erased_at": record.get("erased_at", erased_at)})


def unreadable(transaction_id: str, record: Record, *, flawed: str) -> Outcome:
    """The record of a transaction that cannot be parsed: failed, with its time and transaction where readable.

    Unreadable ones become the present time and null. No door of Riskline wrote such a record: there
    is no callback.
    """
    submitted_at, transaction = record.get("submitted_at"), record.get("transaction")
    after = {
        "v": RECORD_VERSION,
        "status": next_status(NEW_STATUS, Event.FAIL),
        "submitted_at": submitted_at if isinstance(submitted_at, str) else utc_now(),
        "transaction": transaction if isinstance(transaction, dict) else None,
        "error": f"its record cannot be read ({flawed}): submit the transaction by another id",
    }
    if isinstance(record.get("replays"), int | float):
        # by this time the store tells one try from another
        after["replays"] = record["replays"]
    try:
        return Outcome(transaction_id, orjson.dumps(after), b"")
    except orjson.JSONEncodeError:
        return Outcome(transaction_id, orjson.dumps({**after, "transaction": None}), b"")


def flaw(record: Record) -> str | None:
    """The malformed member of a record; None where the record is sound."""
    if record.get("status") not in STATUSES:
        return "status"
    if not isinstance(record.get("submitted_at"), str):
        return "submitted_at"
    if "transaction" not in record:
        return "transaction"
    wrong = [name for name, value in record.items() if name in TYPES and not isinstance(value, TYPES[name])]
    if wrong:
        return wrong[0]
    if url := callback_url_of(record):
        try:
            urlsplit(url)
        except ValueError:
            return "callback_url"
    return None


def readable(record: bytes | str | None) -> Record | None:
    """The record; None where there is none, or it is malformed."""
    loaded = decoded(record)
    return loaded if loaded is not None and flaw(loaded) is None else None


def id_of(raw: bytes) -> str:
    """A transaction's id from Redis's bytes; malformed bytes are kept, see `raw_id`."""
    return raw.decode(errors="surrogateescape")


def raw_id(transaction_id: str) -> bytes:
    """The bytes that `id_of` was given."""
    return transaction_id.encode(errors="surrogateescape")


def is_later(record: Record) -> bool:
    """True where a later release wrote the record: only that release's workers may decide it."""
    version = record.get("v")
    return isinstance(version, int) and version > RECORD_VERSION


def decoded(record: bytes | str | None) -> Record | None:
    """The record, perhaps with members missing, and empty where it is no JSON object; None where there is none."""
    if not record:
        return None
    try:
        loaded = orjson.loads(record)
    except orjson.JSONDecodeError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def state_of(
    transaction_id: str,
    record: Record,
    callback: Mapping[bytes, bytes] | None = None,
    *,
    sees_callback: bool = True,
) -> dict[str, Any]:
    """A record and its callback as a client sees them: with the whole callback URL, or its host alone."""
    state = {
        "transaction_id": transaction_id,
        "status": record["status"],
        "submitted_at": record["submitted_at"],
        "decision": record.get("decision"),
        "callback": client_view(record, callback, in_full=sees_callback),
    }
    state |= {name: record[name] for name in ("error", "history") if name in record}
    return state
