"""`riskline callbacks listen`: a receiver on a developer's machine that shows callbacks and checks signatures."""

import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any, Self

import orjson
import typer

from riskline.cli.operate.api_keys import configured_secrets
from riskline.cli.operate.verify import joined
from riskline.shared.errors import InstallationError
from riskline.shared.webhooks.signing import ID, SignatureCheck, check

DEFAULT_PORT = 8765

MOST_BODY_BYTES = 1_048_576
MOST_SHOWN_CHARACTERS = 200

READ_SECONDS = 30.0
"""The time that a sender has for its request."""

ANSWER_SECONDS = 5.0
"""The time that an answer has beyond its delay before the last one is no longer waited for."""

LENGTH = re.compile(r"[0-9]{1,18}")

WITHOUT_LENGTH = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
"""Answers that have no body by definition (RFC 9110)."""


def listen(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 picks a free one.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option("--host", help="The address it listens on.")] = "127.0.0.1",
    status: Annotated[
        int, typer.Option("--status", min=200, max=599, help="The answer to a callback that is verified.")
    ] = HTTPStatus.NO_CONTENT.value,
    delay: Annotated[float, typer.Option("--delay", min=0, max=3600, help="Seconds before each answer.")] = 0.0,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="End after so many; exit 1 where one was not verified.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="A directory that gets each request, for `riskline callbacks verify`.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the bodies.")] = False,
) -> None:
    """Receive callbacks on this machine and show them; what RISKLINE_CALLBACK_SECRET did not sign is answered 401."""
    secrets = configured_secrets()
    if save is not None:
        try:
            save.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InstallationError(f"--save {save} cannot be used as a directory: {error.strerror}") from error
    with CallbackListener(secrets, host=host, port=port, status=status, delay_seconds=delay) as listener:
        typer.echo(f"listening for callbacks (Ctrl-C stops); as callback_url give {listener.url}", err=True)
        typer.echo(f"the API and the workers need RISKLINE_CALLBACK_ALLOW={_network(host)} to reach it", err=True)
        not_verified = receive(listener, count=count, save=save, verbose=verbose)
    if not_verified:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Arrival:
    """A request that came, and the answer it is given."""

    at: datetime
    message_id: str
    checked: SignatureCheck
    head: bytes
    body: bytes
    status: int
    answered: threading.Event = field(default_factory=threading.Event)


class CallbackListener:
    """Takes requests from when it is made, and answers them while it is entered; `arrivals` has them as they come."""

    def __init__(
        self, secrets: Sequence[str], *, host: str, port: int, status: int = 204, delay_seconds: float = 0.0
    ) -> None:
        self.arrivals = SimpleQueue[Arrival]()
        self.delay_seconds = delay_seconds
        try:
            self._server = _Server(host, port, handler=_Handler, listener=self)
        except OSError as error:
            raise InstallationError(
                f"{host}:{port} cannot be listened on: {error.strerror}; choose another with --host and --port"
            ) from error
        self._secrets = secrets
        self._status = status
        shown_host = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown_host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, headers: dict[str, str], head: bytes, body: bytes) -> Arrival:
        """Checks a request that has come whole."""
        at = datetime.now(UTC)
        checked = check(self._secrets, headers, body, now=at)
        status = self._status if checked.refusal is None else HTTPStatus.UNAUTHORIZED.value
        return self._arrived(Arrival(at, headers.get(ID, ""), checked, head, body, status))

    def refuse(self, headers: dict[str, str], head: bytes, *, status: int, problem: str) -> Arrival:
        """Takes note of a request of which the body was not taken."""
        checked = SignatureCheck(None, problem, None)
        return self._arrived(Arrival(datetime.now(UTC), headers.get(ID, ""), checked, head, b"", status))

    def _arrived(self, arrival: Arrival) -> Arrival:
        self.arrivals.put(arrival)
        return arrival


