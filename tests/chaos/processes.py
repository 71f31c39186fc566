"""Processes that are started again when they die, their output in a file each; nothing of them is left behind."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from riskline.cli.up.supervisor import TETHER

RESTART_SECONDS = 0.1
"""Between a death and the next start, as a host's own supervisor has it."""

SOON_SECONDS = 1.0
"""A process that ends so soon after its start is given a longer pause."""

PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: nobody may take the port of what is being restarted."""


class ChaosError(Exception):
    """The run cannot go on; says why."""


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens."""
    found: list[int] = []
    for port in random.sample(PORTS, k=len(PORTS)):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                trial.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise ChaosError("no free ports")


@dataclass(kw_only=True)
class Service:
    """A process that shall run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    orphaned_signal: signal.Signals = signal.SIGKILL
    """What it gets when the runner is killed."""
    restarts: bool = True
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    _not_before: float = field(default=0.0, init=False)
    _started_at: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Starts it. To be called in the main thread: where the thread that started it ends, the process does."""
        tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(self.orphaned_signal.value)]
        with self.log.open("ab") as sink:
            sink.write(f"--- start {self.starts + 1}\n".encode())
            sink.flush()
            self.process = subprocess.Popen(
                [*tether, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=dict(self.environment),
                start_new_session=True,
            )
        self.starts += 1
        self._started_at = time.monotonic()

    def revive(self) -> None:
        """Starts it again where it has died."""
        now = time.monotonic()
        if self.process is None or self.process.poll() is not None:
            if self.process is not None:
                with self.log.open("a") as sink:
                    sink.write(f"--- ended with {self.process.returncode}\n")
                self.process = None
                self._not_before = now + (RESTART_SECONDS if now > self._started_at + SOON_SECONDS else SOON_SECONDS)
            if now >= self._not_before:
                self.start()

    @property
    def pid(self) -> int:
        """Its id; 0 while it does not run."""
        return self.process.pid if self.process is not None and self.process.poll() is None else 0

    def kill(self) -> None:
        """Ends it without a word, and waits for that."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()

    def end(self, *, seconds: float) -> bool:
        """Asks it to stop, then kills what is left of its group; whether asking was enough."""
        if self.process is None:
            return True
        asked = True
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            asked = False
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        return asked


def last_lines(log: Path, count: int = 3) -> str:
    """How a log ends."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-count:])


def processes_with(mark: str) -> list[int]:
    """The processes in whose environment this is; none where there is no /proc."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            alive = (directory / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if alive and mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            continue
    return found
