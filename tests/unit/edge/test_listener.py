"""A process accepts new connections, however many come at once and however busy its others are."""

import asyncio
import errno
import socket
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

import orjson
import pytest

from riskline.ingest.edge.listener import ACCEPTED_A_TURN, Loop
from riskline.ingest.edge.turns import PIECES_A_TURN
from riskline.ingest.fastpath.requests import FastPathProtocol
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.wire import request, serving

COUNT = 300
SCORE = request("/score-transaction", orjson.dumps(transaction_json()))
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main)


async def turns_until(done: Any) -> int:
    turns = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not done():  # it counts the loop's turns
            await asyncio.sleep(0)
            turns += 1
    return turns


def connected(clients: ExitStack, port: int, count: int) -> list[socket.socket]:
    return [clients.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]


class Counted(asyncio.Protocol):
    made = 0

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        Counted.made += 1


def test_many_connections_are_accepted_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "made", 0)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Counted, "127.0.0.1", 0)
        with ExitStack() as clients:
            connected(clients, server.sockets[0].getsockname()[1], COUNT)
            turns = await turns_until(lambda: Counted.made == COUNT)
        server.close()
        await server.wait_closed()

        assert turns <= COUNT // ACCEPTED_A_TURN + 10

    run(main())


def test_a_new_connection_is_answered_in_a_few_turns_where_hundreds_are_busy() -> None:
    async def main() -> None:
        async with serving(Api(record_capacity=100_000).app) as made:
            server = await asyncio.get_running_loop().create_server(
                lambda: made.connection(FastPathProtocol), "127.0.0.1", 0
            )
            port = server.sockets[0].getsockname()[1]
            connections = made.server_state.connections
            with ExitStack() as clients:
                busy = connected(clients, port, COUNT)
                await turns_until(lambda: len(connections) == COUNT)
                [new] = connected(clients, port, 1)
                for each in (*busy, new):
                    each.sendall(LIVE if each is new else SCORE * 20)
                    each.setblocking(False)
                # each turn answers the new one, or so many of the pieces that came before its own
                turns = await turns_until(lambda: is_answered(new))
                assert turns <= 2 * COUNT // PIECES_A_TURN + 12
                await turns_until(lambda: made.server_state.total_requests == 20 * COUNT + 1)
            server.close()
            await turns_until(lambda: not connections)

    run(main())


def is_answered(client: socket.socket) -> bool:
    try:
        return client.recv(100).startswith(b"HTTP/1.1 200 ")
    except BlockingIOError:
        return False


def test_without_a_file_descriptor_it_tries_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.edge.listener.AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(Counted, "made", 0)
    accept, failed = socket.socket.accept, []

    def without(listening: socket.socket) -> Any:
        if len(failed) < 2:
            failed.append(True)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", without)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Counted, "127.0.0.1", 0)
        with ExitStack() as clients:
            connected(clients, server.sockets[0].getsockname()[1], 1)
            await turns_until(lambda: Counted.made == 1)
        server.close()

    run(main())
    assert len(failed) == 2


def test_a_closed_listener_refuses_connections() -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Counted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    run(main())


def test_a_client_that_sends_ten_megabytes_before_it_reads_sees_why_they_were_refused() -> None:
    def post(port: int, *headers: str) -> bytes:
        head = request("/transactions", b"", *headers).replace(b"Content-Length: 0", b"Content-Length: 10000000")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(head + b" " * 10_000_000)
            return client.recv(100)

    async def main() -> None:
        async with serving(Api().app) as made:
            server = await asyncio.get_running_loop().create_server(
                lambda: made.connection(FastPathProtocol), "127.0.0.1", 0
            )
            port = server.sockets[0].getsockname()[1]
            for headers in ((), ("Connection: close",), ("Expect: a miracle",)):
                answer = await asyncio.to_thread(post, port, *headers)
                assert answer.startswith(b"HTTP/1.1 417 " if "Expect: a miracle" in headers else b"HTTP/1.1 413 ")
            server.close()
            await turns_until(lambda: not made.server_state.connections)

    run(main())