def receive(listener: CallbackListener, *, count: int | None, save: Path | None = None, verbose: bool = False) -> int:
    """Shows `count` callbacks as they arrive; returns the number that was not verified."""
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    taken = list[Arrival]()
    not_verified = number = 0
    while count is None or number < count:
        arrival = listener.arrivals.get()
        number += 1
        not_verified += arrival.checked.refusal is not None
        if save is not None:
            with (save / f"{arrival.at:%Y%m%dT%H%M%S.%f}-{number:06}.http").open("xb") as file:
                file.write(arrival.head + arrival.body)
        typer.echo(_line(arrival))
        if verbose and arrival.body:
            typer.echo(_pretty(arrival.body))
        if count is not None:
            taken.append(arrival)
    for arrival in taken:
        arrival.answered.wait(listener.delay_seconds + ANSWER_SECONDS)
    return not_verified


def _line(arrival: Arrival) -> str:
    checked = arrival.checked
    verdict = f"verified by secret {checked.secret}" if checked.refusal is None else f"NOT VERIFIED: {checked.refusal}"
    event = _member(_parsed(arrival.body))
    data = _member(event.get("data"))
    decision = _member(data.get("decision"))
    outcome = decision.get("action") or data.get("error") or data.get("message")
    texts = [event.get("type"), data.get("transaction_id"), outcome, arrival.message_id]
    shown = "  ".join(_printable(each) if isinstance(each, str) and each else "-" for each in texts)
    return f"{arrival.at:%Y-%m-%dT%H:%M:%SZ}  {shown}  {verdict}  answered {arrival.status}"


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except ValueError:
        return None


def _member(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pretty(body: bytes) -> str:
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except (ValueError, TypeError):  # no JSON, or nested deeper than it can be written
        text = body.decode(errors="replace")
    return "\n".join(_printable(line, most=MOST_BODY_BYTES) for line in text.split("\n"))


def _printable(text: str, *, most: int = MOST_SHOWN_CHARACTERS) -> str:
    """A text of a sender without control characters, which could command the terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:most])


def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "ADDRESS (the one by which they reach this machine)"
    return f"{address}/{address.max_prefixlen}"


class _Server(ThreadingHTTPServer):
    def __init__(
        self, host: str, port: int, *, handler: type[BaseHTTPRequestHandler], listener: CallbackListener
    ) -> None:
        self.listener = listener
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Binds without asking DNS for this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  # what it is called with
        """Shows the error of a connection in one line, but not of a sender that did not wait."""
        error = sys.exception()
        if not isinstance(error, OSError):
            typer.echo(f"riskline: unexpected {type(error).__name__}: {error}; please report it", err=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = READ_SECONDS

    def do_POST(self) -> None:
        """Takes a callback."""
        pairs = self.headers.items()
        lines = [self.requestline, *(f"{name}: {value}" for name, value in pairs), "", ""]
        arrival = self._taken(joined(pairs), "\r\n".join(lines).encode("latin-1", errors="replace"))
        try:
            time.sleep(self.server.listener.delay_seconds)
            self._answer(arrival.status)
        finally:
            arrival.answered.set()

    def _taken(self, headers: dict[str, str], head: bytes) -> Arrival:
        listener = self.server.listener
        length = headers.get("content-length", "")
        if not LENGTH.fullmatch(length):
            return listener.refuse(headers, head, status=HTTPStatus.LENGTH_REQUIRED, problem="it has no Content-Length")
        if int(length) > MOST_BODY_BYTES:
            problem = f"its body has more than {MOST_BODY_BYTES:,} bytes"
            return listener.refuse(headers, head, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem=problem)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            problem = f"its body ended after {len(body):,} of {int(length):,} bytes"
            return listener.refuse(headers, head, status=HTTPStatus.BAD_REQUEST, problem=problem)
        return listener.take(headers, head, body)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status not in WITHOUT_LENGTH:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Prints nothing: `receive` shows each request."""
