"""A worker's liveness file, which it touches once a second, for a health check without a network.

`python -m riskline.worker.alive FILE` exits 0 where that was done lately, else 1 with the reason. This file imports
nothing of the service, since it is started every few seconds.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

STALE_SECONDS = 30.0
"""Far above a round of a second, and above one whose Redis name no longer resolves: an outage of
Redis is waited out, and restarting the worker would not end it."""


def sign_of_life(path: Path | None, alive: Callable[[], bool]) -> Callable[[], None]:
    """A function that touches the file while `alive()` is true; does nothing without a file.

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
    """Seconds since the file was touched.

    Raises:
        OSError: the file is missing or unreadable.
    """
    return time.time() - path.stat().st_mtime


def check(path: Path) -> str | None:
    """The reason that the worker counts as dead; None where it is alive."""
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
