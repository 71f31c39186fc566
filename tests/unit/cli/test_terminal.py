"""What a progress bar says."""

import io

from rich.console import Console
from rich.progress import Progress

from riskline.cli.terminal import rows_progress, rows_progress_to_end


def test_the_bar_of_a_file_whose_length_is_known_says_how_much_how_fast_and_how_long_it_will_take() -> None:
    seconds = iter(range(100))
    screen = Console(file=io.StringIO(), width=120)
    progress = Progress(*rows_progress_to_end().columns, get_time=lambda: float(next(seconds)), console=screen)
    task = progress.add_task("scoring rows.csv", total=100_000)
    for _ in range(10):
        progress.advance(task, 5_000)

    screen.print(progress.get_renderable())

    written = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "scoring rows.csv" in written
    assert "50% 50,000 rows 5,000 rows/s" in written
    assert "0:00:10" in written


def test_a_step_takes_the_place_of_the_one_before_it_and_shows_rows_only_where_there_are_some() -> None:
    progress = rows_progress()
    reading = progress.add_task("reading rows.csv")
    progress.advance(reading, 5_000)
    screen = Console(file=io.StringIO(), width=120)
    screen.print(progress.get_renderable())
    progress.add_task("fitting random-forest")
    screen.print(progress.get_renderable())

    first, second = screen.file.getvalue().strip().splitlines()  # type: ignore[attr-defined]
    assert "reading rows.csv 5,000 rows" in first
    assert "fitting random-forest" in second
    assert "rows" not in second
