"""What the commands show people beside their output."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
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


def rows_progress() -> Progress:
    """A line for each file that is read, with its rows so far; gone when it is done."""
    return _progress(SpinnerColumn(), TextColumn("{task.description}"), ROWS, TimeElapsedColumn())


def rows_progress_to_end() -> Progress:
    """The same where the number of rows is about known: how much is done, how fast, and how long it will take."""
    columns = (BarColumn(), TaskProgressColumn(), ROWS, RateColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return _progress(SpinnerColumn(), TextColumn("{task.description}"), *columns)


ROWS = TextColumn("{task.completed:,.0f} rows")


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
