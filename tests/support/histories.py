"""A class with history for tests, and rows of it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from riskline import (
    Count,
    Distinct,
    Encoded,
    Entity,
    EventTime,
    Exact,
    Largest,
    Last,
    Mean,
    Seen,
    SinceLast,
    Smallest,
    Spread,
    Total,
    TransactionModel,
    feature,
)

START = datetime(2026, 11, 24, 3, 15, 7, tzinfo=UTC)


class Purchase(TransactionModel):
    """A purchase with each kind of column, and features with and without history."""

    at: Annotated[AwareDatetime, EventTime] = Field(examples=["2026-11-24T03:15:07Z"])
    card_id: Annotated[str, Entity("30d")] = Field(examples=["C1"])
    merchant_id: Annotated[str, Entity("37d")] = Field(examples=["M1"])
    device_id: Annotated[str, Entity("7d", ignore=("", "unknown"))] = Field(default="", examples=["D1"])
    cost: Annotated[float, Exact(2)] = Field(gt=0, examples=[48.5])
    purchases_1h: Annotated[int, Count("card_id", "1h")]
    channel: Annotated[str, Encoded({"pos": 0, "web": 1})] = Field(default="pos", examples=["web"])
    items: int = Field(default=1, ge=0, le=1000, examples=[3])
    spent_24h: Annotated[float, Total("cost", "card_id", "1d")]
    mean_30d: Annotated[float, Mean("cost", "card_id", "30d", empty=-1)]
    largest_30d: Annotated[float, Largest("cost", "card_id", "30d")]
    smallest_30d: Annotated[float, Smallest("cost", "card_id", "30d")]
    spread_30d: Annotated[float, Spread("cost", "card_id", "30d")]
    cards_on_device: Annotated[int, Distinct("card_id", "device_id", "7d", up_to=16)]
    times_here: Annotated[int, Count(("card_id", "merchant_id"), "30d")]
    minutes_since: Annotated[float, SinceLast("card_id", unit="min", empty=43200)]
    last_cost: Annotated[float, Last("cost", "card_id", empty=0)]
    seen_web: Annotated[int, Seen("channel", "card_id", "30d")]
    items_here: Annotated[int, Total("items", "merchant_id", "1h")]

    @feature
    def hour(self) -> int:
        """Hour of the day in UTC."""
        return self.at.astimezone(UTC).hour

    @feature
    def cost_to_mean(self) -> float:
        """How many times its mean the card pays."""
        return self.cost / self._usual()

    @feature
    def is_round(self) -> bool:
        """Whether the cost has no cents."""
        return self.cost % 1 == 0

    def _usual(self) -> float:
        return max(self.mean_30d, 1.0)


def purchase(number: int = 1, *, seconds: float = 0, **others: Any) -> dict[str, Any]:
    """The JSON of a purchase, some seconds after the first."""
    at = (START + timedelta(seconds=seconds)).isoformat()
    return {"transaction_id": f"P-{number}", "at": at, "card_id": "C1", "merchant_id": "M1", "cost": 48.5, **others}
