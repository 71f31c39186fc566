"""Tries rows in a child process, which a row may end; the worker then knows the fatal row, and goes on."""

import logging
import os
import select
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from riskline.shared.log import get_logger
from riskline.shared.store.interfaces import Claim
from riskline.shared.store.records import Record

log = get_logger(__name__)

Row = TypeVar("Row")
Attempt = Callable[[Sequence[Row]], object]

SILENT_SECONDS = 10.0
"""The longest silence of a child: a whole batch takes milliseconds, or seconds with a slow class. A longer silence
proves nothing about the rows: the worker goes on as if there had been no trial."""

ENDS_SECONDS = 60.0
"""A child whose worker has ended ends by itself after this time."""

WORKS_ON, DONE = b".", b"!"


def without_fatal_rows(
    claimed: Claim, attempt: Attempt[tuple[str, Record | None]], *, most_losses: int
) -> tuple[Claim, list[tuple[str, Record | None, int]]]:
    """The claim without its fatal rows, and those rows, each with the number of lost processes.

    Nothing is tried unless a worker was lost lately: a trial doubles the cost of a batch.
    """
    if not claimed.rows or not (claimed.losses or claimed.lost_of_late):
        return claimed, []
    if claimed.losses >= most_losses:
        ended = dict.fromkeys(range(len(claimed.rows)), claimed.losses)
    else:
        found = fatal_rows(claimed.rows, attempt, times=most_losses - claimed.losses)
        ended = {place: claimed.losses + times for place, times in found.items()}
    left = [row for place, row in enumerate(claimed.rows) if place not in ended]
    return claimed._replace(rows=left), [(*claimed.rows[place], losses) for place, losses in ended.items()]


def fatal_rows(rows: Sequence[Row], attempt: Attempt[Row], *, times: int) -> dict[int, int]:
    """The places of rows that end `times` child processes in a row, each with that number.

    All rows are tried together first; only where that ends the child are they tried one by one.
    """
    found: dict[int, int] = {}
    if _first_fatal(rows, attempt, together=True) is None:
        return found
    begin = 0
    while (at := _first_fatal(rows[begin:], attempt)) is not None:
        begin += at
        ended = 1
        while ended < times and _first_fatal([rows[begin]], attempt) is not None:
            ended += 1
        if ended == times:
            # else it was chance: something else has ended the child
            found[begin] = ended
        begin += 1
    return found


def _first_fatal(rows: Sequence[Row], attempt: Attempt[Row], *, together: bool = False) -> int | None:
    """The place of the row that ended the child; None where all were tried, or the row is unknown."""
    if not rows:
        return None
    reads, writes = os.pipe()
    try:
        with warnings.catch_warnings():
            # the warning is about threads; the child runs only the model and the class, and ends
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError as error:
        os.close(reads)
        os.close(writes)
        # rows that cannot be tried first must not wait for ever
        log.warning("no process to try rows in; the worker goes on without", problem=str(error))
        return None
    if pid == 0:
        _try_here([rows] if together else [[row] for row in rows], attempt, writes)
    os.close(writes)
    try:
        said = _output_of_child(reads)
    finally:
        os.close(reads)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None if said is None or said.endswith(DONE) else max(0, len(said) - 1)


def _output_of_child(reads: int) -> bytes | None:
    """The child's output until it ends; None where it is silent for too long."""
    ready = select.poll()
    ready.register(reads, select.POLLIN)
    said = b""
    while ready.poll(SILENT_SECONDS * 1000):
        piece = os.read(reads, 1 << 16)
        if not piece:
            return said
        said += piece
    return None


def _try_here(parts: Sequence[Sequence[Row]], attempt: Attempt[Row], writes: int) -> None:
    """The child's program. An exception is not fatal: the worker will meet it, too."""
    try:
        logging.disable(logging.CRITICAL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, ENDS_SECONDS)
        for part in parts:
            os.write(writes, WORKS_ON)
            attempt(part)
        os.write(writes, DONE)
    except BaseException:  # noqa: BLE001  # see above
        os.write(writes, DONE)
    finally:
        os._exit(0)
