"""The HTTP edge: whatever comes, it is answered with a problem, within bounds of size, number and time."""

import asyncio
from typing import Any

import orjson
import pytest

from riskline.ingest.edge.closing import MAX_UNREAD_BYTES
from riskline.ingest.edge.connection import MAX_FIELDS, MAX_HEAD_BYTES, MAX_URI_BYTES
from riskline.ingest.fastpath.requests import FastPathProtocol
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import MAX_BODY_BYTES, Api
from tests.support.factories import transaction_json
from tests.support.wire import Answer, Wire, request, serving

GOOD = orjson.dumps(transaction_json())
CHUNKED = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def with_head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /health HTTP/1.1", b"Host: a", *lines, b"", b""])


def assert_refused(answer: Answer, status: int, name: str) -> dict[str, Any]:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]
    problem: dict[str, Any] = orjson.loads(answer.body)
    assert problem["type"] == f"urn:riskline:problem:{name}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


async def refused(data: bytes, status: int, name: str, *, api: Api | None = None) -> dict[str, Any]:
    async with serving((api or Api()).app) as server:
        wire = server.connect(fast=True).send(data)
        [answer] = await wire.answers()
        await asyncio.sleep(0.01)
        assert wire.transport.over
        assert bytes(wire.transport.written).count(b"HTTP/1.1 %d" % status) == 1
    return assert_refused(answer, status, name)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO / HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/2.0\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        with_head(b"A b: c"),
        with_head(b"A: \x00"),
        with_head(b"no colon"),
        with_head(b"A: b", b" folded"),
        request("/transactions", GOOD, "Content-Length: 7"),
        request("/transactions", GOOD, "Transfer-Encoding: chunked"),
        b"POST /transactions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /transactions HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
        b"POST /transactions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"POST /transactions HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"0" * 5000 + b"7\r\n\r\n",
        b"POST /score-transaction HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"0" * 21 + b"\r\n\r\n",
        b"GET /health HTTP/2.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        request("/score-transaction", GOOD, "Host: localhost"),
        request("/transactions", GOOD, "Host: b"),
    ],
)
async def test_what_is_not_http_is_a_problem(data: bytes) -> None:
    await refused(data, 400, "bad-request")


HOSTS = {
    b"": False,
    b"a b": False,
    b"a,b": True,
    b"a/b": False,
    b"a@b": False,
    b"http://a": False,
    b"a:8000:1": False,
    b"a:x": False,
    b"a:800000": False,
    b"[::1": False,
    b"a%zz": False,
    b"\xc3\xa9": False,
    b"a": True,
    b"api_server:8000": True,
    b"a.example.": True,
    b"127.0.0.1:": True,
    b"[::1]:8000": True,
    b"a%2d": True,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
async def test_a_host_is_a_name_or_an_address_and_a_port(host: bytes, path: str) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(request(path, GOOD).replace(b"Host: localhost", b"Host: " + host))
        [answer] = await wire.answers()

    assert (answer.status == 400) is not HOSTS[host]


async def test_a_client_of_http_1_0_need_not_name_a_host_nor_is_it_offered_another_protocol() -> None:
    lines = (
        b"GET /health HTTP/1.0\r\n",
        b"Connection: keep-alive, upgrade\r\nUpgrade: h2c\r\n",
        b"Host: a\r\nHost: b\r\n",
    )
    found = []
    async with serving(Api().app) as server:
        for data in (lines[0], lines[0] + lines[1], lines[0] + lines[2]):
            wire = server.connect(fast=True).send(data + b"\r\n")
            [answer] = await wire.answers()
            await asyncio.sleep(0)
            found.append((answer.status, answer.headers["connection"], wire.transport.over))

    assert found == [(200, "close", True), (200, "close", True), (400, "close", True)]


async def test_a_content_length_may_begin_with_zeros() -> None:
    data = request("/score-transaction", GOOD).replace(b"Content-Length: ", b"Content-Length: " + b"0" * 16)
    async with serving(Api().app) as server:
        found = await server.connect(fast=True).send(data * 2).answers(2)

    assert [answer.status for answer in found] == [200, 200]


async def test_a_fault_of_ours_while_a_request_is_read_is_not_laid_to_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(FastPathProtocol, "_plain_request", broken)

    await refused(request("/score-transaction", GOOD), 500, "internal-error")


async def test_options_of_the_server_as_a_whole_is_no_path() -> None:
    async with serving(Api().app) as server:
        [answer] = await server.connect(fast=True).send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").answers()

    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"5\r\nabcdefg\r\n", b"f" * 17 + b"\r\n"])
