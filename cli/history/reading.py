"""Reads the files of the past, with progress."""

from pathlib import Path

from rich.progress import Progress

from riskline.cli.history.opened import OpenedHistory
from riskline.cli.models.training import list_refusals
from riskline.shared.clock import now_us
from riskline.worker.training.data.replay import EventReader
from riskline.worker.training.history.events import PastEvents, read_events


def add_file(file: Path, opened: OpenedHistory, events: PastEvents, progress: Progress, *, skip_bad_rows: bool) -> None:
    """Adds the events of a file's rows, and lists the rows that are left out.

    Raises:
        DatasetError: the file cannot be read, or has bad rows that are not to be skipped.
    """
    task = progress.add_task(f"reading {file.name}")
    refusals = read_events(
        file,
        opened.transaction_class,
        opened.observing(),
        events,
        skip_bad_rows=skip_bad_rows,
        reader=EventReader(opened.history, now_us=now_us()),
        progress=lambda rows: progress.advance(task, rows),
    )
    list_refusals(refusals, opened.transaction_class)
