"""RISKLINE_RECORD=strict: the synchronous door answers once its decision is safe, or says that it is not."""

import asyncio
from typing import Any

import orjson
import pytest

from riskline.shared.store.records import failed
from tests.support.api import Api
from tests.support.factories import AmountModel, transaction_json
from tests.support.wire import request, serving


def score(api: Api, query: str = "", **changes: Any) -> Any:
    return api.client.simulate_post(f"/score-transaction{query}", json=transaction_json(**changes))


def test_a_decision_is_in_the_store_when_it_is_answered() -> None:
    api = Api(strict=True)

    answer = score(api)

    assert answer.status_code == 200
    assert api.client.simulate_get("/transactions/TXN-99827364").json["decision"] == answer.json
    assert api.recorder.pending == 0


def test_a_repeated_request_gets_the_first_decision() -> None:
    api = Api(strict=True)
    first = score(api)
    api.serving._model = AmountModel(version="20270101T000000-00000000")

    again = score(api)

    assert again.json == first.json
    assert len(api.store.feed) == 1


def test_an_id_of_another_transaction_is_a_conflict() -> None:
    api = Api(strict=True)
    score(api)

    answer = score(api, amount=1)

    assert (answer.status_code, answer.json["type"]) == (409, "urn:riskline:problem:conflict")


def test_a_transaction_that_is_queued_is_decided_by_the_answer_and_by_no_worker_later() -> None:
    api = Api(strict=True)
    api.client.simulate_post("/transactions", json=transaction_json())

    answer = score(api)
    api.work()

    state = api.client.simulate_get("/transactions/TXN-99827364").json
    assert (answer.status_code, state["status"]) == (200, "scored")
    assert state["decision"] == answer.json
    assert len(api.store.feed) == 1
    assert asyncio.run(api.store.count()).problems() == []


def test_a_transaction_that_has_failed_in_the_queue_is_a_conflict() -> None:
    api = Api(strict=True)
    api.client.simulate_post("/transactions", json=transaction_json())
    (record,) = asyncio.run(api.store.get(["TXN-99827364"]))
    api.store.decide("w1", [failed("TXN-99827364", record, "it raised")])

    answer = score(api)

    assert answer.status_code == 409
    assert "has failed" in answer.json["detail"]


def test_a_repetition_that_asks_for_reasons_gets_them_with_the_first_decision() -> None:
    api = Api(strict=True)
    first = score(api)

    again = score(api, "?explain=true")

    assert "reasons" not in first.json
    assert again.json["reasons"][0]["feature"] == "amount"
    assert {**again.json, "reasons": None} == {**first.json, "reasons": None}


def test_without_redis_there_is_no_answer_but_when_to_come_again() -> None:
    api = Api(strict=True)
    api.store.away = True

    refused = score(api)
    api.store.away = False
    taken = score(api)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert taken.status_code == 200
    assert len(api.store.feed) == 1


@pytest.mark.parametrize("strict", [False, True])
async def test_requests_at_the_same_time_share_a_call_of_the_store_by_the_plain_way_of_a_checkout(
    *, strict: bool
) -> None:
    api = Api(strict=strict)
    calls: list[int] = []
    record = api.store.record

    async def counted(outcomes: Any, *, wanted: bool = False) -> Any:
        calls.append(len(outcomes))
        return await record(outcomes, wanted=wanted)

    api.store.record = counted  # type: ignore[method-assign]
    async with serving(api.app) as server:
        wires = [server.connect(fast=True) for _ in range(20)]
        for number, wire in enumerate(wires):
            wire.send(request("/score-transaction", orjson.dumps(transaction_json(transaction_id=str(number)))))
        await asyncio.gather(*[wire.answers(1) for wire in wires])

    assert len(api.store.feed) == (20 if strict else 0)
    assert len(calls) <= (3 if strict else 0)
