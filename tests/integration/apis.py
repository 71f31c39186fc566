"""A real API process of a test's own, and what it said."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Self

from tests.bench.processes import answers, free_port
from tests.integration.running import PATIENCE_SECONDS, eventually


class RunningApi:
    """`riskline api` on a Redis, ready when entered, gone when left."""

    def __init__(self, redis_url: str, *, environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "riskline.cli", "api", "--port", str(self.port)],
            env={**environment, "REDIS_URL": redis_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        is_ready = answers(self.port, "/health/ready")
        eventually(lambda: is_ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        self.process.stdout.close()

    def _read(self) -> None:
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def said(self) -> str:
        return "".join(self.lines)

    @property
    def resident_bytes(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as file:  # noqa: PTH123  # read often, between measurements
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
