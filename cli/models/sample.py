"""`riskline data`: a labelled sample."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from riskline.cli.terminal import stderr, working
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.transaction import Transaction
from riskline.shared.settings import load_settings
from riskline.worker.training.data.dataset import ENDINGS, write_frame
from riskline.worker.training.data.invent import invent
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.data.simulate_cards import simulate_cards

CARD_CLASS = "riskline.examples.card:CardPayment"
"""The example class that takes the rows of `--kind card`."""


class SampleKind(StrEnum):
    """What a sample can be of, whichever transaction class is set."""

    CARD = "card"


def data(
    *,
    out: Annotated[Path, typer.Argument(help="The file to write: .csv, .csv.gz, .ndjson or .parquet.")] = Path(
        "transactions.csv.gz"
    ),
    kind: Annotated[
        SampleKind | None,
        typer.Option("--kind", help=f"card: payments with cards, merchants and devices, for {CARD_CLASS}."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1000, help="The number of transactions.")] = 60_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same file.")] = 0,
) -> None:
    """Write a labelled sample: simulated card payments, or made-up rows of your own class (not bank data)."""
    if not out.name.endswith(ENDINGS):
        raise typer.BadParameter(f"the name must end in {', '.join(ENDINGS)}", param_hint="OUT")
    with working(f"making {rows:,} transactions"):
        frame, what = _made(kind, rows=rows, seed=seed)
        write_frame(frame, out)
    frauds = int(frame[frame.columns[-1]].sum())
    said = f"{out}: {rows:,} {what}, {frauds:,} of them fraud ({frauds / rows:.2%})"
    stderr.print(said, highlight=False, soft_wrap=True)
    if kind is SampleKind.CARD and load_settings().transaction != CARD_CLASS:
        stderr.print(f"Their class is an example: export RISKLINE_TRANSACTION={CARD_CLASS}", soft_wrap=True)


def _made(kind: SampleKind | None, *, rows: int, seed: int) -> tuple[pl.DataFrame, str]:
    """The rows, and what they are."""
    if kind is SampleKind.CARD:
        return simulate_cards(rows=rows, seed=seed), "simulated card payments"
    transaction_class = load_transaction_class(load_settings().transaction)
    if transaction_class is Transaction:
        return simulate(rows=rows, seed=seed), "simulated transactions"
    return invent(transaction_class, rows=rows, seed=seed), f"made-up rows of {transaction_class.__name__}"
