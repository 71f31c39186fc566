"""What a decision is, and the JSON that clients see of it."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from shared.policy import Action


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
            "action": self.action.value,
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
