"""A card payment that is judged by what came before: of its card, at its merchant, on its device.

A client sends the fields that a payment has. Riskline computes the others, the same in training and in production.
"""

from datetime import UTC
from typing import Annotated

from pydantic import AwareDatetime, Field

from riskline import (
    Count,
    Distinct,
    Entity,
    EventTime,
    Exact,
    Largest,
    Last,
    Mean,
    Nominal,
    Seen,
    SinceLast,
    Total,
    TransactionModel,
    feature,
)

ONE_DAY_MINUTES = 1_440


class CardPayment(TransactionModel):
    """A card payment, as it is when it is to be authorised."""

    timestamp: Annotated[AwareDatetime, EventTime] = Field(
        description="When the payment was made, with its zone.", examples=["2026-03-28T03:15:07Z"]
    )
    card_id: Annotated[str, Entity("30d")] = Field(
        description="The card: a token of it, never its number.", examples=["C00042"]
    )
    merchant_id: Annotated[str, Entity("30d")] = Field(description="The merchant.", examples=["M00007"])
    device_id: Annotated[str, Entity("7d", ignore=("",))] = Field(
        default="", description="The device that paid online; empty where there is none.", examples=["D000084"]
    )
    amount: Annotated[float, Exact(2)] = Field(gt=0, description="Amount in the card's currency.", examples=[489.9])
    merchant_category_code: Annotated[int, Nominal] = Field(
        ge=1, le=9999, description="Merchant category code (ISO 18245).", examples=[5732]
    )
    is_online: int = Field(ge=0, le=1, description="1 if online, 0 if at a terminal.", examples=[1])

    payments_1h: Annotated[int, Count("card_id", "1h")] = Field(description="The card's payments in an hour.")
    payments_24h: Annotated[int, Count("card_id", "24h")] = Field(description="The card's payments in a day.")
    payments_30d: Annotated[int, Count("card_id", "30d")] = Field(description="The card's payments in 30 days.")
    spent_24h: Annotated[float, Total("amount", "card_id", "24h")] = Field(description="The card's sum in a day.")
    mean_30d: Annotated[float, Mean("amount", "card_id", "30d")] = Field(description="The card's mean of 30 days.")
    largest_30d: Annotated[float, Largest("amount", "card_id", "30d")] = Field(
        description="The card's largest amount in 30 days."
    )
    last_amount: Annotated[float, Last("amount", "card_id", empty=0)] = Field(description="The card's last amount.")
    minutes_since_last: Annotated[float, SinceLast("card_id", unit="min", empty=30 * ONE_DAY_MINUTES)] = Field(
        description="Minutes since the card's last payment."
    )
    merchants_24h: Annotated[int, Distinct("merchant_id", "card_id", "24h")] = Field(
        description="Merchants that the card paid in a day."
    )
    times_here_30d: Annotated[int, Count(("card_id", "merchant_id"), "30d")] = Field(
        description="The card's payments at this merchant in 30 days."
    )
    is_known_device: Annotated[bool, Seen("device_id", "card_id", "7d")] = Field(
        description="Whether the card paid from this device in 7 days."
    )
    cards_on_device_7d: Annotated[int, Distinct("card_id", "device_id", "7d")] = Field(
        description="Cards that paid from this device in 7 days."
    )
    merchant_payments_1h: Annotated[int, Count("merchant_id", "1h")] = Field(
        description="The merchant's payments in an hour."
    )
    merchant_mean_30d: Annotated[float, Mean("amount", "merchant_id", "30d")] = Field(
        description="The merchant's mean amount of 30 days."
    )

    @feature
    def hour(self) -> int:
        """Hour of the day in UTC."""
        return self.timestamp.astimezone(UTC).hour

    @feature
    def amount_to_mean(self) -> float:
        """How many times its usual amount the card pays; 1 for a card without a past."""
        return self.amount / self.mean_30d if self.mean_30d > 0 else 1.0

    @feature
    def amount_to_merchant_mean(self) -> float:
        """How many times the merchant's usual amount is paid; 1 where there is none."""
        return self.amount / self.merchant_mean_30d if self.merchant_mean_30d > 0 else 1.0
