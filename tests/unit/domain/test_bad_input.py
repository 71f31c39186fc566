"""Bad input at both doors: the right status, a problem that names every wrong field, never a 500."""

import tracemalloc
from typing import Any

import orjson
import pytest

from riskline.shared.domain.transaction import Transaction
from riskline.shared.domain.wrong_fields import MORE, MOST_LISTED
from tests.support.api import MAX_BODY_BYTES, Api
from tests.support.factories import transaction_json

DOORS = ["/score-transaction", "/transactions"]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def api() -> Api:
    return Api()


def assert_problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert problem["type"] == f"urn:riskline:problem:{name}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    assert answer.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"transaction_id": "a",}',
        b"amount=1",
        b"\xff\xfe",
        b'{"transaction_id": "\xff"}',
        b'{"transaction_id": "\\ud800"}',
        b"[" * 4000,
        b'{"amount": 01}',
        b"\x00",
        b'{"customer_age": ' + b"1" * 4000 + b"1}",
    ],
)
def test_what_is_not_json_is_400(api: Api, door: str, body: bytes) -> None:
    answer = api.client.simulate_post(door, body=body, headers=JSON)

    if answer.status_code == 422:  # digits without end are JSON, and no number of ours
        assert b"1111" in body
    else:
        assert_problem(answer, 400, "not-json")


@pytest.mark.parametrize("body", [b"[]", b"[1]", b'"a"', b"1", b"null", b"true", b"[{}]"])
def test_what_is_not_an_object_is_422(api: Api, door: str, body: bytes) -> None:
    problem = assert_problem(api.client.simulate_post(door, body=body, headers=JSON), 422, "invalid-transaction")

    assert problem["errors"] == [{"pointer": "", "detail": "Input should be an object"}]


def test_every_wrong_field_is_named_at_once(api: Api, door: str) -> None:
    wrong = {"transaction_id": "a b", "amount": -1, "customer_age": "24", "is_online_transaction": True, "x/y~z": 1}

    problem = assert_problem(api.client.simulate_post(door, json=wrong), 422, "invalid-transaction")

    assert {error["pointer"] for error in problem["errors"]} == {
        "/transaction_id",
        "/amount",
        "/merchant_category_code",
        "/customer_age",
        "/distance_from_home",
        "/is_online_transaction",
        "/x~1y~0z",
    }
    assert all(error["detail"] for error in problem["errors"])


@pytest.mark.parametrize("url", [{}, {"callback_url": "nonsense"}])
def test_of_thousands_of_wrong_fields_the_first_are_listed_in_bounded_memory(door: str, url: dict[str, str]) -> None:
    api = Api(max_body_bytes=200_000)
    body = orjson.dumps({**transaction_json(amount="x"), **url, **{f"field-{i}": i for i in range(8000)}})
    tracemalloc.start()

    answer = api.client.simulate_post(door, body=body, headers=JSON)

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    problem = assert_problem(answer, 422, "invalid-transaction")
    assert problem["detail"].startswith(f"More than {MOST_LISTED} fields")
    assert problem["errors"][0]["pointer"] == "/amount"
    assert problem["errors"][MOST_LISTED:] == [MORE]
    # what was sent itself takes a part of that, once it is read
    assert peak_bytes < 20 * len(body)


@pytest.mark.parametrize("transaction_id", [".", ".."])
def test_an_id_that_a_url_takes_for_its_own_is_refused_by_every_door(api: Api, transaction_id: str) -> None:
    row = transaction_json(transaction_id=transaction_id)

    answers = [api.client.simulate_post(door, json=row) for door in DOORS]
    batch = api.client.simulate_post("/transactions/batch", json=[row, transaction_json(transaction_id="...")])

    assert [answer.status_code for answer in answers] == [422, 422]
    assert [answer.json["errors"][0]["pointer"] for answer in answers] == ["/transaction_id"] * 2
    assert (batch.json["accepted"], batch.json["rows"][0]["status"]) == (1, 422)


@pytest.mark.parametrize("name", Transaction.model_fields)
def test_a_missing_field_is_named(api: Api, door: str, name: str) -> None:
    answer = api.client.simulate_post(door, json=transaction_json(**{name: None}))

    assert assert_problem(answer, 422, "invalid-transaction")["errors"] == [
        {"pointer": f"/{name}", "detail": "Field required"}
    ]


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 500, '"4500"', "true", "null", "{}"]
)
@pytest.mark.parametrize("name", Transaction.feature_names())
def test_a_value_that_is_no_number_of_ours_is_named(api: Api, door: str, name: str, literal: str) -> None:
    body = orjson.dumps({**transaction_json(), name: "HERE"}).replace(b'"HERE"', literal.encode())

    answer = api.client.simulate_post(door, body=body, headers=JSON)

    pointers = [error["pointer"] for error in assert_problem(answer, 422, "invalid-transaction")["errors"]]
    assert pointers == [f"/{name}"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_413(api: Api, door: str, declared: bool) -> None:
    headers = dict(JSON) if declared else {**JSON, "Transfer-Encoding": "chunked"}
    body = b'{"transaction_id": "' + b"x" * 10_000_000 + b'"}'

    problem = assert_problem(api.client.simulate_post(door, body=body, headers=headers), 413, "body-too-large")

    assert str(MAX_BODY_BYTES) in problem["detail"]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "json", "text/json"])
def test_a_body_that_is_not_declared_as_json_is_415(api: Api, door: str, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}

    answer = api.client.simulate_post(door, body=orjson.dumps(transaction_json()), headers=headers)

    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
def test_other_spellings_of_json_are_taken(api: Api, door: str, content_type: str) -> None:
    answer = api.client.simulate_post(
        door, body=orjson.dumps(transaction_json()), headers={"Content-Type": content_type}
    )

    assert answer.status_code in (200, 202)


def test_an_unknown_path_is_404(api: Api) -> None:
    assert_problem(api.client.simulate_get("/nowhere"), 404, "not-found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_405_with_those_allowed(api: Api, door: str, method: str) -> None:
    answer = api.client.simulate_request(method, door)

    assert_problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["allow"]


def test_a_fault_of_ours_is_a_500_without_a_stack_trace(api: Api) -> None:
    def broken(_features: Any) -> float:
        raise RuntimeError("secret")

    api.serving.require().score_one = broken  # type: ignore[method-assign]

    answer = api.client.simulate_post("/score-transaction", json=transaction_json())

    assert_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("given", "kept"), [("order-7", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("", False)]
)
def test_a_sane_request_id_comes_back(api: Api, given: str, kept: bool) -> None:
    answer = api.client.simulate_get("/health/live", headers={"X-Request-ID": given})

    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.headers["x-request-id"]
