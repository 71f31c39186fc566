"""The fast path answers what the ordinary way answers, to the byte; it only answers sooner."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import orjson
import pytest
from pydantic import model_validator

from riskline.ingest.fastpath.requests import FastPathProtocol
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.telemetry.metrics import exposition
from tests.support.api import MAX_BODY_BYTES, Api
from tests.support.factories import transaction_json
from tests.support.wire import Answer, request, serving

GOOD = orjson.dumps(transaction_json(amount=9214))
APPROVED = orjson.dumps(transaction_json(amount=1))
KEPT = (
    "date",
    "content-type",
    "content-length",
    "location",
    "retry-after",
    "preference-applied",
    "allow",
    "connection",
    "ratelimit",
    "ratelimit-policy",
)

REQUESTS = {
    "good": request("/score-transaction", GOOD),
    "approved": request("/score-transaction", APPROVED),
    "explained": request("/score-transaction?explain=true", APPROVED),
    "not explained": request("/score-transaction?explain=false", APPROVED),
    "queued": request("/transactions", GOOD),
    "queued, explained": request("/transactions?explain=true", APPROVED),
    "own request id": request("/score-transaction", GOOD, "X-Request-ID: mine-1"),
    "insane request id": request("/score-transaction", GOOD, "X-Request-ID: a b"),
    "keep-alive": request("/score-transaction", GOOD, "Connection: keep-alive"),
    "close": request("/score-transaction", GOOD, "Connection: close"),
    "queued, close": request("/transactions", GOOD, "Connection: close"),
    "HTTP/1.0": request("/score-transaction", GOOD, version="1.0"),
    "charset": request("/score-transaction", GOOD, "Content-Type: application/json; charset=utf-8"),
    "text": request("/score-transaction", GOOD, "Content-Type: text/plain"),
    "twice the same header": request("/score-transaction", GOOD, "X-A: 1", "X-A: 2"),
    "not JSON": request("/score-transaction", b"{"),
    "queued, not JSON": request("/transactions", b"{"),
    "no body": request("/score-transaction", b""),
    "invalid": request("/score-transaction", orjson.dumps(transaction_json(amount=-1, foo=1))),
    "queued, invalid": request("/transactions", orjson.dumps(transaction_json(amount=None))),
    "integral float": request("/score-transaction", orjson.dumps(transaction_json(customer_age=24.0))),
    "too large": request("/score-transaction", GOOD + b" " * MAX_BODY_BYTES),
    "as large as may be": request("/score-transaction", GOOD + b" " * (MAX_BODY_BYTES - len(GOOD))),
    "chunked": (
        b"POST /score-transaction HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    ),
    "wrong parameter": request("/score-transaction?explain=yes", GOOD),
    "other parameter": request("/score-transaction?x=1", GOOD),
    "wrong method": request("/score-transaction", GOOD, method="PUT"),
    "wait": request("/transactions", GOOD, "Prefer: wait=0"),
    "unknown path": request("/score-transactions", GOOD),
    "trailing slash": request("/score-transaction/", GOOD),
}


def comparable(answer: Answer) -> tuple[Any, ...]:
    body = orjson.loads(answer.body)
    for name in ("scored_at", "submitted_at"):
        body.pop(name, None)
    mine = answer.headers["x-request-id"] == "mine-1"
    return answer.status, {name: answer.headers.get(name) for name in KEPT}, mine, body


async def answers_of(data: bytes, *, fast: bool, before: bytes = b"", **options: Any) -> list[Any]:
    api = Api(**options)
    async with serving(api.app) as server:
        wire = server.connect(fast=fast)
        if before:
            await wire.send(before).answers()
        found = await wire.send(data).answers(2 if before else 1)
        return [comparable(found[-1]), wire.transport.closed, api.store.records.keys(), api.recorder.pending]


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_give_the_same_answer(name: str) -> None:
    fast = await answers_of(REQUESTS[name], fast=True)

    assert fast == await answers_of(REQUESTS[name], fast=False)


@pytest.mark.parametrize("again", [GOOD, APPROVED], ids=["repetition", "conflict"])
async def test_both_ways_give_the_same_answer_to_a_known_id(again: bytes) -> None:
    before, then = request("/transactions", GOOD), request("/transactions", again)

    assert await answers_of(then, fast=True, before=before) == await answers_of(then, fast=False, before=before)


class Rebuilding(Transaction):
    """Makes another transaction of what it checked, as no rule for classes can see."""

    @model_validator(mode="after")
    def rebuild(self) -> Self:
        made = "a\r\nSet-Cookie: b=1" if self.amount == orjson.loads(GOOD)["amount"] else self.transaction_id
        return self.model_copy(update={"transaction_id": made})


@pytest.mark.parametrize("fast", [True, False])
async def test_an_id_that_a_class_made_of_anything_adds_no_header(*, fast: bool) -> None:
    api = Api(transaction_class=Rebuilding)
    async with serving(api.app) as server:
        (answer,) = await server.connect(fast=fast).send(request("/transactions", GOOD)).answers()

    assert answer.headers["location"] == "/transactions/a%0D%0ASet-Cookie:%20b%3D1"
    assert "set-cookie" not in answer.headers


async def test_both_ways_refuse_what_the_queue_has_no_room_for() -> None:
    before = request("/transactions", GOOD)
    then = request("/transactions", orjson.dumps(transaction_json(transaction_id="b")))

    fast = await answers_of(then, fast=True, before=before, queue_limit=1)

    assert fast == await answers_of(then, fast=False, before=before, queue_limit=1)
    assert fast[0][0] == 503


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
async def test_both_ways_say_what_is_missing(path: str) -> None:
    found = []
    for fast in (True, False):
        api = Api(BundleError("no model"))
        api.store.away = True
        async with serving(api.app) as server:
            found += await server.connect(fast=fast).send(request(path, GOOD)).answers()

    assert comparable(found[0]) == comparable(found[1])
    assert found[0].status == 503


async def test_the_fast_path_is_what_plain_requests_take(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = []
    monkeypatch.setattr(FastPathProtocol, "_start_asgi_task", lambda *each: tasks.append(each))
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        for number, path in enumerate(("/score-transaction", "/transactions"), start=1):
            await wire.send(request(path, GOOD, "User-Agent: curl", "Accept: */*")).answers(number)

    assert tasks == []


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_requests_behind_each_other_are_answered_in_their_order_however_they_are_cut(size: int) -> None:
    data = b"".join(
        request(
            "/score-transaction" if i % 3 else "/transactions",
            orjson.dumps(transaction_json(transaction_id=str(i), amount=-1 if i % 4 == 0 else 1)),
            *(["Prefer: wait=0"] if i % 5 == 0 else []),
        )
        for i in range(1, 20)
    )
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        for start in range(0, len(data), size):
            wire.send(data[start : start + size])
        found = await wire.answers(19)

    for i, answer in enumerate(found, start=1):
        body = orjson.loads(answer.body)
        assert answer.status == (422 if i % 4 == 0 else 200 if i % 3 else 202)
        assert body.get("transaction_id", str(i)) == str(i)


async def test_a_request_of_which_a_part_is_here_when_the_server_stops_is_answered_before_the_connection_closes() -> (
    None
):
    data = request("/score-transaction", GOOD)
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        wire.send(data[:-10])
        wire.protocol.shutdown()
        assert not wire.transport.closed
        [answer] = await wire.send(data[-10:]).answers()

    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert wire.transport.closed


async def test_a_submission_under_way_when_the_server_stops_is_answered_before_the_connection_closes() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True).send(request("/transactions", GOOD))
        wire.protocol.shutdown()
        [answer] = await wire.answers()

    assert (answer.status, answer.headers["connection"]) == (202, "close")
    assert wire.transport.closed


async def test_a_client_that_leaves_before_its_commit_disturbs_nobody() -> None:
    api = Api()
    async with serving(api.app) as server:
        gone = server.connect(fast=True).send(request("/transactions", GOOD))
        gone.transport.close()
        gone.protocol.connection_lost(None)
        other = server.connect(fast=True)
        [answer] = await other.send(
            request("/transactions", orjson.dumps(transaction_json(transaction_id="b")))
        ).answers()

    assert answer.status == 202
    assert api.store.waiting == ["TXN-99827364", "b"]


async def test_a_client_that_does_not_read_is_not_read_from_either() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        wire.protocol.pause_writing()
        for _ in range(3):
            wire.send(request("/score-transaction", GOOD))
            await asyncio.sleep(0.01)
        assert not wire.transport.written
        assert not wire.transport.reading
        wire.protocol.resume_writing()
        found = await wire.answers(3)

    assert [answer.status for answer in found] == [200] * 3


class LoopClock:
    """A loop whose time goes on only as a test says; all else is the real one's."""

    def __init__(self, loop: Any) -> None:
        self._loop, self._now, self._timers = loop, loop.time(), list[tuple[float, asyncio.Handle]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now

    def call_later(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> asyncio.Handle:
        handle = asyncio.Handle(call, arguments, self._loop)
        self._timers.append((self._now + seconds, handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while due := min((each for each in self._timers if each[0] <= end), default=None, key=lambda each: each[0]):
            self._timers.remove(due)
            self._now, handle = due
            if not handle.cancelled():
                handle._run()
        self._now = end


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions", "/score-transaction?explain=yes"])
async def test_a_connection_is_closed_when_it_was_idle_for_long_and_no_sooner(path: str) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        wire.protocol.timeout_keep_alive = 5
        wire.protocol.loop = clock = LoopClock(wire.protocol.loop)
        for number in range(1, 5):
            await wire.send(request(path, GOOD)).answers(number)
            clock.advance(4)
        assert not wire.transport.closed
        clock.advance(2)

        assert wire.transport.closed


async def test_a_head_that_is_known_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    begin = FastPathProtocol.on_message_begin
    monkeypatch.setattr(FastPathProtocol, "on_message_begin", lambda each: (parsed.append(each), begin(each))[1])
    async with serving(Api().app) as server:
        first, second = server.connect(fast=True), server.connect(fast=True)
        for number in range(1, 4):
            await first.send(request("/score-transaction", GOOD)).answers(number)
            await second.send(request("/transactions", GOOD)).answers(number)

    assert len(parsed) == 2 + 2, "one for each head, and two repetitions that went the ordinary way"


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_is_answered_the_same_when_its_head_is_known(name: str) -> None:
    data = REQUESTS[name]
    found = []
    async with serving(Api().app) as server:
        for _ in range(3):
            wire = server.connect(fast=True)
            found += await wire.send(data).answers()

    assert comparable(found[0]) == comparable(found[1]) == comparable(found[2])


async def test_what_only_looks_like_a_known_head_is_parsed() -> None:
    good = request("/score-transaction", GOOD)
    other = orjson.dumps(transaction_json(transaction_id="TXN-99827365", amount=9214))
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        await wire.send(good).answers(1)
        wire.send(good[:-1])
        [_, cut] = await wire.send(good[-1:] + request("/score-transaction", other)).answers(2)
        [*_, behind] = await wire.answers(3)
        [*_, led] = await wire.send(b"\r\n\r\n" + good).answers(4)

    assert orjson.loads(cut.body)["transaction_id"] == "TXN-99827364"
    assert orjson.loads(behind.body)["transaction_id"] == "TXN-99827365"
    assert led.status == 200


async def test_requests_behind_a_submission_wait_for_its_answer() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        for i in range(5):
            wire.send(request("/transactions", orjson.dumps(transaction_json(transaction_id=str(i)))))
            wire.send(request("/score-transaction", orjson.dumps(transaction_json(transaction_id=f"s{i}"))))
        found = await wire.answers(10)

    ids = [orjson.loads(answer.body)["transaction_id"] for answer in found]
    assert ids == [name for i in range(5) for name in (str(i), f"s{i}")]
    assert [answer.status for answer in found] == [202, 200] * 5


async def test_both_ways_are_counted_and_timed_alike() -> None:
    async def counted(*, fast: bool) -> dict[str, float]:
        before = _samples()
        async with serving(Api().app) as server:
            wire = server.connect(fast=fast)
            for number, path in enumerate(("/score-transaction", "/transactions"), start=1):
                await wire.send(request(path, GOOD)).answers(number)
            # the ordinary way counts when its answer is out
            await asyncio.sleep(0.01)
        after = _samples()
        return {name: after[name] - before.get(name, 0) for name in after if "_count{" in name or "_total" in name}

    fast, ordinary = await counted(fast=True), await counted(fast=False)

    assert fast == {**ordinary, **{name: 0.0 for name in fast if name not in ordinary}}
    assert fast['riskline_http_requests_total{method="POST",route="/transactions",status="202"}'] == 1
    assert fast['riskline_http_request_duration_seconds_count{route="/score-transaction",waits="no"}'] == 1


def _samples() -> dict[str, float]:
    lines = [line for line in exposition().decode().splitlines() if line.startswith("riskline_")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def named(path: str, name: str, **changes: Any) -> bytes:
    return request(path, orjson.dumps(transaction_json(transaction_id=name, **changes)))


AT_ONCE, QUEUED = "/score-transaction", "/transactions"
IN_ONE_PIECE = {
    "a known submission last": (named(QUEUED, "B"), named(AT_ONCE, "A") + named(QUEUED, "B")),
    "a conflict last": (named(QUEUED, "B"), named(AT_ONCE, "A") + named(QUEUED, "B", amount=1)),
    "both doors, one body": (b"", named(QUEUED, "X") + named(AT_ONCE, "X")),
    "a submission twice": (b"", named(QUEUED, "X") + named(QUEUED, "X")),
    "three, the last known": (named(QUEUED, "B"), named(AT_ONCE, "A") + named(AT_ONCE, "C") + named(QUEUED, "B")),
}


@pytest.mark.parametrize("away", [False, True], ids=["redis there", "redis away"])
@pytest.mark.parametrize("name", IN_ONE_PIECE)
async def test_requests_in_one_piece_have_an_answer_each_in_their_order_on_both_ways(name: str, *, away: bool) -> None:
    before, data = IN_ONE_PIECE[name]
    count = data.count(b"POST ")
    found = []
    for fast in (True, False):
        api = Api()
        async with serving(api.app) as server:
            if before:
                await server.connect(fast=fast).send(before).answers()
            api.store.away = away
            wire = server.connect(fast=fast).send(data)
            await wire.answers(count)
            await asyncio.sleep(0.05)
            written = bytes(wire.transport.written)
            found.append((written.count(b"HTTP/1.1 "), [comparable(each) for each in await wire.answers(count)]))

    assert found[0] == found[1]
    assert found[0][0] == count


async def test_large_heads_are_not_kept() -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        await wire.send(request(AT_ONCE, GOOD, f"X-Large: {'x' * 4000}")).answers()

        assert wire.protocol._fast_path.heads == {}


@pytest.mark.parametrize(
    "piece", [b"X-Filler: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["many headers", "one header"]
)
async def test_a_head_that_never_ends_is_refused_and_not_kept(piece: bytes) -> None:
    async with serving(Api().app) as server:
        wire = server.connect(fast=True)
        wire.send(b"GET /health HTTP/1.1\r\nX-First: ")
        for _ in range(70):
            if not wire.transport.over:
                wire.send(piece)

        assert wire.transport.over


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "ordinary"])
async def test_a_decision_waits_where_more_are_made_than_can_be_recorded(fast: bool) -> None:
    api = Api()
    pressure = api.recorder.pressure
    async with serving(api.app) as server:
        first, second = server.connect(fast=fast), server.connect(fast=fast)
        # so that the head is known to the fast path
        await first.send(REQUESTS["good"]).answers()
        pressure.is_high = True

        for wire in (first, second):
            wire.send(REQUESTS["good"])
        first.send(REQUESTS["queued"])
        await server.connect(fast=fast).send(REQUESTS["queued"]).answers()
        while pressure.waiting < 2:  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0)
        assert (api.recorder.pending, len(second.transport.written)) == (1, 0)

        pressure.ease()
        answers = await first.answers(3)
        assert [answer.status for answer in answers] == [200, 200, 202]
        assert [answer.status for answer in await second.answers()] == [200]

    assert api.recorder.pending == 3


async def test_a_decision_that_waits_and_is_refused_is_refused_the_ordinary_way() -> None:
    api = Api()
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        api.recorder.pressure.is_high = True
        wire.send(REQUESTS["invalid"])
        api.recorder.pressure.ease()
        [answer] = await wire.answers()

    assert answer.status == 422


async def test_requests_behind_one_that_waits_are_answered_after_it() -> None:
    api = Api()
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        api.recorder.pressure.is_high = True
        bodies = [orjson.dumps(transaction_json(transaction_id=str(i))) for i in range(5)]
        wire.send(b"".join(request("/score-transaction", body) for body in bodies))
        while not api.recorder.pressure.waiting:  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0)
        api.recorder.pressure.ease()
        found = await wire.answers(5)

    assert [orjson.loads(answer.body)["transaction_id"] for answer in found] == list("01234")


async def test_a_server_that_stops_answers_a_decision_that_waits() -> None:
    api = Api()
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        api.recorder.pressure.is_high = True
        wire.send(REQUESTS["good"])
        wire.protocol.shutdown()
        assert not wire.transport.closed
        api.recorder.pressure.ease()
        [answer] = await wire.answers()

    assert answer.status == 200
    assert wire.transport.closed


async def test_a_client_that_left_while_it_waited_gets_no_decision() -> None:
    api = Api()
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        api.recorder.pressure.is_high = True
        wire.send(REQUESTS["good"])
        wire.transport.close()
        wire.protocol.connection_lost(None)
        api.recorder.pressure.ease()

    assert api.recorder.pending == 0
