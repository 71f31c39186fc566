"""`riskline history verify`: the columns that were served, computed anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from riskline.cli.history.opened import OpenedHistory, opened_history
from riskline.cli.history.reading import add_file
from riskline.cli.installation import open_store
from riskline.cli.models.training import SkipOption
from riskline.cli.options import DataOption, JsonOption
from riskline.cli.terminal import rows_progress
from riskline.shared.model.history import Fold
from riskline.shared.store.every_record import every_record
from riskline.shared.store.records import Record
from riskline.shared.wording import counted
from riskline.worker.training.history.events import PastEvents
from riskline.worker.training.history.served import served
from riskline.worker.training.history.verify import Verification, compare

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[file]...",
        help="Files with what was backfilled, and with transactions whose records have expired.",
        show_default=False,
    ),
]


def verify(
    *,
    files: FilesArgument = None,
    skip_bad_rows: SkipOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute the columns of history that were served anew, and compare each bit; exit 1 where one differs."""
    with opened_history(data) as opened, rows_progress() as progress:
        events = PastEvents(opened.history)
        for file in files or ():
            add_file(file, opened, events, progress, skip_bad_rows=skip_bad_rows)
        verdict = _verdict(opened, events, progress)
    if as_json:
        typer.echo(orjson.dumps(_described(verdict), option=orjson.OPT_INDENT_2))
    else:
        typer.echo("\n".join(_lines(verdict)))
    if verdict.different:
        raise typer.Exit(1)


def _verdict(opened: OpenedHistory, events: PastEvents, progress: Progress) -> Verification:
    task = progress.add_task("reading records")

    def records() -> Iterator[Record]:
        for _, record in every_record(store.shards):
            progress.advance(task, 1)
            yield record

    with open_store(opened.settings) as store:
        found = list(served(records(), opened.transaction_class, opened.history, opened.observing()))
    progress.add_task(f"computing the columns of {counted(len(found), 'transaction')}")
    # a record may be read twice
    once = {each.observation.transaction_id: each for each in found}
    in_order = sorted(once.values(), key=lambda each: each.at)
    return compare(opened.history, Fold(opened.history), past=events.ordered(), served=in_order)


def _described(verdict: Verification) -> dict[str, Any]:
    first = None if verdict.first is None else verdict.first._asdict()
    return {
        "transactions": verdict.transactions,
        "identical": verdict.identical,
        "different": verdict.different,
        "first_difference": first,
        "unchecked": dict(verdict.unchecked),
    }


def _lines(verdict: Verification) -> Iterator[str]:
    if not verdict.transactions:
        yield "no record has columns of history: there is nothing to verify"
        return
    computed, transactions = verdict.identical + verdict.different, counted(verdict.transactions, "transaction")
    if verdict.different:
        yield f"{counted(computed, 'value')} of {transactions} computed anew: {verdict.different:,} differ"
    elif computed:
        yield f"{counted(computed, 'value')} of {transactions} computed anew: all are identical"
    else:
        yield f"no value of {transactions} can be computed anew"
    if verdict.first is not None:
        first = verdict.first
        yield (
            f"first difference: {first.column} of {first.transaction_id} was served as {first.served!r}, "
            f"and comes to {first.computed!r}"
        )
    for reason, count in verdict.unchecked.most_common():
        yield f"not checked, {counted(count, 'value')}: {reason}"
