"""Payments of the Fraud-Detection-Handbook's simulated set, or made-up ones where it is not there, and their class."""

from pathlib import Path
from typing import Annotated

import polars as pl
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
    Seen,
    SinceLast,
    Smallest,
    Spread,
    Total,
    TransactionModel,
    feature,
)
from riskline.worker.training.data.simulate_cards import simulate_cards

HANDBOOK = Path(__file__).resolve().parents[2] / "../shared/data/handbook.csv.gz"

ROWS_PER_CUSTOMER = 100
"""About, in eight weeks."""


class TerminalPayment(TransactionModel):
    """A payment at a terminal, with each kind of column."""

    timestamp: Annotated[AwareDatetime, EventTime] = Field(examples=["2018-07-25T03:15:07Z"])
    customer_id: Annotated[str, Entity("30d")] = Field(examples=["C1"])
    terminal_id: Annotated[str, Entity("30d")] = Field(examples=["T1"])
    paid: Annotated[float, Exact(2)] = Field(ge=0, examples=[48.5])
    count_1d: Annotated[int, Count("customer_id", "1d")]
    count_7d: Annotated[int, Count("customer_id", "7d")]
    count_30d: Annotated[int, Count("customer_id", "30d")]
    mean_1d: Annotated[float, Mean("paid", "customer_id", "1d")]
    mean_7d: Annotated[float, Mean("paid", "customer_id", "7d")]
    mean_30d: Annotated[float, Mean("paid", "customer_id", "30d")]
    total_7d: Annotated[float, Total("paid", "customer_id", "7d")]
    largest_30d: Annotated[float, Largest("paid", "customer_id", "30d")]
    smallest_30d: Annotated[float, Smallest("paid", "customer_id", "30d")]
    spread_30d: Annotated[float, Spread("paid", "customer_id", "30d")]
    terminals_7d: Annotated[int, Distinct("terminal_id", "customer_id", "7d")]
    hours_since: Annotated[float, SinceLast("customer_id", unit="h", empty=720)]
    last_paid: Annotated[float, Last("paid", "customer_id", empty=0)]
    was_here: Annotated[bool, Seen("terminal_id", "customer_id", "7d")]
    times_here: Annotated[int, Count(("customer_id", "terminal_id"), "30d")]
    terminal_1d: Annotated[int, Count("terminal_id", "1d")]
    terminal_7d: Annotated[int, Count("terminal_id", "7d")]
    terminal_30d: Annotated[int, Count("terminal_id", "30d")]

    @feature
    def to_mean(self) -> float:
        """How many times its mean the customer pays."""
        return self.paid / max(self.mean_30d, 1.0)


def payments(rows: int) -> pl.DataFrame:
    """So many payments of a few customers over weeks, in order, with the label."""
    names = {"customer_id": "customer_id", "terminal_id": "terminal_id"}
    if HANDBOOK.is_file():
        frame = pl.read_csv(HANDBOOK)
        customers = frame["customer_id"].unique(maintain_order=True).head(rows // ROWS_PER_CUSTOMER + 10)
        frame = frame.filter(pl.col("customer_id").is_in(customers.implode()))
    else:
        frame = simulate_cards(rows=max(1000, rows), seed=1)
        names = {"customer_id": "card_id", "terminal_id": "merchant_id"}
    columns = {"transaction_id": "transaction_id", "timestamp": "timestamp", **names, "paid": "amount"}
    wanted = [pl.col(name).alias(ours) for ours, name in columns.items()]
    return frame.head(rows).select(*wanted, "is_fraud")
