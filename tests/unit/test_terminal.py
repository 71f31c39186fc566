"""What a progress bar says."""

import io

from rich.console import Console
from rich.progress import Progress

from cli.terminal import rows_progress_to_end


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
