"""GET /decisions: pages, parameters, and what is answered where there is no page."""

import pytest

from tests.support.api import Api
from tests.support.factories import transaction_json


def test_the_decisions_of_both_doors_are_in_the_feed_as_they_were_answered() -> None:
    api = Api()
    at_once = api.client.simulate_post("/score-transaction", json=transaction_json(transaction_id="sync")).json
    api.record()
    api.client.simulate_post("/transactions", json=transaction_json(transaction_id="async"))
    api.work()
    queued = api.client.simulate_get("/transactions/async").json["decision"]

    answer = api.client.simulate_get("/decisions")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["decisions"] == [at_once, queued]
    again = api.client.simulate_get("/decisions", params={"after": answer.json["next"]}).json
    assert again == {"decisions": [], "next": answer.json["next"]}


def test_the_limit_is_obeyed_and_latest_begins_at_the_end() -> None:
    api = Api()
    api.store.feed += [b"1", b"2", b"3"]

    first = api.client.simulate_get("/decisions?limit=2").json
    rest = api.client.simulate_get("/decisions", params={"after": first["next"], "limit": 1}).json

    assert first["decisions"] == [1, 2]
    assert rest["decisions"] == [3]
    assert api.client.simulate_get("/decisions?after=latest").json == {"decisions": [], "next": rest["next"]}


def test_a_page_has_1000_decisions_at_the_most() -> None:
    api = Api()
    api.store.feed += [b"1"] * 1001

    assert len(api.client.simulate_get("/decisions").json["decisions"]) == 1000
    assert len(api.client.simulate_get("/decisions?limit=1000").json["decisions"]) == 1000


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("after=", "after"),
        ("after=newest", "after"),
        ("after=LATEST", "after"),
        ("after=5", "after"),
        ("after=5-0%0a", "after"),
        ("after=%28", "after"),
        ("after=18446744073709551616-0", "after"),
        ("limit=", "limit"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=ten", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("wait=soon", "wait"),
    ],
)
def test_a_wrong_parameter_is_422_and_named_with_its_rule(query: str, name: str) -> None:
    answer = Api().client.simulate_get("/decisions", query_string=query)

    assert answer.status_code == 422
    assert answer.json["type"] == "urn:riskline:problem:invalid-parameter"
    assert answer.json["detail"].startswith(f"The query parameter {name} must be ")


def test_a_cursor_that_has_left_the_feed_is_410_and_says_how_to_start_again() -> None:
    answer = Api().client.simulate_get("/decisions?after=5-0")

    assert answer.status_code == 410
    assert answer.json["type"] == "urn:riskline:problem:cursor-expired"
    assert "after=0" in answer.json["detail"]
    assert "after=latest" in answer.json["detail"]


def test_without_redis_the_feed_is_503_and_says_when_to_come_again() -> None:
    api = Api()
    api.store.away = True

    answer = api.client.simulate_get("/decisions?wait=30")

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("query", ["", "after=5-0", "after=x"])
def test_no_cache_keeps_an_answer_whatever_it_is(query: str) -> None:
    assert Api().client.simulate_get("/decisions", query_string=query).headers["cache-control"] == "no-store"
