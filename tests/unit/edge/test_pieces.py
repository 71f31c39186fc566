"""Whatever a client sends at once is read one request after the other, in turns with others, and within bounds."""

import asyncio
import random
from typing import Any

import orjson
import pytest
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from riskline.ingest.edge.pieces import PIECES_AT_A_TIME
from riskline.ingest.edge.turns import PIECES_A_TURN, Turns
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.wire import Wire, request, serving

GOOD = orjson.dumps(transaction_json())
GET = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
SCORE = request("/score-transaction", GOOD)
UPGRADE = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
CHUNKED = request("/score-transaction", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
KINDS = {
    GET: 200,
    SCORE: 200,
    UPGRADE: 200,
    request("/score-transaction", GOOD, "Connection: upgrade", "Upgrade: x"): 200,
    request("/score-transaction", GOOD, "Prefer: a"): 200,
    request("/score-transaction", b"\r\n\r\n" + GOOD + b"\r\n\r\n\r\n", "X-Request-ID: a"): 200,
    request("/transactions", orjson.dumps(transaction_json(transaction_id="b"))): 202,
    request("/transactions", b"\r\n\r\n"): 400,
    CHUNKED + b"4;a=b\r\n\r\n\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD): 200,
    CHUNKED + b"%x\r\n%b\r\n0;x\r\nA: b\r\nC: d\r\n\r\n" % (len(GOOD), GOOD): 200,
    b"\r\n\r\n" + GET: 200,
}


def decided(wire: Wire) -> int:
    return bytes(wire.transport.written).count(b"HTTP/1.1 200 ")


async def turn() -> None:
    await asyncio.sleep(0)


async def until_decided(wire: Wire, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while decided(wire) < count:  # a transport wakes nobody
            await turn()


async def test_of_requests_behind_each_other_one_is_read_and_the_others_wait_unread() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        wire.send(GET * 2000)

        for _ in range(100):
            assert len(server.server_state.tasks) <= 1
            assert not wire.protocol.pipeline
            assert wire.protocol._held
            assert not wire.transport.reading
            assert wire.protocol._edge.held_bytes == len(GET) * 2000
            await turn()
        await until_decided(wire, 2000)
        await turn()

        assert wire.transport.reading
        assert wire.protocol._edge.held_bytes == 0


async def test_an_application_that_reads_on_takes_no_more_from_a_client_that_is_ahead() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(request("/decisions?wait=5", b"", method="GET") + GET * 10)
        await turn()
        wire.protocol.flow.resume_reading()

        assert not wire.transport.reading


async def test_decisions_of_one_client_are_made_so_many_in_a_turn() -> None:
    async with serving(Api(record_capacity=1000).app) as server:
        wire = server.connect(fast=True).send(SCORE * 500)
        made = [decided(wire)]
        while made[-1] < 500:
            await turn()
            made.append(decided(wire))

    assert max(after - before for before, after in zip([0, *made], made, strict=False)) <= PIECES_AT_A_TIME


@pytest.mark.parametrize("seed", range(60))
async def test_requests_of_any_kind_are_answered_in_their_order_however_they_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    sent = chance.choices(list(KINDS), k=12)
    data = b"".join(sent)
    async with serving(Api(record_capacity=1000).app) as server:
        wire = server.connect(fast=True)
        while data:
            size = chance.choice((1, 2, 3, 5, 60, 300, 5000))
            wire.send(data[:size])
            assert not wire.protocol.pipeline
            data = data[size:]
            if chance.random() < 0.3:
                await turn()
        found = await wire.answers(len(sent))

    assert [answer.status for answer in found] == [KINDS[each] for each in sent]
    assert not wire.transport.over


async def test_an_offer_of_another_protocol_may_be_made_any_number_of_times(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(UPGRADE * 1500)
        await until_decided(wire, 1500)

    assert not wire.transport.over
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_where_many_connections_are_busy_so_many_are_read_in_a_turn_and_the_others_in_their_order() -> None:
    count = PIECES_A_TURN * 2 + 50
    async with serving(Api(record_capacity=4000).app) as server:
        wires = [server.connect(fast=True) for _ in range(count)]
        for wire in wires:
            wire.send(SCORE)
        at_once = [decided(wire) for wire in wires]
        await turn()
        after_one = [decided(wire) for wire in wires]
        for _ in range(3):
            await turn()

        # two of one piece: whether its head is known, and then the parser
        assert PIECES_A_TURN // 2 <= sum(at_once) <= PIECES_A_TURN
        assert at_once == sorted(at_once, reverse=True)
        assert sum(after_one) <= sum(at_once) + PIECES_A_TURN
        assert after_one == sorted(after_one, reverse=True)
        assert [decided(wire) for wire in wires] == [1] * count


async def test_few_connections_wait_for_no_turn() -> None:
    async with serving(Api(record_capacity=4000).app) as server:
        wires = [server.connect(fast=True) for _ in range(PIECES_A_TURN)]
        for wire in wires * 3:
            wire.send(SCORE)

    assert [decided(wire) for wire in wires] == [3] * PIECES_A_TURN


async def busy(api: Api, data: bytes, before: int) -> tuple[list[Wire], Any]:
    async with serving(api.app) as server:
        wires = [server.connect(fast=True) for _ in range(PIECES_A_TURN + before)]
        last = server.connect(fast=True)
        if data.startswith(b"POST"):
            # its head is known
            await last.send(data).answers()
            last.transport.written.clear()
        for wire in wires:
            wire.send(SCORE)
        last.send(data)
        [answer] = await last.answers()
        assert not last.transport.over
    return wires, answer


async def test_a_decision_is_refused_where_as_many_requests_wait_as_may() -> None:
    api = Api(record_capacity=4000, limits={"max_in_flight": 100})

    wires, answer = await busy(api, SCORE, before=PIECES_A_TURN)

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert orjson.loads(answer.body)["type"] == "urn:riskline:problem:too-busy"
    assert answer.headers["content-type"] == "application/problem+json"
    assert 0 < sum(b"HTTP/1.1 503 " in wire.transport.written for wire in wires) < PIECES_A_TURN
    assert api.recorder.pending == 1 + sum(decided(wire) for wire in wires)


@pytest.mark.parametrize("data", [GET, request("/transactions", GOOD)], ids=["liveness", "queue"])
async def test_what_is_no_decision_waits_its_turn_and_is_not_refused(data: bytes) -> None:
    _, answer = await busy(Api(record_capacity=4000, limits={"max_in_flight": 100}), data, before=PIECES_A_TURN)

    assert answer.status in (200, 202)


@pytest.mark.parametrize("fast", [True, False])
async def test_both_ways_refuse_in_the_same_words(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "full", property(lambda _: True))
    monkeypatch.setattr(Turns, "take", lambda *_: False)
    for module in ("fastpath.requests", "edge.pieces"):
        monkeypatch.setattr(f"riskline.ingest.{module}.PIECES_A_TURN", 0)
    async with serving(Api().app) as server:
        [answer] = (
            await server.connect(fast=fast).send(request("/score-transaction", GOOD, "X-Request-ID: a")).answers()
        )

    answer.headers.pop("date")
    assert answer.status == 503
    assert answer.headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(answer.body)),
        "x-request-id": "a",
        "retry-after": "1",
        "link": '</docs/problems/too-busy>; rel="help"',
    }
    assert orjson.loads(answer.body)["instance"] == "/score-transaction"


async def test_decisions_that_wait_for_their_record_are_in_flight_too(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(strict=True, limits={"max_in_flight": 3})
    record, redis_answers = api.store.record, asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        await redis_answers.wait()
        return await record(*args, **options)

    monkeypatch.setattr(api.store, "record", slow)
    async with serving(api.app) as server:
        wires = [server.connect(fast=True).send(SCORE) for _ in range(5)]
        refused = [(await wire.answers())[0].status for wire in wires[3:]]
        redis_answers.set()
        taken = [(await wire.answers())[0].status for wire in wires[:3]]
        [again] = await server.connect(fast=True).send(SCORE).answers()

    assert (refused, taken, again.status) == ([503, 503], [200, 200, 200], 200)


async def test_the_process_holds_so_much_of_what_nobody_has_looked_at_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("riskline.ingest.edge.pieces.MAX_HELD_BYTES", 100_000)
    wait = request("/decisions?wait=5", b"", method="GET")
    async with serving(Api().app) as server:
        wires = [server.connect(fast=True).send(wait + GET * 1000) for _ in range(4)]
        edge = wires[0].protocol._edge

        assert edge.held_bytes <= 100_000
        assert [wire.transport.over for wire in wires] == [False, False, True, True]
        for wire in wires:
            wire.protocol.connection_lost(None)
        assert edge.held_bytes == 0


async def test_a_body_that_nobody_reads_yet_is_taken_no_further_however_it_is_cut() -> None:
    """Line breaks cut a chunked body into pieces. What is held of them is looked at, and then no more is read."""
    part = b"\r\n\r\n" * PIECES_AT_A_TIME * 64
    chunk = b"%x\r\n%b\r\n" % (len(part), part)
    api = Api()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (api.app(scope, receive, send) if scope["type"] == "lifespan" else asyncio.Event().wait())

    async with serving(app) as server:
        wire = server.connect(fast=True).send(CHUNKED)
        for _ in range(1000):
            if wire.transport.reading:
                wire.send(chunk)
            await turn()
        [task] = server.server_state.tasks
        task.cancel()

    assert not wire.protocol._held
    assert len(wire.protocol.cycle.body) <= HIGH_WATER_LIMIT + 2 * len(part)


@pytest.mark.parametrize("more", [b"", SCORE, SCORE[:-10]])
async def test_what_waits_for_its_turn_when_the_server_stops_is_answered_before_the_connection_closes(
    more: bytes,
) -> None:
    async with serving(Api(record_capacity=4000).app) as server:
        wires = [server.connect(fast=True) for _ in range(PIECES_A_TURN + 3)]
        for wire in wires:
            wire.send(SCORE + more)
        late = [wire for wire in wires if not wire.transport.written]
        for wire in wires:
            wire.protocol.shutdown()

        assert not any(wire.transport.over for wire in late)
        answers = [await wire.answers() for wire in late]
        for _ in range(5):
            await turn()

    assert len(late) >= 3
    assert [answer.status for [answer] in answers] == [200] * len(late)
    assert all(wire.transport.over for wire in late)


async def test_a_part_of_a_head_that_waits_for_its_turn_when_the_server_stops_keeps_no_connection() -> None:
    async with serving(Api(record_capacity=4000).app) as server:
        wires = [server.connect(fast=True) for _ in range(PIECES_A_TURN + 3)]
        for wire in wires:
            wire.send(SCORE[:20])
        for wire in wires:
            wire.protocol.shutdown()
        for _ in range(5):
            await turn()

    assert all(wire.transport.over for wire in wires)
