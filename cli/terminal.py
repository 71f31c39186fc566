"""Progress lines on standard error, beside the output of a command."""

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
        """Empty until the rate is known."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f} rows/s")


class RowsColumn(ProgressColumn):
    """The number of rows that are done; empty for a step that has no rows."""

    def render(self, task: Task) -> Text:
        """Empty until a row is done."""
        return Text(f"{task.completed:,.0f} rows" if task.completed else "")


class StepProgress(Progress):
    """The present step of a command; each step replaces the one before it."""

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
    """A spinner with the present step and the rows so far; it disappears at the end."""
    return _progress(SpinnerColumn(), TextColumn("{task.description}"), RowsColumn(), TimeElapsedColumn())


def rows_progress_to_end() -> Progress:
    """The same with an estimate of all rows: the share that is done, the rate, and the time left."""
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
    """Shows a step that may take seconds."""
    with rows_progress() as progress:
        progress.add_task(step)
        yield


def _progress(*columns: ProgressColumn) -> Progress:
    return StepProgress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
