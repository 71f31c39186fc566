"""`riskline history backfill`: the past of a file, put before what was observed live."""

import asyncio
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.progress import Progress, TaskID

from riskline.cli.history.opened import OpenedHistory, opened_history
from riskline.cli.history.reading import add_file
from riskline.cli.models.training import FileArgument, SkipOption
from riskline.cli.options import DataOption, JsonOption
from riskline.cli.terminal import rows_progress, stderr
from riskline.shared.clock import utc_text
from riskline.shared.model.history import Fold
from riskline.shared.wording import counted
from riskline.worker.training.history.backfill import Backfill, Backfilled
from riskline.worker.training.history.events import PastEvents


def backfill(
    *, file: FileArgument, skip_bad_rows: SkipOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Give cards, merchants and other entities the past that a file has; run it again after an interruption."""
    with opened_history(data) as opened, rows_progress() as progress:
        events = PastEvents(opened.history)
        add_file(file, opened, events, progress, skip_bad_rows=skip_bad_rows)
        repeated, done = asyncio.run(_put(file, opened, events, progress))
    if repeated:
        stderr.print(f"left out {counted(repeated, 'row')} with the transaction_id of an earlier row", soft_wrap=True)
    if as_json:
        typer.echo(orjson.dumps([_described(each) for each in done], option=orjson.OPT_INDENT_2))
        return
    for each in done:
        typer.echo(_sentence(each))


async def _put(
    file: Path, opened: OpenedHistory, events: PastEvents, progress: Progress
) -> tuple[int, list[Backfilled]]:
    """The number of repeated rows, and what was done."""
    progress.add_task("putting the events in order")
    ordered = events.ordered()
    with file.open("rb") as content:
        digest = file_digest(content, lambda: blake2b(digest_size=8)).hexdigest()
    tasks = dict[str, TaskID]()

    def advance(name: str, entities: int) -> None:
        if name not in tasks:
            tasks[name] = progress.add_task(f"{name}: entities that have their past")
        progress.advance(tasks[name], entities)

    async with opened.store() as store:
        await store.warm()
        backfill = Backfill(opened.history, store, Fold(opened.history), progress=advance)
        return ordered.repeated, await backfill.run(ordered, file=digest, span_us=events.span_us())


def _described(done: Backfilled) -> dict[str, Any]:
    begin, end = (utc_text(each / 1e6) for each in done.covered_us)
    live = None if done.live_from_us is None else utc_text(done.live_from_us / 1e6)
    return {
        "entity": done.name,
        "entities": done.entities,
        "events": done.events,
        "from": begin,
        "to": end,
        "live_from": live,
    }


def _sentence(done: Backfilled) -> str:
    begin, end = (utc_text(each / 1e6) for each in done.covered_us)
    until = (
        "" if done.live_from_us is None else f"; live transactions follow from {utc_text(done.live_from_us / 1e6)} on"
    )
    if not done.events:
        return f"{done.name}: nothing to add; the past is there from {begin} to {end}{until}"
    added = f"{counted(done.events, 'transaction')} of {counted(done.entities, 'entity', 'entities')}"
    return f"{done.name}: {added} added; the past is there from {begin} to {end}{until}"
