"""A worker's sign of life: a file that it touches once a second, for a health check that asks nobody else.

`python -m riskline.worker.alive FILE` exits 0 where that was done lately, else 1 with a line that says why. It imports
nothing of the service, since it is started every few seconds.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

STALE_SECONDS = 30.0
"""Far above a round of a second, and above one that meets a Redis whose name resolves to nothing any more: an outage of
Redis is waited out, and restarting the worker would not end it."""


def sign_of_life(path: Path | None, alive: Callable[[], bool]) -> Callable[[], None]:
    """What touches the file while there is life to show; does nothing without a file.

    Raises:
        OSError: the file cannot be made.
    """
    if path is None:
        return lambda: None
    path.touch(mode=0o644)

    def sign() -> None:
        if alive():
            path.touch(mode=0o644)

    return sign


def age_seconds(path: Path) -> float:
    """How long ago the file was touched.

    Raises:
        OSError: there is none, or it cannot be seen.
    """
    return time.time() - path.stat().st_mtime


def check(path: Path) -> str | None:
    """Why the worker is not taken for alive; None where it is."""
    try:
        age = age_seconds(path)
    except OSError as error:
        return f"{path} cannot be seen ({error.strerror}): no worker with RISKLINE_ALIVE_FILE={path} has started here"
    return None if age <= STALE_SECONDS else f"the worker has shown no life for {age:.0f} s"


def main(words: list[str]) -> int:
    """Runs the check, and gives the exit code."""
    if len(words) != 1:
        print("usage: python -m riskline.worker.alive FILE", file=sys.stderr)  # noqa: T201  # what the check says
        return 2
    problem = check(Path(words[0]))
    if problem is not None:
        print(problem, file=sys.stderr)  # noqa: T201  # what the check says
    return 0 if problem is None else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
