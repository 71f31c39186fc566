import pytest

from riskline.shared.errors import BundleError
from tests.support.api import Api
from tests.support.factories import AmountModel, transaction_json


def test_a_transaction_is_decided_at_once() -> None:
    answer = Api().client.simulate_post("/score-transaction", json=transaction_json(amount=9214))

    assert answer.status_code == 200
    assert answer.json == {
        "scored_at": answer.json["scored_at"],
        "transaction_id": "TXN-99827364",
        "fraud_probability": 0.9214,
        "action": "DECLINE",
        "model_version": AmountModel().version,
        "reasons": [
            {"feature": "amount", "value": 9214.0, "contribution": 0.9214, "text": "amount 9214.0: raises the risk"}
        ],
    }


def test_an_approved_transaction_has_reasons_only_where_they_are_asked_for() -> None:
    client = Api().client

    plain = client.simulate_post("/score-transaction", json=transaction_json(amount=10))
    explained = client.simulate_post("/score-transaction?explain=true", json=transaction_json(amount=10))

    assert "reasons" not in plain.json
    assert explained.json["reasons"] == [
        {"feature": "amount", "value": 10.0, "contribution": 0.001, "text": "amount 10.0: raises the risk"}
    ]


def test_a_decision_can_be_read_back_right_after_its_answer() -> None:
    api = Api()

    decision = api.client.simulate_post("/score-transaction", json=transaction_json()).json

    state = api.client.simulate_get("/transactions/TXN-99827364").json
    assert state["status"] == "scored"
    assert state["decision"] == decision


def test_without_redis_decisions_are_given_and_recorded_when_it_is_back() -> None:
    api = Api()
    api.store.away = True

    answer = api.client.simulate_post("/score-transaction", json=transaction_json())
    api.store.away = False
    api.record()

    assert answer.status_code == 200
    assert len(api.store.feed) == 1


def test_decisions_beyond_the_record_buffer_are_counted_as_dropped() -> None:
    api = Api(record_capacity=2)

    for i in range(5):
        api.client.simulate_post("/score-transaction", json=transaction_json(transaction_id=str(i)))

    assert api.client.simulate_get("/health/ready").json["recordings"] == {"pending": 2, "dropped": 3}


def test_without_a_model_scoring_and_health_say_so() -> None:
    api = Api(BundleError("no model in DIR: make one with `riskline train FILE`"))

    scored = api.client.simulate_post("/score-transaction", json=transaction_json())
    health = api.client.simulate_get("/health")
    ready = api.client.simulate_get("/health/ready")

    assert (scored.status_code, scored.headers["retry-after"]) == (503, "1")
    assert scored.json["type"] == "urn:riskline:problem:no-model"
    assert health.status_code == ready.status_code == 503
    assert (health.json["status"], health.json["model_loaded"]) == ("unhealthy", False)
    assert ready.json["missing"] == ["model"]
    assert "riskline train" in ready.json["checks"]["model"]


def test_health_is_what_the_tutorials_clients_expect() -> None:
    health = Api().client.simulate_get("/health")

    assert health.status_code == 200
    assert health.json["status"] == "healthy"
    assert health.json["model_loaded"] is True


@pytest.mark.parametrize("value", ["yes", "1", "True"])
def test_a_wrong_explain_parameter_is_refused(value: str) -> None:
    answer = Api().client.simulate_post("/score-transaction", params={"explain": value}, json=transaction_json())

    assert answer.status_code == 422
