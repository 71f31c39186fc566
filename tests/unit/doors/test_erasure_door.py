"""DELETE /transactions/{transaction_id}."""

from typing import Any

import orjson
import pytest

from riskline.shared.store.keys import Keys
from tests.support.api import Api
from tests.support.factories import transaction_json

ID = transaction_json()["transaction_id"]
PATH = f"/transactions/{ID}"


def type_of(answer: Any) -> str:
    return str(answer.json["type"]).removeprefix("urn:riskline:problem:")


@pytest.mark.parametrize("door", ["/score-transaction", "/transactions"])
def test_an_erased_transaction_is_gone_and_its_id_is_not_decided_anew(door: str) -> None:
    api = Api()
    api.client.simulate_post(door, json=transaction_json())
    api.work()

    erased = api.client.simulate_delete(PATH)

    assert (erased.status_code, erased.content) == (204, b"")
    state = api.client.simulate_get(PATH)
    assert (state.status_code, type_of(state)) == (410, "transaction-erased")
    again = api.client.simulate_post("/transactions", json=transaction_json())
    assert (again.status_code, type_of(again)) == (409, "conflict")
    batch = api.client.simulate_post("/transactions/batch", json=[transaction_json(), transaction_json()])
    assert [row["status"] for row in batch.json["rows"]] == [409, 409]
    assert api.client.simulate_get("/decisions").json["decisions"] == []
    assert api.client.simulate_delete(PATH).status_code == 204
    assert orjson.dumps(transaction_json()["amount"]) not in b"".join(api.store.records.values())


def test_a_strict_door_does_not_decide_an_erased_one_anew() -> None:
    api = Api(strict=True)
    api.client.simulate_post("/score-transaction", json=transaction_json())
    api.client.simulate_delete(PATH)

    assert api.client.simulate_post("/score-transaction", json=transaction_json()).status_code == 409


def test_what_waits_for_its_decision_cannot_be_erased_yet() -> None:
    api = Api()
    api.client.simulate_post("/transactions", json=transaction_json())

    refused = api.client.simulate_delete(PATH)
    api.work()

    assert (refused.status_code, type_of(refused)) == (409, "not-decided-yet")
    assert api.client.simulate_delete(PATH).status_code == 204


def test_an_unknown_one_is_404_and_redis_away_503() -> None:
    api = Api()

    unknown = api.client.simulate_delete(PATH)
    api.store.away = True
    away = api.client.simulate_delete(PATH)

    assert (unknown.status_code, type_of(unknown)) == (404, "unknown-transaction")
    assert (away.status_code, type_of(away)) == (503, "store-unavailable")


def test_a_transaction_whose_id_is_batch_is_erased_as_any_other() -> None:
    api = Api()
    api.client.simulate_post("/transactions", json=transaction_json(transaction_id="batch"))
    api.work()

    assert api.client.simulate_delete("/transactions/batch").status_code == 204
    assert api.client.simulate_get("/transactions/batch").status_code == 410


def test_who_erased_a_transaction_is_kept() -> None:
    api = Api()
    api.client.simulate_post("/transactions", json=transaction_json())
    api.work()

    assert api.client.simulate_delete("/transactions/TXN-99827364").status_code == 204
    assert api.client.simulate_delete("/transactions/nobody").status_code == 404

    [(_, noted)] = api.sync_redis.xrange(Keys().console_looks)
    assert (noted[b"what"], noted[b"about"], noted[b"who"]) == (b"transaction erased", b"TXN-99827364", b"anybody")
