# ruff: noqa: INP001  # an example to copy, no part of a package
"""A card acquirer's transaction: 25 fields, of which text becomes numbers, and five features that are derived."""

from datetime import UTC
from typing import Annotated

from pydantic import AwareDatetime, Field

from riskline import Encoded, InputOnly, Nominal, OneHot, TransactionModel, feature

COUNTRIES = Encoded({"DE": 0, "FR": 1, "NL": 2, "GB": 3, "US": 4, "BR": 5}, other=6)


class CardPayment(TransactionModel):
    """A card payment as an acquirer sees it when it is to be authorised."""

    timestamp: Annotated[AwareDatetime, InputOnly] = Field(
        description="When the card was presented, with its zone.", examples=["2026-11-24T03:15:07Z"]
    )
    amount: float = Field(gt=0, description="Amount in euro.", examples=[1890.0])
    currency: Annotated[str, Encoded({"EUR": 0, "GBP": 1, "USD": 2}, other=3)] = Field(
        description="Currency of the payment (ISO 4217).", examples=["USD"]
    )
    channel: Annotated[str, Encoded({"pos": 0, "web": 1, "app": 2, "moto": 3})] = Field(
        description="Where the payment was made.", examples=["web"]
    )
    entry_mode: Annotated[str, OneHot("chip", "contactless", "stripe", "keyed", "stored")] = Field(
        description="How the card's number was read.", examples=["keyed"]
    )
    scheme: Annotated[str, OneHot("visa", "mastercard", "amex", others_as_zeros=True)] = Field(
        description="Scheme of the card.", examples=["visa"]
    )
    issuer_country: Annotated[str, COUNTRIES] = Field(
        description="Country of the card's bank (ISO 3166-1).", examples=["BR"]
    )
    merchant_country: Annotated[str, COUNTRIES] = Field(
        description="Country of the merchant (ISO 3166-1).", examples=["DE"]
    )
    merchant_category: Annotated[int, Nominal] = Field(
        ge=1, le=9999, description="Merchant category code (ISO 18245).", examples=[5732]
    )
    merchant_age_days: int = Field(ge=0, description="Days since the merchant's first payment.", examples=[410])
    merchant_chargebacks: float = Field(
        ge=0, le=1, description="Share of the merchant's payments charged back in 90 days.", examples=[0.011]
    )
    card_age_days: int = Field(ge=0, description="Days since the card was first seen.", examples=[0])
    device_age_days: int = Field(ge=0, description="Days since the device was first seen.", examples=[0])
    cards_on_device: int = Field(ge=0, description="Cards seen on the device in 30 days.", examples=[4])
    average_amount: float = Field(ge=0, description="Mean amount of the card's last 30 days, in euro.", examples=[48.0])
    purchases_1h: int = Field(ge=0, description="The card's payments in the last hour.", examples=[5])
    purchases_24h: int = Field(ge=0, description="The card's payments in the last 24 hours.", examples=[9])
    amount_24h: float = Field(ge=0, description="Their sum in euro.", examples=[2950.0])
    declined_24h: int = Field(ge=0, description="How many of them were declined.", examples=[3])
    countries_7d: int = Field(ge=0, description="Countries that the card was used in, in 7 days.", examples=[3])
    km_since_last: float = Field(ge=0, description="Distance from the card's last payment in km.", examples=[8400.0])
    minutes_since_last: float = Field(ge=0, description="Minutes since the card's last payment.", examples=[25.0])
    refunds_30d: int = Field(ge=0, description="The card's refunds in 30 days.", examples=[0])
    is_authenticated: bool = Field(description="Whether 3-D Secure was passed.", examples=[False])
    is_cvc_right: bool = Field(description="Whether the check number was right.", examples=[True])

    @feature
    def hour(self) -> int:
        """Hour of the day in UTC."""
        return self.timestamp.astimezone(UTC).hour

    @feature
    def is_weekend(self) -> bool:
        """Whether it is Saturday or Sunday in UTC."""
        return self.timestamp.astimezone(UTC).weekday() >= 5  # noqa: PLR2004  # Monday is 0

    @feature
    def is_abroad(self) -> bool:
        """Whether merchant and bank are in different countries, also in two that share a number above."""
        return self.issuer_country != self.merchant_country

    @feature
    def amount_to_average(self) -> float:
        """How many times its usual amount the card pays."""
        return self.amount / max(self.average_amount, 1.0)

    @feature
    def speed_kmh(self) -> float:
        """How fast the card would have travelled; two payments of one minute count as a minute apart."""
        return self.km_since_last / max(self.minutes_since_last, 1.0) * 60
