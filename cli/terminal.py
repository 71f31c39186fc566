"""What the commands show people beside their output."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

stderr = Console(stderr=True, soft_wrap=True, highlight=False)


class RateColumn(ProgressColumn):
    """Rows a second, over the last seconds."""

    def render(self, task: Task) -> Text:
        """Nothing until it is known."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f} rows/s")


class RowsColumn(ProgressColumn):
    """How many rows are done; nothing of a step that is none of rows."""

    def render(self, task: Task) -> Text:
        """Nothing until there are some."""
        return Text(f"{task.completed:,.0f} rows" if task.completed else "")


class StepProgress(Progress):
    """What a command does now: a step takes the place of the one before it."""

    def add_task(
        self,
        description: str,
        start: bool = True,  # noqa: FBT001, FBT002  # as in rich
        total: float | None = None,
        completed: int = 0,
        visible: bool = True,  # noqa: FBT001, FBT002  # same
        **fields: Any,
    ) -> TaskID:
        """Begins a step."""
        for former in self.task_ids:
            self.remove_task(former)
        return super().add_task(description, start, total, completed, visible, **fields)


def rows_progress() -> Progress:
    """A line that moves and says what is done now, with the rows so far; gone when it is done."""
    return _progress(SpinnerColumn(), TextColumn("{task.description}"), RowsColumn(), TimeElapsedColumn())


def rows_progress_to_end() -> Progress:
    """The same where the number of rows is about known: how much is done, how fast, and how long it will take."""
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        RowsColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return _progress(SpinnerColumn(), TextColumn("{task.description}"), *columns)


@contextmanager
def working(step: str) -> Iterator[None]:
    """Says what a command does while it may take seconds."""
    with rows_progress() as progress:
        progress.add_task(step)
        yield


def _progress(*columns: ProgressColumn) -> Progress:
    return StepProgress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
