"""From a fraud probability to an action."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_DECLINE_THRESHOLD = 0.85

Probability = Annotated[float, Field(ge=0, le=1)]


class Action(StrEnum):
    """The action recommended for a transaction."""

    APPROVE = "APPROVE"
    REVIEW = "REVIEW"
    DECLINE = "DECLINE"


class Thresholds(BaseModel):
    """The probabilities strictly above which a transaction is declined or reviewed; kept with the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decline: Probability = DEFAULT_DECLINE_THRESHOLD
    review: Probability | None = None

    @model_validator(mode="after")
    def _review_is_below_decline(self) -> Self:
        if self.review is not None and self.review > self.decline:
            raise ValueError("the review threshold must not be above the decline threshold")
        return self

    def action_for(self, fraud_probability: float) -> Action:
        """The action for an unrounded probability."""
        if fraud_probability > self.decline:
            return Action.DECLINE
        if self.review is not None and fraud_probability > self.review:
            return Action.REVIEW
        return Action.APPROVE
