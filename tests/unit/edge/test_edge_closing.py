"""Every connection comes to an end that its client can see, however it sends and reads."""

import asyncio
from typing import Any

import orjson
import pytest

from riskline.ingest.edge.closing import MAX_UNREAD_BYTES
from riskline.ingest.edge.connection import MAX_HEAD_BYTES
from tests.support.api import MAX_BODY_BYTES, Api
from tests.support.factories import transaction_json
from tests.support.wire import Wire, request, serving

GOOD = orjson.dumps(transaction_json())
GET = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = request("/score-transaction", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
WHOLE = CHUNKED + b"%x\r\n%b\r\n" % (len(GOOD), GOOD)
SECONDS = 5
SLOW = {"request_timeout": SECONDS}
PIECE = b" " * 65_536


def large(size: int, *headers: str) -> bytes:
    """The head of a request with so large a body."""
    return request("/transactions", b"", *headers).replace(b"Content-Length: 0", b"Content-Length: %d" % size)


async def refused_early(wire: Wire, head: bytes) -> None:
    [answer] = await wire.send(head + b" " * (MAX_BODY_BYTES + 1)).answers()
    assert answer.status == 413


async def test_a_client_that_sends_ten_megabytes_before_it_looks_finds_its_answer_and_goes_on() -> None:
    size = 10_000_000
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        await refused_early(wire, large(size))
        left = size - MAX_BODY_BYTES - 1
        while left:
            wire.send(PIECE[:left])
            left -= len(PIECE[:left])
        [_, answer] = await wire.send(GET).answers(2)

    assert answer.status == 200
    assert not wire.transport.over


@pytest.mark.parametrize(
    "head",
    [
        large(10_000_000, "Connection: close"),
        large(10_000_000).replace(b"HTTP/1.1", b"HTTP/1.0"),
        large(10_000_000).replace(b"Host: localhost", b"Host: a b"),
        large(10_000_000, "Expect: a miracle"),
        large(10_000_000, f"X: {'x' * MAX_HEAD_BYTES}"),
    ],
    ids=["close", "1.0", "host", "expect", "head"],
)
async def test_a_connection_ends_after_its_last_answer_and_still_takes_what_its_client_sends(head: bytes) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        [answer] = await wire.send(head + b" " * MAX_BODY_BYTES).answers()
        for _ in range(10_000_000 // len(PIECE)):
            wire.send(PIECE)

        assert answer.headers["connection"] == "close"
        assert wire.transport.ended
        assert not wire.transport.closed
        for _ in range(MAX_UNREAD_BYTES // len(PIECE)):
            wire.send(PIECE)
        assert wire.transport.closed


async def test_it_does_so_for_a_while_only() -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True).send(b"\x00\r\n\r\n")
        for _ in range(SECONDS):
            assert not wire.transport.closed
            wire.send(b"a" * 5000)
            wire.protocol.second_passed()

    assert wire.transport.closed


@pytest.mark.parametrize("trailer", [b"A: ", b"0\r\nA: "], ids=["chunk", "trailer"])
async def test_a_request_that_is_answered_may_go_on_for_a_while_only(trailer: bytes) -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True)
        await refused_early(wire, CHUNKED.replace(b"/score-transaction", b"/transactions") + b"ffff\r\n")
        wire.send(b" " * (0xFFFF - MAX_BODY_BYTES - 1) + b"\r\n" + trailer.removeprefix(b"A: "))
        for _ in range(SECONDS):
            assert not wire.transport.closed
            wire.send(b"a" * 1100 if trailer.startswith(b"0") else b"1\r\na\r\n" * 200)
            wire.protocol.second_passed()

    assert wire.transport.closed


ENDLESS = {
    "trailer": (b"0\r\nA: ", b"a" * 1000),
    "trailers": (b"0\r\n", b"A: b\r\n" * 100),
    "extension": (b"1;a=", b"a" * 1000),
    "extensions": (b"", b"1;a=" + b"a" * 1000 + b"\r\n \r\n"),
    "a byte at a time": (b"0\r\nA: ", b"a"),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("path", [b"/score-transaction", b"/transactions/batch", b"/nothing"])
async def test_what_stands_beside_a_chunked_body_is_no_longer_than_a_head(name: str, path: bytes) -> None:
    first, again = ENDLESS[name]
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(CHUNKED.replace(b"/score-transaction", path) + first)
        sent = 0
        while not wire.transport.over and sent < 3 * MAX_HEAD_BYTES:
            wire.send(again)
            sent += len(again)
        [answer] = await wire.answers()

    assert sent <= 1.1 * MAX_HEAD_BYTES
    assert answer.status == 400
    assert "extensions or trailers" in orjson.loads(answer.body)["detail"]


async def test_a_body_may_come_in_chunks_of_a_byte_with_trailers_as_long_as_a_head() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD + b" " * (MAX_BODY_BYTES - len(GOOD)))
    trailers = b"0\r\n" + b"A: b\r\n" * (MAX_HEAD_BYTES // 7) + b"\r\n"
    async with serving(Api().app) as server:
        [answer] = await server.connect(fast=True).send(CHUNKED + chunks + trailers).answers()

    assert answer.status == 200


async def test_a_trailer_that_ends_the_connection_ends_it() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(WHOLE + b"0\r\nConnection: close\r\n\r\n" + GET)
        [answer] = await wire.answers()
        await asyncio.sleep(0)

    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert wire.transport.over
    assert wire.transport.written.count(b"HTTP/1.1 ") == 1


async def test_such_a_trailer_behind_an_answer_ends_it_too() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        await refused_early(wire, CHUNKED.replace(b"/score-transaction", b"/transactions") + b"1001\r\n")
        wire.send(b"\r\n0\r\nConnection: close\r\n\r\n")

    assert wire.transport.over


@pytest.mark.parametrize("trailer", [b"Connection: keep-alive", b"Connection: upgrade\r\nUpgrade: x", b"Host: b"])
async def test_any_other_trailer_says_nothing(trailer: bytes) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(WHOLE + b"0\r\n" + trailer + b"\r\n\r\n" + GET)
        found = await wire.answers(2)

    assert [answer.status for answer in found] == [200, 200]


def read_by(wire: Wire, unsent: list[int]) -> int:
    """After how many seconds a client is let go of whose answers move so; all of them where it is not."""
    for second, each in enumerate(unsent):
        wire.transport.unsent = each
        wire.protocol.second_passed()
        if wire.transport.closed:
            return second
    return len(unsent)


@pytest.mark.parametrize(
    ("unsent", "seconds"),
    [
        ([100_000] * 20, SECONDS),
        ([100_000 - 999 * i for i in range(20)], SECONDS),
        ([100_000 - 1000 * i for i in range(20)], 20),
        ([0, 100_000] * 10, 20),
        ([0] * 20, 20),
    ],
    ids=["not at all", "slowly", "fast enough", "what comes", "nothing is left"],
)
async def test_a_client_that_does_not_read_is_let_go(unsent: list[int], seconds: int) -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True)
        await wire.send(GET).answers()

        assert read_by(wire, unsent) == seconds


async def test_one_that_reads_as_fast_as_more_is_sent_is_not() -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True)
        for _ in range(20):
            wire.protocol.resume_writing()
            assert read_by(wire, [65_536]) == 1


async def test_one_that_does_not_read_is_let_go_when_its_connection_is_to_be_closed_too() -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True)
        await wire.send(request("/health/live", b"", "Connection: close", method="GET")).answers()
        aborted: list[Any] = []
        wire.transport.abort = lambda: aborted.append(True)
        wire.transport.unsent = 100_000
        for _ in range(SECONDS + 1):
            assert not aborted
            wire.protocol.second_passed()

    assert aborted


async def test_empty_lines_do_not_put_off_the_end_of_a_connection() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        for _ in range(2):
            timer = wire.protocol.timeout_keep_alive_task
            wire.send(b"\r\n").send(b"\n\r\n\r\n" * 1000)
            assert wire.protocol.timeout_keep_alive_task is timer
            assert not timer.cancelled()
            wire.transport.written.clear()
            await wire.send(b"\r\n" + GET).answers()
            await asyncio.sleep(0)

    assert wire.protocol.timeout_keep_alive_task is not None
