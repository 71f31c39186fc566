"""Resident memory of a process and of all that it started, read from /proc (so on Linux only)."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLE_SECONDS = 0.05
MEGABYTE = 1e6


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for each in found:
        try:
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        except OSError:
            continue
    return found


def resident_mb(pid: int) -> float:
    """The resident memory of one process; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / MEGABYTE
    except OSError:
        pass
    return 0.0


class PeakMemory:
    """Samples a process tree while the block runs: the most that one process, and that all together, held."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.largest_mb = 0.0
        self.together_mb = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            held = [resident_mb(pid) for pid in tree(self._pid)]
            self.largest_mb = max(self.largest_mb, *held)
            self.together_mb = max(self.together_mb, sum(held))
