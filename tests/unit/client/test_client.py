"""What the clients send, what they make of answers, and when they try again."""

import dataclasses
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from riskline_client import (
    BatchResult,
    Client,
    Conflict,
    ConnectionFailed,
    CursorExpired,
    Decision,
    Erased,
    FieldProblem,
    Forbidden,
    InvalidTransaction,
    NotDecidedYet,
    NotFound,
    ProblemError,
    RateLimited,
    Reason,
    Retries,
    RisklineError,
    StillQueued,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from riskline_client.retrying import LEAST_ATTEMPT_SECONDS
from tests.support.clients import Async, Clock, Script, Sync, problem
from tests.support.factories import a_transaction, transaction_json

DECISION = {
    "transaction_id": "tx-1",
    "fraud_probability": 0.9214,
    "action": "DECLINE",
    "model_version": "20261124T031500-3f9a2c1b",
    "scored_at": "2026-11-24T03:15:07.123Z",
    "reasons": [{"feature": "amount", "value": 4500.0, "contribution": 0.3127, "text": "amount 4500.00 is far"}],
}
QUEUED = {"transaction_id": "tx-1", "status": "queued", "submitted_at": "2026-11-24T03:15:07.123Z"}
SCORED = {**QUEUED, "status": "scored", "decision": DECISION, "callback": None}

Start = Callable[..., Any]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(params=[Sync, Async])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Makes a client of each kind over a script of answers."""
    started: list[Sync | Async] = []

    def make(script: Script, **options: Any) -> Sync | Async:
        started.append(request.param(script, **options))
        return started[-1]

    yield make
    for each in started:
        each.close()


def ok(document: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=document, headers={name.replace("_", "-"): it for name, it in headers.items()})


def test_a_decision_is_what_the_service_answered_with_its_time_parsed(start: Start) -> None:
    script = Script(ok(DECISION))

    decision = start(script)("score", transaction_json(), explain=True)

    assert decision == Decision(
        transaction_id="tx-1",
        fraud_probability=0.9214,
        action="DECLINE",
        model_version="20261124T031500-3f9a2c1b",
        scored_at=datetime(2026, 11, 24, 3, 15, 7, 123000, tzinfo=UTC),
        reasons=(Reason("amount", 4500.0, 0.3127, "amount 4500.00 is far"),),
    )
    assert decision.document == DECISION
    (request,) = script.requests
    assert (request.method, str(request.url)) == ("POST", "http://riskline.example/score-transaction?explain=true")
    assert json.loads(request.content) == transaction_json()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("riskline-client/")


def test_members_that_are_new_are_let_be_and_can_be_read(start: Start) -> None:
    decision = start(Script(ok({**DECISION, "review_by": "team-a"})))("score", transaction_json())

    assert decision.action == "DECLINE"
    assert decision.document["review_by"] == "team-a"


@dataclasses.dataclass
class Payment:
    transaction_id: str
    amount: Decimal
    at: datetime
    device: UUID


@pytest.mark.parametrize(
    ("transaction", "sent"),
    [
        (a_transaction(), transaction_json()),
        (a_transaction().to_json(), transaction_json()),
        (
            Payment("a", Decimal("39.08"), datetime(2026, 1, 2, tzinfo=UTC), UUID(int=7)),
            {
                "transaction_id": "a",
                "amount": 39.08,
                "at": "2026-01-02T00:00:00+00:00",
                "device": "00000000-0000-0000-0000-000000000007",
            },
        ),
    ],
    ids=["model_dump", "bytes", "dataclass"],
)
def test_a_transaction_may_be_an_object_of_the_callers(start: Start, transaction: Any, sent: dict[str, Any]) -> None:
    script = Script(ok(DECISION), ok(QUEUED, 202))
    client = start(script)

    client("score", transaction)
    client("submit", transaction, callback_url="https://shop.example/hook")

    assert json.loads(script.requests[0].content) == sent
    assert json.loads(script.requests[1].content) == {**sent, "callback_url": "https://shop.example/hook"}


@pytest.mark.parametrize("transaction", [7, "text", {"amount": float("nan")}, {"amount": object()}, Payment])
def test_what_has_no_json_is_sent_nowhere(start: Start, transaction: Any) -> None:
    script = Script(ok(DECISION))

    with pytest.raises((TypeError, ValueError)):
        start(script)("score", transaction)

    assert not script.requests


def test_a_state_has_the_decision_and_what_became_of_the_callback(start: Start) -> None:
    callback = {
        "url": "https://shop.example/hook",
        "status": "pending",
        "event": "transaction.scored",
        "webhook_id": "msg_1",
        "attempts": [
            {"at": "2026-11-24T06:46:44.911Z", "status": 503, "latency_ms": 41.2, "answer": "later", "error": None}
        ],
        "next_attempt_at": "2026-11-24T06:46:50.213Z",
    }
    script = Script(ok({**SCORED, "callback": callback}))

    state = start(script)("get", "tx-1", wait=10)

    assert not state.is_queued
    assert state.decision.action == "DECLINE"
    assert state.callback.attempts[0].status == 503
    assert state.callback.next_attempt_at == datetime(2026, 11, 24, 6, 46, 50, 213000, tzinfo=UTC)
    assert str(script.requests[0].url) == "http://riskline.example/transactions/tx-1?wait=10"


def test_what_was_decided_without_history_says_so_and_a_state_has_the_columns(start: Start) -> None:
    away = {**DECISION, "history": "away"}
    columns = {"purchases_1h": 3, "mean_30d": 41.27}

    decision = start(Script(ok(away)))("score", transaction_json())
    known = start(Script(ok({**SCORED, "history": columns})))("get", "tx-1")
    lacking = start(Script(ok({**SCORED, "decision": away, "history": "away"})))("get", "tx-1")

    assert decision.history == "away"
    assert (known.history, known.decision.history) == (columns, None)
    assert (lacking.history, lacking.decision.history) == ("away", "away")


def test_a_submission_may_wait_for_its_decision(start: Start) -> None:
    script = Script(ok(SCORED))

    state = start(script)("submit", transaction_json(), wait=5)

    assert state.status == "scored"
    assert script.requests[0].headers["prefer"] == "wait=5"


@pytest.mark.parametrize("transaction_id", ["..", ".", "a:b~c", "TXN-1"])
def test_every_id_that_is_allowed_leads_to_its_own_path(start: Start, transaction_id: str) -> None:
    script = Script(ok(SCORED))

    start(script, url="http://riskline.example/fraud/")("get", transaction_id)

    (request,) = script.requests
    assert request.url.path == f"/fraud/transactions/{transaction_id}"


PROBLEMS = {
    InvalidTransaction: (422, "invalid-transaction"),
    Unauthorized: (401, "key-needed"),
    Forbidden: (403, "forbidden"),
    NotFound: (404, "unknown-transaction"),
    Conflict: (409, "conflict"),
    NotDecidedYet: (409, "not-decided-yet"),
    Erased: (410, "transaction-erased"),
    CursorExpired: (410, "cursor-expired"),
    RateLimited: (429, "rate-limited"),
    Unavailable: (503, "queue-full"),
    ProblemError: (413, "body-too-large"),
}


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.__name__)
def test_each_problem_that_callers_treat_differently_has_an_error_of_its_own(start: Start, kind: type) -> None:
    status, name = PROBLEMS[kind]
    wrong = [{"pointer": "/amount", "detail": "Field required"}]
    script = Script(problem(status, name, errors=wrong, headers={"X-Request-ID": "r-1", "RateLimit": '"d";r=0;t=1'}))

    with pytest.raises(ProblemError) as refused:
        start(script)("get", "tx-1")

    error = refused.value
    assert type(error) is kind
    assert isinstance(error, RisklineError)
    assert (error.type, error.status) == (f"urn:riskline:problem:{name}", status)
    assert (error.title, error.detail, error.instance) == ("Title", "Detail.", "/x")
    assert error.errors == (FieldProblem("/amount", "Field required"),)
    assert error.request_id == "r-1"
    assert error.problem.rate_limit == '"d";r=0;t=1'
    assert str(error) == f"{status} Title: /amount: Field required"


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b"\xff"])
def test_the_error_of_a_proxy_is_an_error_of_its_status(start: Start, body: bytes) -> None:
    with pytest.raises(Unavailable, match="502 Bad Gateway"):
        start(Script(httpx.Response(502, content=body)))("score", transaction_json())


GATEWAYS = [
    {"success": False, "errors": [{"code": 1200, "message": "busy"}]},
    {"errors": "busy"},
    {"errors": ["busy", {"pointer": 1, "detail": 2}, None]},
    {"type": ["busy"], "title": {"text": "busy"}, "detail": 7, "instance": []},
]


@pytest.mark.parametrize("document", GATEWAYS)
@pytest.mark.parametrize("status", [429, 503])
def test_what_passes_is_tried_again_whatever_a_gateway_says_of_it(start: Start, status: int, document: Any) -> None:
    script = Script(ok(document, status), ok(DECISION), ok(document, status))
    client = start(script)

    assert client("score", transaction_json()).action == "DECLINE"
    with pytest.raises((RateLimited, Unavailable)) as refused:
        client("score", transaction_json())

    assert (refused.value.type, refused.value.errors) == ("about:blank", ())


NESTED = httpx.Response(200, content=b"[" * 200_000)


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), ok({"hello": 1}), ok([]), ok(None), NESTED])
def test_an_answer_of_something_else_is_no_decision(start: Start, answer: httpx.Response) -> None:
    with pytest.raises(UnexpectedAnswer, match="does the URL lead to it"):
        start(Script(answer))("score", transaction_json())


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self) -> None:
        self.given = 0

    def __iter__(self) -> Iterator[bytes]:
        while self.given < 100_000_000:
            self.given += 65_536
            yield b" " * 65_536

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


@pytest.mark.parametrize(("status", "kind"), [(200, UnexpectedAnswer), (503, Unavailable)])
def test_an_answer_without_an_end_is_not_read_to_it(start: Start, status: int, kind: type) -> None:
    body = Endless()

    with pytest.raises(kind):
        start(lambda _: httpx.Response(status, stream=body), retries=Retries(attempts=1))("score", transaction_json())

    assert body.given < 17_000_000


@pytest.mark.parametrize(("status", "kind"), [(200, UnexpectedAnswer), (503, Unavailable)])
def test_an_answer_is_asked_for_as_it_is_and_a_compressed_one_not_unpacked(
    start: Start, status: int, kind: type
) -> None:
    asked = []

    def compressed(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        body = httpx.ByteStream(gzip.compress(json.dumps(DECISION).encode()))
        return httpx.Response(status, headers={"Content-Encoding": "gzip"}, stream=body)

    with pytest.raises(kind):
        start(compressed)("score", transaction_json())

    assert set(asked) == {"identity"}


def test_a_redirect_is_not_followed_with_the_key(start: Start) -> None:
    script = Script(httpx.Response(307, headers={"Location": "http://elsewhere.example/"}))

    with pytest.raises(ProblemError, match="307 Temporary Redirect"):
        start(script, api_key="rk_secret")("score", transaction_json())

    assert len(script.requests) == 1


PASSING: list[httpx.Response | Exception] = [
    *(problem(status, "passing") for status in (429, 502, 503, 504)),
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("closed"),
    httpx.ReadTimeout("slow"),
]


@pytest.mark.parametrize("passing", PASSING, ids=str)
@pytest.mark.parametrize("call", [("score", transaction_json()), ("submit", transaction_json()), ("erase", "tx-1")])
def test_what_passes_is_tried_again_as_the_same_request(
    start: Start, passing: httpx.Response | Exception, call: tuple[Any, ...]
) -> None:
    script = Script(passing, passing, ok({**DECISION, **SCORED}))

    start(script)(*call)

    first, *others = script.requests
    assert len(others) == 2
    assert {each.headers["x-request-id"] for each in others} == {first.headers["x-request-id"]}
    assert {each.content for each in others} == {first.content}


@pytest.mark.parametrize("passing", PASSING, ids=str)
def test_what_does_not_pass_is_raised_after_the_last_attempt(start: Start, passing: httpx.Response | Exception) -> None:
    script = Script(passing)

    with pytest.raises((ProblemError, ConnectionFailed)) as failed:
        start(script)("score", transaction_json(), request_id="order-7")

    assert len(script.requests) == 3
    assert failed.value.request_id == "order-7"
    assert isinstance(failed.value, TimedOut) == isinstance(passing, httpx.TimeoutException)


@pytest.mark.parametrize(("status", "name"), [(400, "not-json"), (401, "key-needed"), (409, "conflict"), (500, "x")])
def test_what_would_be_answered_alike_is_not_tried_again(start: Start, status: int, name: str) -> None:
    script = Script(problem(status, name))

    with pytest.raises(ProblemError):
        start(script)("score", transaction_json())

    assert len(script.requests) == 1


def test_each_attempt_that_another_follows_is_told_with_its_error_and_the_wait(start: Start) -> None:
    told: list[tuple[str, float]] = []
    script = Script(
        problem(429, "rate-limited", headers={"Retry-After": "1"}), httpx.ConnectError("gone"), ok(DECISION)
    )
    retries = Retries(first_wait=0, on_retry=lambda error, wait: told.append((type(error).__name__, wait)))

    start(script, retries=retries)("score", transaction_json())

    assert [name for name, _ in told] == ["RateLimited", "ConnectionFailed"]
    assert [wait for _, wait in told] == pytest.approx([1, 0])


def test_a_retry_after_is_waited(start: Start, clock: Clock) -> None:
    script = Script(problem(429, "rate-limited", headers={"Retry-After": "1"}), ok(DECISION))

    start(script)("score", transaction_json())

    assert clock.now == pytest.approx(1)


@pytest.mark.parametrize("zone", [UTC, None], ids=["GMT", "none"])
def test_a_retry_after_may_be_a_date_or_nothing_that_is_understood(start: Start, zone: tzinfo | None) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    date = format_datetime(later.replace(tzinfo=zone), usegmt=zone is UTC)
    client = start(
        Script(*(problem(429, "x", headers={"Retry-After": told}) for told in (date, "soon", "-1", "1e9"))),
        retries=Retries(attempts=1),
    )
    told = []
    for _ in range(4):
        with pytest.raises(RateLimited) as refused:
            client("score", transaction_json())
        told.append(refused.value.retry_after)

    assert told == [pytest.approx(3600, abs=5), None, None, None]


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_told_to_come_back_after_the_end_of_the_time_does_not_wait_for_it(
    start: Start, clock: Clock, status: int
) -> None:
    script = Script(problem(status, "queue-full", headers={"Retry-After": "30"}))

    with pytest.raises(ProblemError) as refused:
        start(script)("score", transaction_json())

    assert clock.now == 0
    assert len(script.requests) == 1
    assert refused.value.retry_after == 30


def test_the_wait_between_attempts_ends_the_call_where_its_time_would_be_over(start: Start, clock: Clock) -> None:
    script = Script(httpx.ConnectError("refused"))

    with pytest.raises(ConnectionFailed, match="cannot be reached: refused"):
        start(script, retries=Retries(attempts=1000, first_wait=0.05))("score", transaction_json(), timeout=10)

    assert 0 < clock.now < 10
    assert len(script.requests) > 1


def test_the_key_is_sent_and_nowhere_else_to_be_seen(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(problem(401, "key-needed"))
    client = start(script, api_key="rk_secret")

    with pytest.raises(Unauthorized) as refused:
        client("score", transaction_json())

    assert script.requests[0].headers["authorization"] == "Bearer rk_secret"
    shown = [repr(client.client), repr(vars(client.client)), str(refused.value), repr(refused.value), caplog.text]
    assert "riskline.example" in shown[0]
    assert not [text for text in shown if "secret" in text]


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("riskline.example", None),
        ("ftp://riskline.example", None),
        ("http://", None),
        ("http://user:secret@riskline.example", None),
        ("http://riskline.example:secret", None),
        ("http://riskline.example", "rk_secret\n"),
        ("http://riskline.example", "rk_sécret"),
        ("http://riskline.example", ""),
    ],
)
def test_a_url_or_key_that_cannot_be_used_is_refused_and_not_shown(url: str, key: str | None) -> None:
    with pytest.raises(ValueError, match=r"URL of the service|API key") as refused:
        Client(url, key)

    assert "secret" not in str(refused.value)


def test_a_request_id_that_the_service_would_replace_is_refused(start: Start) -> None:
    with pytest.raises(ValueError, match="request_id"):
        start(Script(ok(DECISION)))("score", transaction_json(), request_id="a\nb")


def row(index: int, **members: Any) -> dict[str, Any]:
    kind = {"type": "urn:riskline:problem:invalid-transaction", "title": "Title", "status": 422, "detail": "Detail."}
    return {"index": index, **kind, **members}


def test_many_go_in_batches_and_refused_rows_are_told_by_their_index_in_all(start: Start) -> None:
    script = Script(
        ok({"accepted": 1, "known": 0, "refused": 1, "rows": [row(1)]}, 202),
        problem(422, "no-row-accepted", rows=[row(0), row(1)]),
        ok({"accepted": 0, "known": 1, "refused": 0, "rows": []}, 202),
    )
    rows = ({"n": number} if number != 1 else {"n": float("nan")} for number in range(6))

    result = start(script)("submit_many", rows, batch_rows=2, explain=True)

    assert (result.accepted, result.known) == (1, 1)
    assert [refused.index for refused in result.refused] == [1, 2, 3, 4]
    assert "JSON" in result.refused[0].detail
    assert [request.content for request in script.requests] == [
        b'{"n": 0}\n{"n": 2}',
        b'{"n": 3}\n{"n": 4}',
        b'{"n": 5}',
    ]
    assert {request.headers["content-type"] for request in script.requests} == {"application/x-ndjson"}
    assert {request.url.query for request in script.requests} == {b"explain=true"}


@pytest.mark.parametrize("blank", [b"", b" ", b"\n", b"\t\r\x0b\x0c"])
def test_a_blank_row_is_refused_here_and_moves_no_index(start: Start, blank: bytes) -> None:
    script = Script(ok({"accepted": 1, "known": 0, "refused": 1, "rows": [row(1)]}, 202))

    result = start(script)("submit_many", [b'{"n": 0}', blank, b'{"n": 2}'])

    assert [refused.index for refused in result.refused] == [1, 2]
    assert script.requests[0].content == b'{"n": 0}\n{"n": 2}'


def test_nothing_to_submit_is_sent_nowhere(start: Start) -> None:
    script = Script(ok({}))

    assert start(script)("submit_many", []) == BatchResult()
    assert not script.requests


def test_json_with_line_breaks_in_it_is_one_line_of_a_batch(start: Start) -> None:
    script = Script(ok({"accepted": 2, "known": 0, "refused": 0, "rows": []}, 202))

    start(script)("submit_many", [b'{"a":\r\n 1}', b'{"a": "x\\ny"}'])

    assert [json.loads(line) for line in script.requests[0].content.splitlines()] == [{"a": 1}, {"a": "x\ny"}]


def test_a_full_queue_is_waited_for_and_an_error_says_what_was_taken_before(start: Start) -> None:
    taken = ok({"accepted": 2, "known": 0, "refused": 0, "rows": []}, 202)
    full = problem(503, "queue-full", rows=[row(0)])
    script = Script(taken, full, full, full, full, taken, problem(401, "key-needed", accepted=1))

    with pytest.raises(Unauthorized) as refused:
        start(script)("submit_many", [{}] * 6, batch_rows=2)

    assert refused.value.submitted == BatchResult(accepted=4)


def full(index: int) -> dict[str, Any]:
    return row(index, type="urn:riskline:problem:queue-full", status=503, detail="50 transactions wait.")


def test_rows_that_find_the_queue_full_beside_others_are_sent_again_until_there_is_room(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline_client.batching.AGAIN_SECONDS", 0.001)
    script = Script(
        ok({"accepted": 1, "known": 0, "refused": 3, "rows": [full(1), row(2), full(3)]}, 202),
        problem(422, "no-row-accepted", rows=[row(0), full(1)]),
        problem(503, "queue-full", rows=[full(0)]),
        ok({"accepted": 1, "known": 0, "refused": 0, "rows": []}, 202),
    )

    result = start(script)("submit_many", [{"n": number} for number in range(4)])

    assert (result.accepted, [refused.index for refused in result.refused]) == (2, [1, 2])
    assert [request.content.splitlines() for request in script.requests[1:]] == [
        [b'{"n": 1}', b'{"n": 3}'],
        [b'{"n": 3}'],
        [b'{"n": 3}'],
    ]


def test_rows_that_find_no_room_in_time_are_an_error_that_says_what_was_taken(start: Start, clock: Clock) -> None:
    script = Script(
        ok({"accepted": 1, "known": 0, "refused": 2, "rows": [full(1), row(2)]}, 202),
        ok({"accepted": 0, "known": 0, "refused": 1, "rows": [full(0)]}, 202),
    )

    with pytest.raises(Unavailable, match="50 transactions wait") as late:
        start(script)("submit_many", [{}] * 3, timeout=30)

    assert late.value.request_id == script.requests[-1].headers["x-request-id"]
    assert late.value.submitted.accepted == 1
    assert [refused.index for refused in late.value.submitted.refused] == [2]
    assert len(script.requests) > 3
    assert 0 < clock.now < 30


def test_a_batch_that_is_told_to_come_back_after_its_time_asks_once_more_before_its_end(
    start: Start, clock: Clock
) -> None:
    told = problem(503, "queue-full", headers={"Retry-After": "300"}, rows=[full(0)])

    with pytest.raises(Unavailable):
        start(script := Script(told))("submit_many", [{}], timeout=10)

    assert len(script.requests) == 2
    assert clock.now == 10 - LEAST_ATTEMPT_SECONDS


def test_who_waits_asks_again_until_it_is_decided_through_outages(start: Start) -> None:
    script = Script(*[httpx.ConnectError("refused")] * 5, problem(503, "store-unavailable"), ok(SCORED))

    state = start(script)("wait_for", "tx-1", 5)

    assert state.decision.action == "DECLINE"
    assert len(script.requests) == 7
    assert 0 < float(script.requests[0].url.params["wait"]) <= 5


def test_who_waits_in_vain_is_told_so_without_a_storm_of_requests(start: Start, clock: Clock) -> None:
    script = Script(ok(QUEUED))

    with pytest.raises(StillQueued, match=r"tx-1 is not decided after 0.5 s; it is safe") as late:
        start(script)("wait_for", "tx-1", 0.5)

    assert clock.now == 0.5
    assert isinstance(late.value, TimeoutError)
    assert late.value.state.is_queued
    assert len(script.requests) == 2


def test_a_transaction_that_failed_is_no_longer_waited_for(start: Start) -> None:
    failed = {**QUEUED, "status": "failed", "decision": None, "callback": None, "error": "three workers were lost"}

    state = start(Script(ok(failed)))("wait_for", "tx-1", 5)

    assert (state.status, state.error) == ("failed", "three workers were lost")


def page(first: int, count: int, following: str) -> httpx.Response:
    decisions = [{**DECISION, "transaction_id": f"tx-{number}"} for number in range(first, first + count)]
    return ok({"decisions": decisions, "next": following})


def test_the_feed_is_read_to_its_end_and_its_cursor_passes_a_page_with_its_last_decision(start: Start) -> None:
    client = start(Script(page(0, 2, "c2"), page(2, 1, "c3"), page(3, 0, "c3")))
    feed = client.decisions("c0", follow=False)

    seen = []
    while (decision := client.next(feed)) is not None:
        seen.append((decision.transaction_id, feed.cursor))

    assert seen == [("tx-0", "c0"), ("tx-1", "c2"), ("tx-2", "c3")]
    assert feed.cursor == "c3"


def test_who_follows_waits_for_more_and_goes_on_after_an_error_where_it_was(start: Start) -> None:
    script = Script(page(0, 1, "c1"), problem(410, "cursor-expired"), page(1, 0, "c1"), page(1, 1, "c2"))
    client = start(script)
    feed = client.decisions()

    assert client.next(feed).transaction_id == "tx-0"
    with pytest.raises(CursorExpired):
        client.next(feed)
    assert feed.cursor == "c1"
    assert client.next(feed).transaction_id == "tx-1"

    assert [request.url.params["after"] for request in script.requests] == ["0", "c1", "c1", "c1"]
    assert {request.url.params["wait"] for request in script.requests} == {"30"}


def test_health_is_told_and_no_error(start: Start) -> None:
    unready = {
        "status": "unready",
        "missing": ["redis"],
        "checks": {"model": "ok", "redis": "away"},
        "model_version": "v1",
    }
    unhealthy = {"status": "unhealthy", "model_loaded": False, "model_version": None}
    client = start(Script(ok(unready, 503), ok(unhealthy, 503)))

    readiness, health = client("ready"), client("health")

    assert (readiness.is_ready, readiness.missing, readiness.checks["redis"]) == (False, ("redis",), "away")
    assert (health.is_healthy, health.model_version) == (False, None)