@pytest.mark.parametrize("door", [b"/score-transaction", b"/transactions", b"/transactions/batch"])
async def test_a_bad_chunk_is_a_problem_and_what_came_before_it_is_not_taken(door: bytes, chunk: bytes) -> None:
    api = Api()

    await refused(CHUNKED % door + b"%x\r\n%b\r\n" % (len(GOOD), GOOD) + chunk, 400, "bad-request", api=api)

    assert api.store.records == {}
    assert api.recorder.pending == 0


async def test_a_body_that_breaks_off_with_its_connection_is_not_taken() -> None:
    api = Api()
    async with serving(api.app) as server:
        for data in (CHUNKED % b"/transactions" + b"%x\r\n%b\r\n" % (len(GOOD), GOOD), request("/transactions", GOOD)):
            wire = server.connect(fast=True).send(data.replace(b"Content-Length: ", b"Prefer: a\r\nContent-Length: 1"))
            await asyncio.sleep(0.01)
            wire.protocol.connection_lost(None)
            await asyncio.sleep(0.01)

    assert api.store.records == {}


@pytest.mark.parametrize(
    ("data", "status", "name"),
    [
        (with_head(b"Expect: a miracle"), 417, "expectation-failed"),
        (with_head(*[b"A: b"] * MAX_FIELDS), 431, "head-too-large"),
        (with_head(b"A: " + b"b" * MAX_HEAD_BYTES), 431, "head-too-large"),
        (with_head(b"A: " + b"b" * 2 * MAX_HEAD_BYTES)[:-4], 431, "head-too-large"),
        (b"GET /health?" + b"a" * MAX_URI_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri-too-long"),
        (b"GET /health?" + b"a" * 3 * MAX_HEAD_BYTES, 414, "uri-too-long"),
    ],
)
async def test_what_is_too_large_is_refused(data: bytes, status: int, name: str) -> None:
    problem = await refused(data, status, name)

    assert len(orjson.dumps(problem)) < 1000


async def test_heads_within_the_limits_are_taken() -> None:
    data = with_head(*[b"A%d: b" % number for number in range(MAX_FIELDS - 1)])
    long = b"GET /health?" + b"a" * (MAX_URI_BYTES - 12) + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    async with serving(Api().app) as server:
        found = await server.connect(fast=True).send(data + long).answers(2)

    assert [answer.status for answer in found] == [200, 200]


async def test_a_head_is_not_taken_for_large_because_it_begins_in_the_piece_of_a_large_body() -> None:
    batch = request("/transactions/batch", b"").replace(b"Content-Length: 0", b"Content-Length: 200000")
    head = request("/score-transaction", GOOD)
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(batch + b"[]".rjust(200_000) + head[:30])
        found = await wire.send(head[30:]).answers(2)

    assert [answer.status for answer in found] == [422, 200]


async def test_a_head_that_is_too_large_is_seen_behind_a_body_too() -> None:
    data = request("/health", b"") + with_head(b"A: " + b"b" * MAX_HEAD_BYTES)
    async with serving(Api().app) as server:
        found = await server.connect(fast=True).send(data).answers(2)

    assert [answer.status for answer in found] == [405, 431]


async def test_a_refusal_comes_after_the_answers_to_the_requests_before_it() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        waits = b"POST /transactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nPrefer: wait=1\r\n"
        wire.send(waits + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD + request("/health", b"") + b"\x00\r\n\r\n")
        wire.send(b"more")
        assert not wire.transport.over
        found = await wire.answers(3)

    assert [answer.status for answer in found] == [202, 405, 400]
    assert_refused(found[2], 400, "bad-request")
    assert wire.transport.over


async def test_a_body_that_nobody_wants_is_read_for_a_while_and_no_longer() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        head = request("/transactions", b"").replace(b"Content-Length: 0", b"Content-Length: 999999999")
        [answer] = await wire.send(head + b" " * MAX_BODY_BYTES).answers()
        for _ in range(MAX_UNREAD_BYTES // 100_000):
            wire.send(b" " * 100_000)
        assert not wire.transport.over
        wire.send(b" " * 100_000)

    assert answer.status == 413
    assert wire.transport.over


async def test_a_request_is_not_lost_for_offering_another_protocol() -> None:
    offers = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    data = request("/score-transaction", GOOD, *offers)
    for size in (len(data), 10):
        async with serving(Api().app) as server:
            wire = server.connect(fast=True)
            for start in range(0, len(data), size):
                wire.send(data[start : start + size])
            found = await wire.send(request("/score-transaction", GOOD)).answers(2)

        assert [answer.status for answer in found] == [200, 200]
        assert orjson.loads(found[0].body)["transaction_id"] == transaction_json()["transaction_id"]


async def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        wire.send(request("/score-transaction", GOOD, "Expect: 100-continue", version="1.0"))
        await wire.answers()

    assert bytes(wire.transport.written).startswith(b"HTTP/1.1 200")


def seconds_pass(wire: Wire, count: int, data: bytes = b"") -> None:
    for _ in range(count):
        if data and not wire.transport.over:
            wire.send(data)
        wire.protocol.second_passed()


async def test_requests_under_way_when_their_client_leaves_disturb_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(get("/decisions?wait=0.05") + get("/health") * 2)
        await asyncio.sleep(0.01)
        wire.transport.close()
        wire.protocol.connection_lost(ConnectionResetError())
        await asyncio.sleep(0.1)

    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert wire.transport.written == b""
    assert wire.protocol.timeout_keep_alive_task is None


SLOW = {"request_timeout": 5}
BEGINNINGS = {
    "request line": b"GET /hea",
    "head": b"GET /health HTTP/1.1\r\nA: b",
    "body": request("/score-transaction", GOOD, "Prefer: a")[:-100],
    "plain body": request("/score-transaction", GOOD)[:-100],
    "batch": CHUNKED % b"/transactions/batch" + b"fff\r\n[   ",
}


@pytest.mark.parametrize("name", BEGINNINGS)
async def test_a_request_that_comes_too_slowly_is_answered_408(name: str) -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True).send(BEGINNINGS[name])
        await asyncio.sleep(0.01)
        seconds_pass(wire, 1)
        seconds_pass(wire, 3, b"a" if name == "request line" else b" ")
        assert not wire.transport.over
        seconds_pass(wire, 1)
        [answer] = await wire.answers()

    assert_refused(answer, 408, "request-timeout")
    assert wire.transport.over


async def test_a_large_body_may_take_as_long_as_it_needs_while_it_comes() -> None:
    async with serving(Api(limits=SLOW).app) as server:
        wire = server.connect(fast=True).send(CHUNKED % b"/transactions/batch")
        seconds_pass(wire, 60, b"3e8\r\n" + b" " * 1000 + b"\r\n")
        [answer] = await wire.send(b"2\r\n[]\r\n0\r\n\r\n").answers()

    assert answer.status == 422


async def test_a_client_that_waits_for_its_answer_is_not_slow() -> None:
    api = Api(limits=SLOW)
    async with serving(api.app) as server:
        wire = server.connect(fast=True).send(request("/transactions", GOOD, "Prefer: wait=1"))
        await asyncio.sleep(0.01)
        seconds_pass(wire, 60)
        [answer] = await wire.answers()

    assert answer.status == 202


async def test_a_connection_that_sends_nothing_or_empty_lines_is_closed() -> None:
    async with serving(Api(limits={"request_timeout": 0.1}).app) as server:
        silent, empty = server.connect(fast=True), server.connect(fast=True)
        empty.protocol.timeout_keep_alive = 0.1
        empty.send(b"\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (silent.transport.closed and empty.transport.over):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # a transport wakes nobody

    assert not silent.transport.written


async def test_slow_requests_are_looked_for_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.edge.limits.TICK_SECONDS", 0.02)
    async with serving(Api(limits={"request_timeout": 0.1}).app) as server:
        [answer] = await server.connect(fast=True).send(b"GET ").answers()

    assert_refused(answer, 408, "request-timeout")


async def test_connections_beyond_the_limit_are_told_so_and_those_within_go_on() -> None:
    async with serving(Api(limits={"max_connections": 2}).app) as server:
        first, second, third = (server.connect(fast=True) for _ in range(3))
        [answer] = await third.send(request("/score-transaction", GOOD)).answers()
        third.protocol.connection_lost(None)
        assert third.transport.over
        assert [(await each.send(request("/health", b"")).answers())[0].status for each in (first, second)] == [405] * 2
        second.protocol.connection_lost(None)
        [again] = await server.connect(fast=True).send(request("/score-transaction", GOOD)).answers()

    assert_refused(answer, 503, "too-many-connections")
    assert answer.headers["retry-after"] == "1"
    assert again.status == 200


async def test_far_too_many_connections_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.edge.connection.TURNED_AWAY_AT_A_TIME", 1)
    async with serving(Api(limits={"max_connections": 1}).app) as server:
        wires = [server.connect(fast=True) for _ in range(4)]

    assert [wire.transport.over for wire in wires] == [False, False, True, True]


def test_a_connection_is_still_the_servers_own() -> None:
    assert FastPathProtocol.__mro__[4].__name__ == "HttpToolsProtocol"


@pytest.mark.parametrize("path", ["/health", "/transactions/nobody", "/docs", "/metrics", "/decisions"])
def test_head_gives_the_headers_that_get_gives(path: str) -> None:
    client = Api().client

    head, get = client.simulate_head(path), client.simulate_get(path)

    names = ("content-type", "etag", "cache-control", "allow")
    assert head.status_code == get.status_code
    assert {name: head.headers.get(name) for name in names} == {name: get.headers.get(name) for name in names}
    assert head.content == b""


@pytest.mark.parametrize(("path", "methods"), [("/health", "GET, HEAD"), ("/transactions", "POST")])
def test_options_gives_the_methods(path: str, methods: str) -> None:
    answer = Api().client.simulate_options(path)

    assert (answer.status_code, answer.headers["allow"]) == (200, methods)


ORIGIN = "https://ops.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize(
    ("allowed", "origin", "told"),
    [((), ORIGIN, None), ((ORIGIN,), ORIGIN, ORIGIN), ((ORIGIN,), "https://evil.example", None), (("*",), ORIGIN, "*")],
)
def test_pages_of_other_origins_may_call_only_where_that_is_set(
    allowed: tuple[str, ...], origin: str, told: str | None
) -> None:
    client = Api(cors_origins=allowed).client

    preflight = client.simulate_options("/transactions", headers={"Origin": origin, **PREFLIGHT})
    answer = client.simulate_post("/score-transaction", json=transaction_json(), headers={"Origin": origin})

    assert preflight.headers.get("access-control-allow-origin") == told
    assert preflight.headers.get("access-control-allow-methods") == ("POST" if told else None)
    assert answer.status_code == 200
    assert answer.headers.get("access-control-allow-origin") == told


async def test_a_page_of_another_origin_is_told_so_whatever_way_its_request_goes() -> None:
    async with serving(Api(cors_origins=(ORIGIN,)).app) as server:
        wire = server.connect(fast=True)
        await wire.send(request("/score-transaction", GOOD)).answers()
        [_, answer] = await wire.send(request("/score-transaction", GOOD, f"Origin: {ORIGIN}")).answers(2)

    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        ("application/json", 200),
        ("application/*;q=0.5", 200),
        ("text/html, */*;q=0.1", 200),
        ("", 200),
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("image/png, text/plain", 406),
    ],
)
async def test_who_takes_no_json_is_told_before_anything_is_done(accept: str | None, status: int) -> None:
    headers = [] if accept is None else [f"Accept: {accept}"]
    api = Api()
    async with serving(api.app) as server:
        [answer] = await server.connect(fast=True).send(request("/score-transaction", GOOD, *headers)).answers()

    assert answer.status == status
    assert (api.recorder.pending == 0) is (status == 406)
    if status == 406:
        assert orjson.loads(answer.body)["type"] == "urn:riskline:problem:not-acceptable"


