# ruff: noqa: INP001  # an example to copy, no part of a package
"""Classes for two public, simulated sets of payments, on which Riskline's columns of history are measured."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from riskline import (
    Count,
    Entity,
    EventTime,
    Exact,
    InputOnly,
    Mean,
    Nominal,
    SinceLast,
    Total,
    TransactionModel,
    feature,
)

NIGHT_ENDS, WEEKEND = 6, 5
"""The last hour of the night, and the first day of the weekend."""


class HandbookPayment(TransactionModel):
    """A payment of the Fraud-Detection-Handbook's simulator, with its columns of customers and terminals."""

    timestamp: Annotated[AwareDatetime, EventTime] = Field(examples=["2018-07-25T03:15:07Z"])
    customer_id: Annotated[str, Entity("30d")] = Field(examples=["C1263"])
    terminal_id: Annotated[str, Entity("30d")] = Field(examples=["T0145"])
    amount: Annotated[float, Exact(2)] = Field(gt=0, examples=[32.27])

    customer_payments_1d: Annotated[int, Count("customer_id", "1d")]
    customer_payments_7d: Annotated[int, Count("customer_id", "7d")]
    customer_payments_30d: Annotated[int, Count("customer_id", "30d")]
    customer_mean_1d: Annotated[float, Mean("amount", "customer_id", "1d")]
    customer_mean_7d: Annotated[float, Mean("amount", "customer_id", "7d")]
    customer_mean_30d: Annotated[float, Mean("amount", "customer_id", "30d")]
    terminal_payments_1d: Annotated[int, Count("terminal_id", "1d")]
    terminal_payments_7d: Annotated[int, Count("terminal_id", "7d")]
    terminal_payments_30d: Annotated[int, Count("terminal_id", "30d")]

    @feature
    def is_weekend(self) -> bool:
        """Whether it is Saturday or Sunday."""
        return self.timestamp.weekday() >= WEEKEND

    @feature
    def is_night(self) -> bool:
        """Whether it is before seven."""
        return self.timestamp.hour <= NIGHT_ENDS


class SparkovPayment(TransactionModel):
    """A payment of the Sparkov generator, with the card's last day, and its usual amount for a feature only."""

    timestamp: Annotated[datetime, EventTime("America/New_York")] = Field(examples=["2025-04-01T00:01:07"])
    card_id: Annotated[str, Entity("30d")] = Field(examples=["C0105"])
    amount: Annotated[float, Exact(2)] = Field(gt=0, examples=[39.08])
    merchant_category_code: Annotated[int, Nominal] = Field(ge=1, le=9999, examples=[7999])
    customer_age: int = Field(ge=18, le=130, examples=[62])
    distance_from_home: float = Field(ge=0, examples=[64.31])
    is_online_transaction: int = Field(ge=0, le=1, examples=[0])

    payments_24h: Annotated[int, Count("card_id", "24h")]
    spent_24h: Annotated[float, Total("amount", "card_id", "24h")]
    mean_30d: Annotated[float, Mean("amount", "card_id", "30d"), InputOnly]

    @feature
    def hour(self) -> int:
        """Hour of the day."""
        return self.timestamp.hour

    @feature
    def amount_to_mean(self) -> float:
        """How many times its usual amount the card pays; 1 for a card without a past."""
        return self.amount / self.mean_30d if self.mean_30d > 0 else 1.0


class SparkovWeekPayment(SparkovPayment):
    """The same with the card's last week, and the time since its last payment."""

    payments_7d: Annotated[int, Count("card_id", "7d")]
    spent_7d: Annotated[float, Total("amount", "card_id", "7d")]
    hours_since_last: Annotated[float, SinceLast("card_id", unit="h", empty=720)]
