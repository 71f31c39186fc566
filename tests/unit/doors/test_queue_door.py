import asyncio
from collections.abc import Sequence
from unittest.mock import AsyncMock, patch

import orjson
import pytest
from falcon import testing

from riskline.ingest.long_polls.waiters import DecisionWaiters, WaitSlots
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import OutcomeUnknownError, QueueFullError, RisklineError, StoreUnavailableError
from riskline.shared.store.interfaces import Stored
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import Outcome, Record, Submission, decided, queued_record
from riskline.worker.scoring.drain import drain
from riskline.worker.scoring.pulse import Pulse
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import Api
from tests.support.factories import AmountModel, a_transaction, transaction_json

NOW = "2026-11-24T03:15:07.123Z"


def test_a_submission_is_answered_202_once_it_is_in_the_store() -> None:
    api = Api()

    answer = api.client.simulate_post("/transactions", json=transaction_json())

    assert answer.status_code == 202
    assert answer.headers["location"] == "/transactions/TXN-99827364"
    assert answer.headers["retry-after"] == "1"
    assert set(answer.json) == {"transaction_id", "status", "submitted_at"}
    assert answer.json["status"] == "queued"
    assert api.store.waiting == ["TXN-99827364"]
    assert api.tickets == 1


def test_a_queued_transaction_is_decided_by_a_worker_as_the_other_door_decides_it() -> None:
    api = Api()
    location = api.client.simulate_post("/transactions", json=transaction_json(amount=9000)).headers["location"]

    assert api.work() == 1

    state = api.client.simulate_get(location).json
    at_once = api.client.simulate_post("/score-transaction", json=transaction_json(amount=9000)).json
    assert state["status"] == "scored"
    assert {**state["decision"], "scored_at": None} == {**at_once, "scored_at": None}


def test_an_explanation_asked_for_at_submission_is_in_the_decision() -> None:
    api = Api()
    api.client.simulate_post("/transactions?explain=true", json=transaction_json(amount=1))
    api.work()

    decision = api.client.simulate_get("/transactions/TXN-99827364").json["decision"]

    assert decision["reasons"][0]["feature"] == "amount"


def test_the_same_submission_again_changes_nothing() -> None:
    api = Api()
    first = api.client.simulate_post("/transactions", json=transaction_json())

    again = api.client.simulate_post("/transactions", json=transaction_json(customer_age=24.0))
    api.work()
    decided = api.client.simulate_post("/transactions", json=transaction_json())

    assert (again.status_code, again.json) == (202, first.json)
    assert decided.status_code == 200
    assert decided.json["decision"]["transaction_id"] == "TXN-99827364"
    assert len(api.store.feed) == 1


def test_the_same_id_with_another_body_is_a_conflict() -> None:
    api = Api()
    api.client.simulate_post("/transactions", json=transaction_json())

    answer = api.client.simulate_post("/transactions", json=transaction_json(amount=1))

    assert answer.status_code == 409
    assert answer.json["type"] == "urn:riskline:problem:conflict"


def test_submissions_beyond_the_queue_limit_are_told_to_come_again() -> None:
    api = Api(queue_limit=1)
    api.client.simulate_post("/transactions", json=transaction_json(transaction_id="a"))

    answer = api.client.simulate_post("/transactions", json=transaction_json(transaction_id="b"))

    assert answer.status_code == 503
    assert answer.json["type"] == "urn:riskline:problem:queue-full"
    assert int(answer.headers["retry-after"]) > 0


def test_without_redis_a_submission_is_refused_and_later_accepted() -> None:
    api = Api()
    api.store.away = True

    refused = api.client.simulate_post("/transactions", json=transaction_json())
    polled = api.client.simulate_get("/transactions/TXN-99827364")
    api.store.away = False
    accepted = api.client.simulate_post("/transactions", json=transaction_json())

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json["type"] == "urn:riskline:problem:store-unavailable"
    assert polled.status_code == 503
    assert refused.json["detail"].startswith("Nothing was accepted.")
    assert "cannot be read now" in polled.json["detail"]
    assert accepted.status_code == 202


def test_a_submission_that_redis_did_not_answer_is_not_said_to_be_refused() -> None:
    api = Api()

    with patch.object(api.store, "accept", side_effect=OutcomeUnknownError("Redis: Timeout reading from socket")):
        answer = api.client.simulate_post("/transactions", json=transaction_json())

    assert answer.status_code == 503
    assert "not known whether this was taken" in answer.json["detail"]


def test_what_is_accepted_is_202_though_redis_fails_while_the_client_waits() -> None:
    api = Api()

    with patch.object(api.store, "get", side_effect=StoreUnavailableError("Redis: away")):
        answer = api.client.simulate_post("/transactions", json=transaction_json(), headers={"Prefer": "wait=0"})

    assert (answer.status_code, answer.json["status"]) == (202, "queued")


def test_an_unknown_transaction_is_404() -> None:
    answer = Api().client.simulate_get("/transactions/nobody")

    assert answer.status_code == 404
    assert answer.json["type"] == "urn:riskline:problem:unknown-transaction"


@pytest.mark.parametrize("wait", ["-1", "31", "soon", "nan", "inf"])
def test_a_wrong_wait_is_refused(wait: str) -> None:
    assert Api().client.simulate_get("/transactions/a", params={"wait": wait}).status_code == 422


