"""What keeps a process that opens a model file from the rest of the system, as far as that can be had."""

import ctypes
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

CONFINED = (
    ("--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    ("--map-root-user", "--net"),
)
"""Options of `unshare`, the best first: with all of them nothing that the file starts outlives the import."""

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 3, 4


def confined() -> list[str]:
    """Words before a command that confine it; none where the system does not allow it."""
    unshare = shutil.which("unshare")
    for options in CONFINED if unshare is not None else ():
        words = [str(unshare), *options, "--"]
        if subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
            return words
    return []


def prctl() -> Callable[..., int] | None:
    """The system's call of this name; None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    with suppress(OSError, AttributeError):
        found: Callable[..., int] = ctypes.CDLL(None).prctl
        return found
    return None


@contextmanager
def environment_hidden() -> Iterator[None]:
    """This process cannot be looked into by others of its user meanwhile: its environment holds credentials."""
    control = prctl()
    before = -1 if control is None else control(PR_GET_DUMPABLE, 0, 0, 0, 0)
    if control is None or before != 1:
        yield
        return
    control(PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        yield
    finally:
        control(PR_SET_DUMPABLE, before, 0, 0, 0)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that end this process wait meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