def test_metrics_and_pages_are_given_whatever_is_accepted() -> None:
    answers = [Api().client.simulate_get(path, headers={"Accept": "image/png"}) for path in ("/metrics", "/docs")]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_who_finds_no_place_to_wait_is_answered_at_once() -> None:
    api = Api(max_waits=1)
    other = orjson.dumps(transaction_json(transaction_id="b"))
    async with serving(api.app) as server:
        server.connect(fast=True).send(request("/transactions", GOOD, "Prefer: wait=5"))
        await asyncio.sleep(0.05)
        started = asyncio.get_running_loop().time()
        [answer] = await server.connect(fast=True).send(request("/transactions", other, "Prefer: wait=5")).answers()
        [state] = await server.connect(fast=True).send(get("/transactions/b?wait=5")).answers()
        [page] = await server.connect(fast=True).send(get("/decisions?wait=5")).answers()
        assert asyncio.get_running_loop().time() - started < 1
        api.waiting.end_waits()

    assert (answer.status, answer.headers["preference-applied"]) == (202, "wait=0")
    assert (state.status, state.headers["retry-after"]) == (200, "1")
    assert (page.status, page.headers["retry-after"]) == (200, "1")


async def test_a_place_to_wait_is_free_again_once_its_client_is_answered() -> None:
    api = Api(max_waits=1)
    async with serving(api.app) as server:
        for _ in range(3):
            await server.connect(fast=True).send(get("/decisions?wait=0.05")).answers()

    assert not api.feed.places.full


def get(path: str) -> bytes:
    return request(path, b"", method="GET")
