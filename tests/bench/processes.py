"""Starts processes, waits until they are ready, and always ends them."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from riskline.cli.up.supervisor import TETHER

START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.005


class BenchError(Exception):
    """Something cannot be measured; says what and why."""


@contextmanager
def running(
    command: Sequence[object], *, log: Path, environment: Mapping[str, str] | None = None, directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in `log`; it ends with the block, or with this process."""
    tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(signal.SIGTERM.value)]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*tether, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks it to stop, then kills what is left of its group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], *, log: Path, limit_seconds: float = START_SECONDS
) -> float:
    """Waits for a process to be ready; the seconds that took.

    Raises:
        BenchError: it ended, or it took longer than the limit.
    """
    started = time.perf_counter()
    while not ready():
        seconds = time.perf_counter() - started
        if process.poll() is not None:
            raise BenchError(f"{_name(process)} ended with {process.returncode}: {_last_line(log)} (all of it: {log})")
        if seconds > limit_seconds:
            raise BenchError(f"{_name(process)} was not ready after {seconds:.0f} s: {_last_line(log)} ({log})")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


def exit_status(process: subprocess.Popen[bytes]) -> str | None:
    """How it ended; None while it runs."""
    code = process.poll()
    return None if code is None else f"exit code {code}"


def answers(port: int, path: str, *, any_status: bool = False) -> Callable[[], bool]:
    """Whether a GET is answered now, by 200 unless any status will do."""

    def ask() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK or any_status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ask


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
    return port


def _name(process: subprocess.Popen[bytes]) -> str:
    words = list(process.args)[6:]  # type: ignore[arg-type]  # a list, as given above; the first six are the tether
    return " ".join(Path(str(word)).name for word in words[:4])


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
