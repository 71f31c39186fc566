"""A connection to the app without a socket: bytes in, bytes out, with the fast path or by uvicorn alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import h11
from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from riskline.ingest.fastpath.requests import FastPathProtocol
from tests.integration.running import PATIENCE_SECONDS


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = self.ended = False
        self.reading = True
        self.unsent = 0

    def write(self, data: bytes) -> None:
        assert not self.over
        self.written += data

    def close(self) -> None:
        self.closed = True

    @property
    def over(self) -> bool:
        """Whether nothing more is to come for the client."""
        return self.closed or self.ended

    def abort(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def fileno(self) -> int:
        raise OSError("there is no socket")

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    getpeername = getsockname

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Wire:
    """One connection; `send` takes raw requests, `answers` waits for as many answers as there were."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport = Transport()
        protocol.connection_made(self.transport)

    def send(self, data: bytes) -> Self:
        self.protocol.data_received(data)
        return self

    async def answers(self, count: int = 1) -> list[Answer]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := parsed(bytes(self.transport.written), count)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # a transport wakes nobody
        return found


def parsed(data: bytes, count: int) -> list[Answer]:
    """The whole answers in these bytes, up to so many."""
    connection = h11.Connection(h11.CLIENT)
    found: list[Answer] = []
    if data:
        connection.receive_data(data)
    while data and len(found) < count:
        connection.send(h11.Request(method="POST", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        head = connection.next_event()
        body = b""
        event: Any = head
        while isinstance(event, h11.Response | h11.Data):
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
            event = connection.next_event()
        if not isinstance(event, h11.EndOfMessage):
            break
        headers = {name.decode(): value.decode() for name, value in head.headers}
        found.append(Answer(head.status_code, headers, body))
        if connection.our_state is not h11.DONE:
            break
        connection.start_next_cycle()
    return found


class Server:
    """What makes connections to an app whose lifespan has begun."""

    def __init__(self, config: Config, state: dict[str, Any]) -> None:
        self._config = config
        self._state = state
        self.server_state = ServerState()
        self.server_state.default_headers = [(b"date", b"Tue, 24 Nov 2026 03:15:07 GMT")]

    def connection(self, kind: type[HttpToolsProtocol]) -> HttpToolsProtocol:
        return kind(self._config, self.server_state, self._state)

    def connect(self, *, fast: bool) -> Wire:
        return Wire(self.connection(FastPathProtocol if fast else HttpToolsProtocol))


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[Server]:
    config = Config(app, log_config=None, access_log=False, lifespan="on", ws="none", proxy_headers=False)
    config.load()
    lifespan = LifespanOn(config)
    await lifespan.startup()
    yield Server(config, lifespan.state)
    await lifespan.shutdown()


def request(path: str, body: bytes, *headers: str, method: str = "POST", version: str = "1.1") -> bytes:
    """A raw request with the headers that every client sends."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    if not any(header.lower().startswith("content-type") for header in headers):
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body
