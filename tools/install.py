"""`python -m tools.install TITLE LOCK…`: has pip install lock files, and says how far it is, which pip does not.

It takes nothing but the standard library: it runs before anything is installed.
"""

import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

REDRAWN_SECONDS = 0.5
"""Between two looks on a terminal: it shall be seen to move."""

TOLD_SECONDS = 15.0
"""The time between two lines in a log."""

LOOKED_AT = re.compile(r"^(?:Collecting|Requirement already satisfied:) ")
INSTALLING = "Installing collected packages: "

LAST_LINES = 20
"""The lines of pip that are shown where it failed."""

CLEAR_LINE = "\r\x1b[K"


@dataclass
class Progress:
    """The progress of pip, by its own lines and by the packages in site-packages."""

    site_packages: Path
    lines: list[str] = field(default_factory=list)
    looked_at: int = 0
    to_install: int = 0
    before: int = 0

    def read(self, line: str) -> None:
        """Takes note of a line that pip printed."""
        self.lines.append(line)
        self.looked_at += bool(LOOKED_AT.match(line))
        if line.startswith(INSTALLING):
            self.before = self._installed()
            self.to_install = line.removeprefix(INSTALLING).count(",") + 1

    def text(self) -> str:
        """In words."""
        if self.to_install:
            done = min(self._installed() - self.before, self.to_install)
            return f"{max(done, 0)} of {self.to_install} packages installed"
        return f"{self.looked_at} packages fetched" if self.looked_at else "asking the package index"

    def _installed(self) -> int:
        return sum(1 for _ in self.site_packages.glob("*.dist-info"))


def install(title: str, locks: list[str]) -> int:
    """Runs pip to its end and gives its exit code."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    command = [*pip, "--require-hashes", *(word for lock in locks for word in ("-r", lock))]
    progress = Progress(Path(sysconfig.get_paths()["purelib"]))
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        reader = Thread(target=_read, args=(process.stdout, progress), daemon=True)
        reader.start()
        _watch(process, lambda: f"{title}: {progress.text()}, {time.monotonic() - began:.0f} s")
        reader.join()
    if process.returncode != 0:
        print("\n".join(progress.lines[-LAST_LINES:]), file=sys.stderr)
    return process.returncode


def _read(source: Iterable[str] | None, progress: Progress) -> None:
    for line in source if source is not None else ():
        progress.read(line.rstrip("\n"))


def _watch(process: "subprocess.Popen[str]", text: Callable[[], str]) -> None:
    """Shows the progress until the process ends: in one line on a terminal, else in one now and then."""
    watched = sys.stdout.isatty()
    while True:
        if watched:
            print(f"{CLEAR_LINE}{text()}", end="", flush=True)
        else:
            print(text(), flush=True)
        try:
            process.wait(REDRAWN_SECONDS if watched else TOLD_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        print(f"{CLEAR_LINE if watched else ''}{text()}", flush=True)
        return


if __name__ == "__main__":
    sys.exit(install(sys.argv[1], sys.argv[2:]))
