"""A decision, and its JSON for clients."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeGuard

import orjson
from pydantic import Field

from riskline.shared.domain.policy import Action

RAISES, LOWERS = "raises the risk", "speaks for the customer"
"""What a contribution above and one below zero come to."""

AWAY: Literal["away"] = "away"
"""The mark of a decision without history."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's contribution to the score: in probability for a forest, in log-odds for boosting.

    `value` is the number, or a categorical field's text. `text` says how usual it is
    and whether it raises the risk or speaks for the customer.
    """

    feature: str
    value: float | str
    contribution: float
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one transaction, with the model version, the time (UTC, RFC 3339) and the reasons.

    `fraud_probability` is rounded to 4 decimals; the action was taken from the unrounded value. `reasons` is None
    where the client gets none: the action is APPROVE and no explanation was requested. `history` is "away" where the
    transaction's history could not be read, so that the model's twin decided without it.
    """

    transaction_id: str
    fraud_probability: float
    action: Action
    model_version: str
    scored_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    reasons: tuple[Reason, ...] | None = None
    history: Literal["away"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The decision as clients see it; without `history` and `reasons` where they are None."""
        shown: dict[str, Any] = {
            "transaction_id": self.transaction_id,
            "fraud_probability": self.fraud_probability,
            "action": str(self.action),
            "model_version": self.model_version,
            "scored_at": self.scored_at,
        }
        if self.history is not None:
            shown["history"] = self.history
        if self.reasons is not None:
            shown["reasons"] = [
                {
                    "feature": reason.feature,
                    "value": reason.value,
                    "contribution": reason.contribution,
                    "text": reason.text,
                }
                for reason in self.reasons
            ]
        return shown


def with_direction(said: str, contribution: float) -> str:
    """A reason's sentence with the way in which it moved the score."""
    return f"{said}: {RAISES if contribution > 0 else LOWERS}"


def decision_in(text: bytes) -> dict[str, Any] | None:
    """The decision in a text, as clients see it; None where the text is not one, for it may come from anywhere."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if is_decision(found) else None


def is_decision(found: Any) -> TypeGuard[dict[str, Any]]:
    """True for JSON with all members of a decision, of their types."""
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("transaction_id", "action", "model_version"))
        and type(found.get("fraud_probability")) in (float, int)
        and _is_time(found.get("scored_at"))
        and found.get("history", AWAY) == AWAY
        and _are_reasons(found.get("reasons", []))
    )


def _is_time(found: Any) -> bool:
    try:
        return datetime.fromisoformat(found).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _are_reasons(found: Any) -> bool:
    return isinstance(found, list) and all(
        isinstance(each, dict)
        and isinstance(each.get("feature"), str)
        and type(each.get("value")) in (float, int, str)
        and type(each.get("contribution")) in (float, int)
        for each in found
    )
