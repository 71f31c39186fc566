"""The sandbox of the process that opens a model file, as far as the system allows one."""

import ctypes
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from riskline.worker.training.imports import jail

PROCESSES = ("--map-root-user", "--net", "--ipc", "--pid", "--fork", "--kill-child")
"""With these of `unshare` nothing that the file starts outlives the import."""

JAILED, ALONE = "without network, and with no file of this machine in sight but", "without network"
CONFINED = (
    ((*PROCESSES, "--mount"), f"{JAILED} a Python's and the system's libraries"),
    ((*PROCESSES, "--mount-proc"), ALONE),
    (("--map-root-user", "--net"), ALONE),
)
"""Options of `unshare`, the best first, and their description; the first includes the jail."""

NOT_CONFINED = "WITH network, which this system does not let us take away"


class Confinement(NamedTuple):
    """The prefix of a command that confines it, and its description for a warning."""

    words: list[str]
    how: str


ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 3, 4


def confinement(work: Path, python: str) -> Confinement:
    """The confinement for a command of this Python in a directory; an empty prefix where the system allows none."""
    unshare = shutil.which("unshare")
    for options, how in CONFINED if unshare is not None else ():
        words = [str(unshare), *options, "--"]
        jails = how.startswith(JAILED)
        if _works([*words, *_jail(work / "probe")] if jails else words, work / "probe", python):
            return Confinement([*words, *_jail(work)] if jails else words, how)
    return Confinement([], NOT_CONFINED)


def _jail(work: Path) -> list[str]:
    return [str(Path(sys.executable).absolute()), "-I", jail.__file__, str(work)]


def _works(words: list[str], probe: Path, python: str) -> bool:
    probe.mkdir()
    try:
        tried = subprocess.run([*words, python, "-I", "-c", ""], check=False, capture_output=True)
    finally:
        shutil.rmtree(probe)
    return tried.returncode == 0


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
    """Hides this process's environment, which has credentials, from the user's other processes meanwhile."""
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
def signals_held_back() -> Iterator[None]:
    """Holds back signals that end this process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
