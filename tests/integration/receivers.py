"""Receivers of callbacks as they are in the world: real servers on 127.0.0.1, most of them faulty."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.integration.running import PATIENCE_SECONDS

METADATA = "http://169.254.169.254/latest/meta-data/"
PAUSE_SECONDS = 0.005


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    """By name, in lower case."""
    body: bytes
    at: float
    """Unix time."""
    connection: int
    """Which of the receiver's connections it came on, counted from 1."""


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    keep_alive: bool = True

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever"]
        given = {"content-length": str(len(self.body)), "connection": "keep-alive" if self.keep_alive else "close"}
        lines += [f"{name}: {value}" for name, value in (given | self.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode()


Behaviour = Callable[[Received], Reply]
Writes = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _slow_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for each in Reply().head():
        writer.write(bytes([each]))
        await writer.drain()
        await asyncio.sleep(0.2)


async def _slow_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(Reply(headers={"content-length": "1000"}).head())
    for _each in range(1000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.2)


async def _endless_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await writer.drain()


async def _broken_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nno chunk\r\n")


async def _short_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(Reply(body=b"half", headers={"content-length": "8"}).head() + b"half")


async def _garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01 this is no HTTP \xff\xfe\r\n\r\n")


async def _huge_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"x" * 8000 + b"\r\n")
        await writer.drain()


async def _continues(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()


async def _closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing."""


async def _resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


REPLIES: dict[str, Reply] = {
    "200": Reply(),
    "204": Reply(204, body=b""),
    "301": Reply(301, {"location": METADATA}),
    "302": Reply(302, {"location": METADATA}),
    "307": Reply(307, {"location": METADATA}),
    "308": Reply(308, {"location": METADATA}),
    "400": Reply(400, body=b"bad"),
    "410": Reply(410, body=b"gone"),
    "429": Reply(429, {"retry-after": "7"}, b"later"),
    "500": Reply(500, body=b"broken"),
    "502": Reply(502, body=b"bad gateway"),
    "closing": Reply(keep_alive=False),
}

WRITES: dict[str, Writes] = {
    "slow-headers": _slow_headers,
    "slow-body": _slow_body,
    "endless-body": _endless_body,
    "broken-body": _broken_body,
    "short-body": _short_body,
    "garbage": _garbage,
    "huge-headers": _huge_headers,
    "continues": _continues,
    "closes": _closes,
    "resets": _resets,
    "silent": _silent,
}

BEHAVIOURS = frozenset({*REPLIES, *WRITES, "closes-at-once"})


class Receiver:
    """A server in a thread: does what its behaviour says, one of `BEHAVIOURS` or what makes a reply of each request.

    `behaviour` and `delay_seconds` may be set while it runs. `requests` is all that came, answered or not.
    """

    def __init__(
        self,
        behaviour: str | Behaviour = "200",
        *,
        delay_seconds: float = 0.0,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        assert callable(behaviour) or behaviour in BEHAVIOURS, behaviour
        self.behaviour = behaviour
        self.delay_seconds = delay_seconds
        self.requests: list[Received] = []
        self.connections = 0
        self.open_connections = 0
        self.port = port
        self._host = host
        self._ssl_context = ssl_context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://{self._host}:{self.port}/hook?a=1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        self._loop.set_exception_handler(lambda *_: None)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        serving = asyncio.start_server(self._answer, self._host, self.port, ssl=self._ssl_context, backlog=1024)
        server = await serving
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        # asyncio forgets to close what it has accepted and not handed out when the server closes
        await asyncio.sleep(PAUSE_SECONDS)
        server.close()
        # more than once: what was cancelled closes its socket some turns later
        for _ in range(3):
            answering = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
            for each in answering:
                each.cancel()
            await asyncio.gather(*answering, return_exceptions=True)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        connection = self.connections
        try:
            if self.behaviour != "closes-at-once":
                while await self._exchange(reader, writer, connection):
                    pass
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        received = await _read(reader, connection)
        self.requests.append(received)
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if isinstance(self.behaviour, str) and self.behaviour in WRITES:
            await WRITES[self.behaviour](reader, writer)
            await writer.drain()
            return False
        reply = REPLIES[self.behaviour] if isinstance(self.behaviour, str) else self.behaviour(received)
        writer.write(reply.head() + reply.body)
        await writer.drain()
        return reply.keep_alive


async def _read(reader: asyncio.StreamReader, connection: int) -> Received:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    pairs = (line.split(":", 1) for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body, time.time(), connection)


class Unaccepting:
    """A port that takes no connection: its queue of them is full."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._sockets.append(listening)
        self.port = listening.getsockname()[1]
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(("127.0.0.1", self.port))
            self._sockets.append(each)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


@dataclass(frozen=True)
class Certificate:
    """Self-signed, for localhost and 127.0.0.1."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificate(directory: Path, *, days: int = 2) -> Certificate:
    """Skips the test where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    options = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    options += ["-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", str(days)]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([openssl, *options, *names, *files], check=True, capture_output=True)
    return made
