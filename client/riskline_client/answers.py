"""The answers of the service as frozen dataclasses; members that are not known are ignored.

`from_json` takes what `json.loads` made of an answer; where a member is missing or is something else, it raises
KeyError, TypeError or ValueError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

Document = Mapping[str, Any]
"""A JSON object as it came."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The contribution of one feature's value to the score: in probability for a forest, in log-odds for boosting."""

    feature: str
    value: float | str
    contribution: float
    text: str

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The reason of an answer."""
        return cls(document["feature"], document["value"], document["contribution"], document.get("text", ""))


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about one transaction, with its model version, time and reasons.

    `action` is `APPROVE`, `REVIEW` or `DECLINE`. `fraud_probability` is rounded to 4 decimals. `reasons` is None where
    none were given: the action is APPROVE and no explanation was asked for. `history` is "away" where the service could
    not read what came before the transaction and decided without it, else None. `document` is the answer as it came.
    """

    transaction_id: str
    fraud_probability: float
    action: str
    model_version: str
    scored_at: datetime
    reasons: tuple[Reason, ...] | None = None
    history: str | None = None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The decision of an answer."""
        reasons = document.get("reasons")
        return cls(
            transaction_id=document["transaction_id"],
            fraud_probability=document["fraud_probability"],
            action=document["action"],
            model_version=document["model_version"],
            scored_at=datetime.fromisoformat(document["scored_at"]),
            reasons=None if reasons is None else tuple(map(Reason.from_json, reasons)),
            history=document.get("history"),
            document=document,
        )


@dataclass(frozen=True, slots=True)
class CallbackAttempt:
    """One attempt to deliver a callback: the receiver's status, or the error where it gave none."""

    at: datetime
    status: int | None
    error: str | None

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The attempt of an answer."""
        return cls(datetime.fromisoformat(document["at"]), document.get("status"), document.get("error"))


@dataclass(frozen=True, slots=True)
class Callback:
    """The state of a transaction's callback.

    `status` is `waiting` for the decision, `pending` until it is delivered, `delivered`, or `dead`: given up.
    """

    url: str
    status: str
    webhook_id: str | None
    attempts: tuple[CallbackAttempt, ...]
    next_attempt_at: datetime | None
    error: str | None = None

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The callback of an answer."""
        return cls(
            url=document["url"],
            status=document["status"],
            webhook_id=document.get("webhook_id"),
            attempts=tuple(map(CallbackAttempt.from_json, document.get("attempts", ()))),
            next_attempt_at=_moment(document.get("next_attempt_at")),
            error=document.get("error"),
        )


@dataclass(frozen=True, slots=True)
class State:
    """The state of a transaction in the queue.

    `status` is `queued`, `scored` (then there is a `decision`) or `failed` (then `error` says why). `history` has the
    columns that the service computed from what came before. It is "away" where the service could not, and None where
    the transaction has no such columns.
    """

    transaction_id: str
    status: str
    submitted_at: datetime
    decision: Decision | None = None
    callback: Callback | None = None
    error: str | None = None
    history: Mapping[str, float] | str | None = None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_queued(self) -> bool:
        """True while it waits for its decision."""
        return self.status == "queued"

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The state of an answer."""
        decision, callback = document.get("decision"), document.get("callback")
        return cls(
            transaction_id=document["transaction_id"],
            status=document["status"],
            submitted_at=datetime.fromisoformat(document["submitted_at"]),
            decision=None if decision is None else Decision.from_json(decision),
            callback=None if callback is None else Callback.from_json(callback),
            error=document.get("error"),
            history=document.get("history"),
            document=document,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Decisions in the order in which they were recorded, and the cursor after the last of them."""

    decisions: tuple[Decision, ...]
    next: str

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The page of an answer."""
        return cls(tuple(map(Decision.from_json, document["decisions"])), document["next"])


@dataclass(frozen=True, slots=True)
class Health:
    """The ability to score, and the model version that does."""

    is_healthy: bool
    model_version: str | None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The health of an answer."""
        return cls(document["status"] == "healthy", document.get("model_version"), document)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The ability to score and queue; the missing parts, and for each check `ok` or its fault.

    What is degraded does not make it unready, as where no worker lives.
    """

    is_ready: bool
    missing: tuple[str, ...]
    checks: Mapping[str, str]
    model_version: str | None
    degraded: tuple[str, ...] = ()
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, document: Document) -> Self:
        """The readiness of an answer."""
        return cls(
            is_ready=document["status"] == "ready",
            missing=tuple(document["missing"]),
            checks=document["checks"],
            model_version=document.get("model_version"),
            degraded=tuple(document.get("degraded", ())),
            document=document,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A callback that was verified. `id` is the same each time that it is delivered: let the second change nothing.

    `type` is `transaction.scored`, `transaction.failed`, or one to come; only those two have a `state`.
    """

    id: str
    type: str
    timestamp: datetime | None
    state: State | None
    document: Document = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, document: Document, *, webhook_id: str) -> Self:
        """The event of a callback's body."""
        of_transaction = document["type"] in ("transaction.scored", "transaction.failed")
        return cls(
            id=webhook_id,
            type=document["type"],
            timestamp=_moment(document.get("timestamp")),
            state=State.from_json(document["data"]) if of_transaction else None,
            document=document,
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
