"""DELETE /history/{entity}."""

import asyncio
import json
from typing import Any

import pytest

from riskline.shared.store.keys import Keys
from tests.support.api import Api
from tests.support.histories import Purchase, purchase


def type_of(answer: Any) -> str:
    return str(answer.json["type"]).removeprefix("urn:riskline:problem:")


def an_api(**options: Any) -> Api:
    api = Api(transaction_class=Purchase, **options)
    for number, card in enumerate(("C1", "C1", "C2")):
        assert api.client.simulate_post("/transactions", json=purchase(number, card_id=card)).status_code == 202
    return api


def entities(api: Api) -> int:
    return sum(size.entities for size in asyncio.run(api.history.sizes()).values())


def test_a_card_is_forgotten_alone_and_with_others_and_who_did_it_is_kept_without_its_value() -> None:
    api = an_api()
    before = entities(api)

    erased = api.client.simulate_delete("/history/card_id", json={"value": "C1"})

    assert (erased.status_code, erased.content) == (204, b"")
    # alone, at the merchant, and on the web
    assert entities(api) == before - 3
    [(_, noted)] = api.sync_redis.xrange(Keys().console_looks)
    assert (noted[b"what"], noted[b"about"], noted[b"kept"]) == (b"history erased", b"card_id", b"3")
    assert b"C1" not in b"".join(noted.values())
    again = api.client.simulate_delete("/history/card_id", json={"value": "C1"})
    assert again.status_code == 204


def test_the_next_transaction_begins_the_history_anew() -> None:
    api = an_api()
    api.client.simulate_delete("/history/card_id", json={"value": "C1"})

    api.client.simulate_post("/transactions", json=purchase(7, card_id="C1"))
    api.client.simulate_post("/transactions", json=purchase(8, card_id="C2"))
    api.work()

    columns = [api.client.simulate_get(f"/transactions/P-{number}").json["history"] for number in (7, 8)]
    assert [each["purchases_1h"] for each in columns] == [0, 1]


@pytest.mark.parametrize(
    ("path", "body", "status", "name"),
    [
        ("/history/cost", {"value": "C1"}, 404, "unknown-entity"),
        ("/history/card", {"value": "C1"}, 404, "unknown-entity"),
        # part of an entity, and none by itself
        ("/history/channel", {"value": "web"}, 404, "unknown-entity"),
        ("/history/card_id", {}, 422, "invalid-entity-value"),
        ("/history/card_id", [], 422, "invalid-entity-value"),
        ("/history/card_id", {"value": ""}, 422, "invalid-entity-value"),
        ("/history/card_id", {"value": None}, 422, "invalid-entity-value"),
        ("/history/card_id", {"value": 5}, 422, "invalid-entity-value"),
        ("/history/card_id", {"value": "C" * 2000}, 422, "invalid-entity-value"),
        ("/history/card_id", {"value": "C1", "more": 1}, 422, "invalid-entity-value"),
    ],
)
def test_what_names_no_entity_is_a_clear_answer(path: str, body: Any, status: int, name: str) -> None:
    api = an_api()
    before = entities(api)

    answer = api.client.simulate_delete(path, body=json.dumps(body), headers={"Content-Type": "application/json"})

    assert (answer.status_code, type_of(answer)) == (status, name)
    assert entities(api) == before


def test_a_body_that_is_no_json_and_a_missing_one_are_told() -> None:
    api = an_api()

    broken = api.client.simulate_delete("/history/card_id", body="{", headers={"Content-Type": "application/json"})
    missing = api.client.simulate_delete("/history/card_id")

    assert (broken.status_code, type_of(broken)) == (400, "not-json")
    assert (missing.status_code, type_of(missing)) == (415, "unsupported-media-type")


def test_an_unknown_entity_is_told_which_there_are_and_a_class_without_history_that_it_has_none() -> None:
    known = an_api().client.simulate_delete("/history/cards", json={"value": "C1"})
    none = Api().client.simulate_delete("/history/card_id", json={"value": "C1"})

    assert known.json["detail"] == "It may be card_id, merchant_id, device_id."
    assert (none.status_code, type_of(none)) == (404, "unknown-entity")
    assert "has no history" in none.json["detail"]


def test_while_the_history_is_away_it_is_503_and_may_be_repeated() -> None:
    api = an_api()
    api.history.away = True

    away = api.client.simulate_delete("/history/card_id", json={"value": "C1"})
    api.history.away = False

    assert (away.status_code, type_of(away)) == (503, "history-unavailable")
    assert away.headers["retry-after"]
    assert api.client.simulate_delete("/history/card_id", json={"value": "C1"}).status_code == 204
