"""A real `riskline up` for tests: started on a free port, its output kept, nothing of it left behind."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from redis import Redis

from riskline.cli.up.redis_server import command, find_server, probe, wait_until_ready
from riskline_client import Client
from tests.support.factories import transaction_json

PATIENCE_SECONDS = 300.0
"""Against what hangs only: no test asserts a time, and a machine that is ten times slower is to pass."""

PAUSE_SECONDS = 0.02


def riskline(*words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    command = [sys.executable, "-m", "riskline.cli", *words]
    return subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def eventually(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of the condition; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(f"not within {seconds} s: {condition}")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class RunningUp:
    """`riskline up` on a data directory, ready when entered, gone when left."""

    def __init__(self, data: Path, *, environment: Mapping[str, str], flags: tuple[str, ...] = ()) -> None:
        self.data = data
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "riskline.cli", "up", "--port", "0", "--data", str(data), *flags],
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            eventually(lambda: self.said("Riskline is ready") or self.process.poll() is not None)
            assert self.said("Riskline is ready"), "".join(self.lines)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        pids = self.pids()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        for pid in pids:
            eventually(lambda pid=pid: not is_alive(pid))
        self._reader.join(PATIENCE_SECONDS)
        self.process.stdout.close()

    def _read(self) -> None:
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def said(self, words: str) -> bool:
        """Whether a line of the output has these words."""
        return any(words in line for line in self.lines)

    @property
    def state(self) -> dict[str, Any]:
        """What it tells other commands."""
        return json.loads((self.data / "run" / "state.json").read_bytes())

    def pids(self) -> list[int]:
        """Its children's ids; none once it has ended."""
        try:
            return list(self.state["children"].values())
        except FileNotFoundError:
            return []

    def kill(self, name: str) -> int:
        """Kills a child without a word and gives its id."""
        # 0 while it is being started again, which os.kill would take for our own group
        pid = eventually(lambda: self.state["children"][name])
        os.kill(pid, signal.SIGKILL)
        return pid

    def read(self, path: str) -> bytes:
        """An answer's body as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.state["port"], timeout=PATIENCE_SECONDS)
        connection.request("GET", path)
        body = connection.getresponse().read()
        connection.close()
        return body

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.state["port"], timeout=PATIENCE_SECONDS)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer)


class OwnRedis:
    """A Redis of the test's own, which it can take away and bring back."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self.url = f"unix://{directory / 's'}"
        self.start()

    def start(self, *options: str, wait: bool = True) -> None:
        log_file = self._directory / "log"
        words = command(
            find_server(self._directory), redis_dir=self._directory, socket=self._directory / "s", log_file=log_file
        )
        self._process = subprocess.Popen([*words, *options])
        if wait:
            wait_until_ready(self.url, exit_status=self._process.poll, log_file=log_file)

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self) -> Redis:
        return probe(self.url)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def starts_and_decides(words: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str], data: Path) -> None:
    """Runs a command that is to serve from `data`, has it decide at both doors, and stops it."""
    log = cwd / "starts-and-decides.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, words)),
            cwd=cwd,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: "Riskline is ready" in log.read_text() or process.poll() is not None)
        assert "Riskline is ready" in log.read_text(), log.read_text()
        port = json.loads((data / "run" / "state.json").read_bytes())["port"]
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.score(transaction_json(transaction_id="at-once")).action
            assert client.submit(transaction_json(transaction_id="queued"), wait=20).decision is not None
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
