"""`riskline score`: a file of transactions in, a file of decisions out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import orjson
import typer

from cli.installation import DataOption
from cli.terminal import rows_progress, stderr
from shared.assessment import assess
from shared.clock import utc_now
from shared.errors import DatasetError, InstallationError
from shared.model.registry import Registry
from shared.settings import load_settings
from shared.transaction import load_transaction_class


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("score")(score)


def score(
    *,
    file: Annotated[Path, typer.Argument(help="A .csv, .csv.gz, .ndjson or .parquet file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the decisions as NDJSON (default: standard output).")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="A version (default: the one that serves).")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Give reasons with approvals, too.")] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave out and list rows that are no transactions.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Decide every transaction of a file; the output file appears whole or not at all."""
    settings = load_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    registry = Registry(settings.models_dir, pinned_version=model or settings.model_version)
    serving = registry.load_active(transaction_class.feature_names())
    try:
        from worker.training.dataset import Refusals, read_batches  # noqa: PLC0415  # polars is slow to import
    except ImportError as error:
        raise InstallationError(f"`riskline score` needs polars: `pip install 'riskline[files]'` ({error})") from error
    refusals = Refusals()
    decided = 0
    with _written(out) as sink, rows_progress() as progress:
        task = progress.add_task(f"scoring {file.name}")
        for batch in read_batches(file, transaction_class):
            refusals.add(batch.refused)
            if refusals.total and not skip_bad_rows:
                raise DatasetError(
                    f"{file} has rows that are no transactions; mend them, or leave them out by --skip-bad-rows:\n"
                    f"{refusals.listed()}"
                )
            wanted = range(len(batch.transactions)) if explain else ()
            decisions = assess(batch.transactions, serving, scored_at=utc_now(), explain=wanted)
            sink.writelines(orjson.dumps(each.to_dict(), option=orjson.OPT_APPEND_NEWLINE) for each in decisions)
            decided += len(decisions)
            progress.advance(task, len(batch.transactions) + len(batch.refused))
    stderr.print(f"{decided:,} decisions by model {serving.version}")
    if refusals.total:
        stderr.print(
            f"left out {refusals.total:,} rows that are no transactions:\n{refusals.listed()}", highlight=False
        )


@contextmanager
def _written(out: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes the place of `out` only if nothing went wrong."""
    if out is None:
        with open(sys.stdout.fileno(), "wb", closefd=False) as sink:  # standard output has no path
            yield sink
        return
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        file = unfinished.open("wb")
    except OSError as error:
        raise InstallationError(f"{out.parent} cannot be written to: {error.strerror}") from error
    try:
        with file:
            yield file
        unfinished.replace(out)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