async def test_concurrent_submissions_share_a_commit_and_each_gets_its_own_answer() -> None:
    api = Api()
    sizes: list[int] = []
    accept = api.store.accept

    async def slow_accept(submissions: Sequence[Submission]) -> list[Stored]:
        sizes.append(len(submissions))
        await asyncio.sleep(0.01)
        return await accept(submissions)

    api.store.accept = slow_accept  # type: ignore[method-assign]
    async with testing.ASGIConductor(api.app) as client:
        answers = await asyncio.gather(
            *[client.simulate_post("/transactions", json=transaction_json(transaction_id=str(i))) for i in range(50)]
        )

    assert [answer.json["transaction_id"] for answer in answers] == [str(i) for i in range(50)]
    assert sum(sizes) == 50
    assert len(sizes) <= 2


async def test_a_client_that_prefers_to_wait_gets_the_decision() -> None:
    api = Api()
    async with testing.ASGIConductor(api.app) as client:
        submitted = asyncio.create_task(
            client.simulate_post("/transactions", json=transaction_json(), headers={"Prefer": "wait=10"})
        )
        await asyncio.sleep(0.05)
        api.work()
        await api.waiting.wake(["TXN-99827364"])
        answer = await submitted

    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=10"
    assert answer.json["decision"]["transaction_id"] == "TXN-99827364"


async def test_a_wait_that_is_over_gives_202() -> None:
    async with testing.ASGIConductor(Api().app) as client:
        answer = await client.simulate_post(
            "/transactions", json=transaction_json(), headers={"Prefer": "respond-async, wait=0"}
        )

    assert answer.status_code == 202


async def test_a_long_poll_ends_with_the_decision_even_where_its_wake_up_was_lost() -> None:
    api = Api()
    async with testing.ASGIConductor(api.app) as client:
        await client.simulate_post("/transactions", json=transaction_json())
        polled = asyncio.create_task(client.simulate_get("/transactions/TXN-99827364?wait=10"))
        await asyncio.sleep(0.01)
        api.work()
        await api.waiting.recheck()
        answer = await polled

    assert answer.json["status"] == "scored"
    assert api.waiting._waiters == {}


async def test_who_shares_a_commit_with_a_client_that_fails_is_answered() -> None:
    submitter = Submitter(MemoryStore(), ensure_ticket=AsyncMock(), queue_full=lambda: QueueFullError("full"))

    def fails(_answer: object) -> None:
        raise ConnectionError

    submitter.enqueue(queued_record(a_transaction(transaction_id="a"), submitted_at=NOW), fails)
    record = await submitter.submit(queued_record(a_transaction(transaction_id="b"), submitted_at=NOW))

    assert record == {"status": "queued", "submitted_at": NOW}
    await submitter.close()


async def test_a_read_that_fails_unexpectedly_answers_all_who_share_it_and_the_next_one_works() -> None:
    store = MemoryStore()
    waiting = DecisionWaiters(store, WaitSlots(9))
    get, store.get = store.get, AsyncMock(side_effect=RuntimeError)  # type: ignore[method-assign]

    failed = await asyncio.wait_for(asyncio.gather(*map(waiting.read, "aab"), return_exceptions=True), PATIENCE_SECONDS)
    store.get = get  # type: ignore[method-assign]

    assert [type(each) for each in failed] == [RisklineError] * 3
    assert await waiting.read("a") is None


class Unbounded(TransactionModel):
    amount: int


def test_a_row_with_a_number_too_large_for_json_does_not_hold_up_the_others() -> None:
    store = MemoryStore()
    rows = [Unbounded(transaction_id=str(i), amount=10**20 if i == 1 else 9000) for i in range(3)]
    asyncio.run(store.accept([queued_record(each, submitted_at=NOW, explain=True) for each in rows]))

    count = drain(
        store,
        worker="w1",
        pulse=Pulse(),
        model=lambda: AmountModel(transaction_class=Unbounded),
        transaction_class=Unbounded,
        time_is_over=lambda: False,
    )

    assert count == 3
    assert [orjson.loads(store.records[str(i)])["status"] for i in range(3)] == ["scored"] * 3


def test_a_decision_that_cannot_be_written_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses_one(record: Record, decision: Decision) -> Outcome:
        if decision.transaction_id == "b":
            raise TypeError
        return decided(record, decision)

    monkeypatch.setattr("riskline.worker.scoring.drain.decided", refuses_one)
    api = Api()
    for name in "abc":
        api.client.simulate_post("/transactions", json=transaction_json(transaction_id=name))

    assert api.work() == 3

    assert [api.client.simulate_get(f"/transactions/{name}").json["status"] for name in "abc"] == [
        "scored",
        "failed",
        "scored",
    ]


async def test_a_look_at_all_who_wait_before_the_commit_does_not_end_a_submissions_wait() -> None:
    api = Api()
    accept = api.store.accept

    async def looked_at_meanwhile(submissions: Sequence[Submission]) -> list[Stored]:
        await api.waiting.recheck()
        return await accept(submissions)

    api.store.accept = looked_at_meanwhile  # type: ignore[method-assign]
    async with testing.ASGIConductor(api.app) as client:
        submitted = asyncio.create_task(
            client.simulate_post("/transactions", json=transaction_json(), headers={"Prefer": "wait=10"})
        )
        await asyncio.sleep(0.05)
        api.work()
        await api.waiting.recheck()
        answer = await submitted

    assert answer.status_code == 200
