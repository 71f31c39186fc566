"""What a decision is, and the JSON that clients see of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeGuard

import orjson
from pydantic import Field

from riskline.shared.domain.policy import Action

RAISES, LOWERS = "raises the risk", "speaks for the customer"
"""What a contribution above and one below zero come to."""


@dataclass(frozen=True, slots=True)
class Reason:
    """How much one feature's value moved the score: in probability for a forest, in log-odds for boosting.

    `value` is what a person knows it by: a number, or of a categorical field its text. `text` says how usual it is
    and whether it raises the risk or speaks for the customer.
    """

    feature: str
    value: float | str
    contribution: float
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one transaction, by which model version, when (UTC, RFC 3339) and why.

    `fraud_probability` is rounded to 4 decimals; the action was taken from the unrounded value. `reasons` is None
    where the client was not to be given any: the action is APPROVE and no explanation was asked for.
    """

    transaction_id: str
    fraud_probability: float
    action: Action
    model_version: str
    scored_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    reasons: tuple[Reason, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The decision as clients see it; without `reasons` where none are given."""
        shown: dict[str, Any] = {
            "transaction_id": self.transaction_id,
            "fraud_probability": self.fraud_probability,
            "action": str(self.action),
            "model_version": self.model_version,
            "scored_at": self.scored_at,
        }
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
    """The decision of a text, as clients see it; None where it has none: the text may be anybody's."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if is_decision(found) else None


def is_decision(found: Any) -> TypeGuard[dict[str, Any]]:
    """Whether JSON has all that is told of a decision, as it is told."""
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("transaction_id", "action", "model_version"))
        and type(found.get("fraud_probability")) in (float, int)
        and _is_time(found.get("scored_at"))
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
