"""What a client, a callback, the feed and the metrics are told of a history that a transaction had, or lacked."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from riskline.ingest.recording.strict_recorder import StrictRecorder
from riskline.shared.domain.assessment import decide
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.model.bundle import ServingModel
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import queued_record
from riskline.shared.webhooks.signing import new_secret
from tests.support.api import Api
from tests.support.faulty_history import FaultyHistory
from tests.support.histories import Purchase, purchase
from tests.support.models import write_version_with_history

NOW = "2026-11-24T03:15:07.123Z"
AT_ONCE, QUEUED = "/score-transaction", "/transactions"
COUNTER = "riskline_decisions_without_history_total"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServingModel:
    """Declines above four purchases an hour, and without history above four items."""
    models_dir: Path = tmp_path_factory.mktemp("models")
    made = write_version_with_history(models_dir, Purchase, by_history=("purchases_1h", 4), by_twin=("items", 4))
    return Registry(models_dir).load(made.version, inputs_of(Purchase))


def an_api(model: ServingModel, **options: Any) -> Api:
    return Api(model, transaction_class=Purchase, **options)


def send(api: Api, door: str, number: int, **others: Any) -> Any:
    return api.client.simulate_post(door, json=purchase(number, seconds=number, **others))


def state(api: Api, number: int) -> dict[str, Any]:
    found: dict[str, Any] = api.client.simulate_get(f"/transactions/P-{number}").json
    return found


@pytest.mark.parametrize("strict", [True, False])
def test_both_doors_decide_by_the_same_history_and_show_it(model: ServingModel, *, strict: bool) -> None:
    api = an_api(model, strict=strict)

    for number in range(8):
        send(api, (AT_ONCE, QUEUED)[number % 2], number)
    api.work()
    if not strict:
        api.record()

    states = [state(api, number) for number in range(8)]
    assert [each["history"]["purchases_1h"] for each in states] == list(range(8))
    assert [each["decision"]["action"] for each in states] == ["APPROVE"] * 5 + ["DECLINE"] * 3
    assert not any("history" in each["decision"] for each in states)


def test_a_strict_decision_of_a_queued_one_keeps_the_history_that_it_was_made_by(model: ServingModel) -> None:
    api = an_api(model, strict=True)
    for number in range(5):
        send(api, QUEUED, number)

    answer = send(api, AT_ONCE, 4)

    assert state(api, 4)["history"]["purchases_1h"] == 4
    assert state(api, 4)["decision"] == answer.json
    assert api.work() == 4


async def test_one_that_was_queued_without_history_keeps_that_by_which_the_strict_door_decides_it(
    model: ServingModel,
) -> None:
    store, lacking = MemoryStore(), Purchase.from_row(purchase(1, items=9))
    await store.accept([queued_record(lacking, submitted_at=NOW)])
    known = lacking.with_history([1.0] * 12)
    decision = decide(known, model, scored_at=NOW)

    await StrictRecorder(store).keep(known, decision, orjson.dumps(decision.to_dict()))

    (record,) = await store.get(["P-1"])
    assert record is not None
    assert record["history"] == known.history_values()
    assert "history" not in record["decision"]


def away_api(model: ServingModel, **options: Any) -> Api:
    history = FaultyHistory(None)
    history.away = True
    return an_api(model, history=history, **options)


@pytest.mark.parametrize("strict", [True, False])
def test_what_was_decided_without_history_says_so_everywhere(model: ServingModel, *, strict: bool) -> None:
    api = away_api(model, strict=strict)
    before = REGISTRY.get_sample_value(COUNTER, {"door": "sync"}) or 0.0

    answer = send(api, AT_ONCE, 1, items=9)
    send(api, QUEUED, 2, items=9)
    api.work()
    if not strict:
        api.record()

    assert (answer.json["action"], answer.json["history"]) == ("DECLINE", "away")
    assert [state(api, number)["history"] for number in (1, 2)] == ["away", "away"]
    assert [state(api, number)["decision"]["history"] for number in (1, 2)] == ["away", "away"]
    fed = api.client.simulate_get("/decisions").json["decisions"]
    assert [each["history"] for each in fed] == ["away", "away"]
    assert REGISTRY.get_sample_value(COUNTER, {"door": "sync"}) == before + 1


def test_a_callback_carries_the_decision_as_it_is(model: ServingModel) -> None:
    api = away_api(model, settings=load_settings(callback_secret=new_secret()))
    send(api, QUEUED, 1, items=9, callback_url="https://shop.example/hook")
    api.work()

    (kept,) = api.store.callbacks.values()
    body = orjson.loads(orjson.loads(kept[b"event"])["body"])

    assert body["data"]["decision"] == state(api, 1)["decision"]
    assert body["data"]["decision"]["history"] == "away"
