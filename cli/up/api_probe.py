"""The API's address, and its readiness as another process sees it."""

import errno
import http.client
import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from riskline.shared.errors import InstallationError

ANSWER_SECONDS = 2.0
"""For /health/ready, which itself gives Redis a second."""

MOST_BYTES = 1_000_000
"""The longest answer that is read: another program may listen there."""

IMPATIENT_POLLS = 300
"""Polls without readiness before the missing parts are named: 30 s."""


def say(message: str) -> None:
    """Prints one line on standard error."""
    print(f"riskline: {message}", file=sys.stderr, flush=True)  # noqa: T201  # what the command says


def free_port(host: str, port: int) -> int:
    """The port, or one that is free for 0.

    Raises:
        InstallationError: the port is in use, or the address is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            chosen: int = trial.getsockname()[1]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InstallationError(
                f"port {port} on {host} is in use: stop what listens there, or choose another with --port 9000 "
                "(0 picks a free one), which with make is: make run UP_FLAGS='--port 9000'"
            ) from error
        raise InstallationError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    return chosen


def base_url(host: str, port: int) -> str:
    """The URL of the API for a browser on this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


@dataclass
class ReadinessPoll:
    """Polls the readiness of the API; names the missing parts once if that takes long."""

    host: str
    port: int
    say: Callable[[str], None] = say
    polls: int = 0

    def reached(self) -> bool:
        """True where /health/ready answers 200 now."""
        self.polls += 1
        answered = self.ask()
        if self.polls == IMPATIENT_POLLS and (answered is None or not answered.is_ready):
            self.say(f"still not ready: {'the API does not answer' if answered is None else answered.sentence}")
        return answered is not None and answered.is_ready

    def ask(self) -> "Answered | None":
        """Asks /health/ready; None where no API of Riskline answers within ANSWER_SECONDS."""
        parts = urlsplit(base_url(self.host, self.port))
        connection = http.client.HTTPConnection(str(parts.hostname), self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            document = json.loads(response.read(MOST_BYTES))
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if not isinstance(document, dict) or "missing" not in document:
            return None
        return Answered(response.status == http.client.OK, document)


class Answered(NamedTuple):
    """The answer of /health/ready."""

    is_ready: bool
    document: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """The readiness in words, with the checks that fail."""
        checks = self.document.get("checks", {})
        names = self.document["missing"] if not self.is_ready else self.document.get("degraded", [])
        reasons = "; ".join(f"{name} ({checks.get(name, 'no reason is given')})" for name in names)
        if self.is_ready:
            return "is ready" + (f", but degraded: {reasons}" if reasons else "")
        return f"is not ready: {reasons}"
