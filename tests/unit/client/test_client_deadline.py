"""A call ends in the time that it was given, whatever is at the other end."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from riskline_client import AsyncClient, Client, TimedOut
from tests.integration.running import PATIENCE_SECONDS

SECONDS = 0.4
LONGER_SECONDS = 4.0
"""Where one thing hangs for half of it, and the rest has to be enough for an answer."""

DRIPS = 10_000
"""So many that whoever waits for the last of them waits for minutes, and gets another error than of the time."""

DECISION = b'{"transaction_id":"a","fraud_probability":0.1,"action":"APPROVE","model_version":"v","scored_at":'


def say_nothing(connection: socket.socket) -> None:
    connection.recv(65536)


def drip_a_body(connection: socket.socket) -> None:
    """A byte at a time, each within any time-out for a single read."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    for _ in range(DRIPS):
        connection.sendall(b" ")
        time.sleep(0.02)


def drip_a_head(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
    for _ in range(DRIPS):
        connection.sendall(b"a")
        time.sleep(0.02)


def read_a_little(connection: socket.socket) -> None:
    for _ in range(DRIPS):
        connection.recv(65536)
        time.sleep(0.02)


def read_nothing(connection: socket.socket) -> None:
    del connection


Score = Callable[..., Any]
Serving = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts a server that treats each connection in its own way, and gives its URL."""
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(treat: Callable[[socket.socket], None]) -> str:
        def treat_each(connection: socket.socket) -> None:
            with suppress(OSError):
                treat(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connections.append(server.accept()[0])
                    threads.append(threading.Thread(target=treat_each, args=(connections[-1],)))
                    threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for each in connections:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    for each in connections:
        each.close()


def sync_score(url: str, body: bytes, *, seconds: float = SECONDS) -> Any:
    with Client(url) as client:
        return client.score(body, timeout=seconds)


def async_score(url: str, body: bytes, *, seconds: float = SECONDS) -> Any:
    async def score() -> Any:
        async with AsyncClient(url) as client:
            return await client.score(body, timeout=seconds)

    return asyncio.run(score())


@pytest.mark.parametrize("score", [sync_score, async_score])
@pytest.mark.parametrize(
    ("treat", "body"),
    [
        (say_nothing, b"{}"),
        (drip_a_head, b"{}"),
        (drip_a_body, b"{}"),
        (read_nothing, b" " * 20_000_000),
        (read_a_little, b" " * 40_000_000),
    ],
    ids=["says nothing", "drips a head", "drips a body", "reads nothing", "reads a little"],
)
def test_a_call_ends_in_its_time(
    serving: Serving, score: Score, treat: Callable[[socket.socket], None], body: bytes
) -> None:
    url = serving(treat)

    with pytest.raises(TimedOut, match="no answer to POST /score-transaction within"):
        score(url, body)


def test_a_name_that_is_looked_up_for_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: over.wait(PATIENCE_SECONDS) and [])

    with pytest.raises(TimedOut):
        sync_score("http://riskline.example", b"{}")

    # it is looked up yet
    assert not over.is_set()
    over.set()


def test_of_several_addresses_one_that_says_nothing_leaves_time_for_the_others(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(connection: socket.socket) -> None:
        connection.recv(65536)
        body = DECISION + b'"2026-11-24T03:15:07.123Z"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    connected, create_connection = [], socket.create_connection

    def connect(address: tuple[str, int], timeout: float, **options: Any) -> socket.socket:
        connected.append(address[0])
        if address[0] == "192.0.2.1":
            time.sleep(timeout)
            raise TimeoutError
        return create_connection(address, timeout, **options)

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr("socket.create_connection", connect)
    url = serving(decide).replace("127.0.0.1", "riskline.example")
    real = socket.getaddrinfo
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *a, **o: found if "example" in host else real(host, *a, **o))

    assert sync_score(url, b"{}", seconds=LONGER_SECONDS).action == "APPROVE"
    assert connected == ["192.0.2.1", "127.0.0.1"]


@pytest.mark.parametrize("score", [sync_score, async_score])
def test_a_connection_that_hangs_leaves_time_for_another(
    serving: Serving, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline_client.retrying.LEAST_ATTEMPT_SECONDS", 0.05)
    seen = []

    def hang_once(connection: socket.socket) -> None:
        connection.recv(65536)
        seen.append(connection)
        if len(seen) > 1:
            body = DECISION + b'"2026-11-24T03:15:07.123Z"}'
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    assert score(serving(hang_once), b"{}", seconds=LONGER_SECONDS).action == "APPROVE"
    assert len(seen) > 1
