"""`riskline data`: a labelled sample."""

from pathlib import Path
from typing import Annotated

import typer

from riskline.cli.terminal import stderr, working
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.transaction import Transaction
from riskline.shared.settings import load_settings
from riskline.worker.training.data.dataset import ENDINGS, write_frame
from riskline.worker.training.data.invent import invent
from riskline.worker.training.data.simulate import simulate


def data(
    *,
    out: Annotated[Path, typer.Argument(help="The file to write: .csv, .csv.gz, .ndjson or .parquet.")] = Path(
        "transactions.csv.gz"
    ),
    rows: Annotated[int, typer.Option("--rows", min=1000, help="The number of transactions.")] = 60_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same file.")] = 0,
) -> None:
    """Write a labelled sample: simulated card payments, or made-up rows of your own class (not bank data)."""
    if not out.name.endswith(ENDINGS):
        raise typer.BadParameter(f"the name must end in {', '.join(ENDINGS)}", param_hint="OUT")
    transaction_class = load_transaction_class(load_settings().transaction)
    is_own = transaction_class is not Transaction
    with working(f"making {rows:,} transactions"):
        frame = invent(transaction_class, rows=rows, seed=seed) if is_own else simulate(rows=rows, seed=seed)
        write_frame(frame, out)
    frauds = int(frame[frame.columns[-1]].sum())
    what = f"made-up rows of {transaction_class.__name__}" if is_own else "simulated transactions"
    said = f"{out}: {rows:,} {what}, {frauds:,} of them fraud ({frauds / rows:.2%})"
    stderr.print(said, highlight=False, soft_wrap=True)
