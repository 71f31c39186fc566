"""The OpenAPI document is valid, says of transactions what pydantic does, and of answers what the API really gives."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import falcon.inspect
import pytest
import typer
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import Field, ValidationError
from typer.testing import CliRunner

import riskline.cli.operate.openapi
from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.auth.rate_limits import RateLimiter
from riskline.ingest.middleware.request_id import Router
from riskline.ingest.openapi.document import build_openapi
from riskline.shared.access.api_keys import Scope
from riskline.shared.access.rate import parse_rate
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import BundleError, InstallationError
from tests.support.api import MAX_BATCH_ROWS, Api
from tests.support.factories import transaction_json
from tests.support.histories import Purchase

DOCUMENT = build_openapi(Transaction, version="1.2.3")
COMMITTED = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"
JSON = {"Content-Type": "application/json"}


class Transfer(TransactionModel):
    """A transfer between accounts."""

    fee: float = Field(ge=0, examples=[1.5])
    hops: int = Field(ge=1, le=9)
    instant: bool = False


class Problem(TransactionModel):
    """A team's class that has the name of one of ours."""

    severity: int


def schema_validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def request_schema(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["paths"]["/transactions"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    return schema


def responses() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for status, response in operation["responses"].items():
                yield f"{method} {path} {status}", response


@pytest.mark.parametrize("transaction_class", [Transaction, Transfer, Problem])
def test_the_document_is_valid_openapi_3_1(transaction_class: type[TransactionModel]) -> None:
    document = build_openapi(transaction_class, version="1.2.3")

    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(json.loads(json.dumps(document))).iter_errors()) == []


def test_every_route_is_in_the_document_but_pages_for_people() -> None:
    falcon.inspect.register_router(Router)(falcon.inspect.inspect_compiled_router)
    routes = falcon.inspect.inspect_routes(Api().app)

    documented = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}
    served = {(route.path, method.method) for route in routes for method in route.methods if not method.internal}
    # an id may be `batch`: the route of batches has its state, as the document's `/transactions/{transaction_id}` says
    served -= {("/transactions/batch", "GET"), ("/transactions/batch", "DELETE")}
    assert {path for path, method in served if method == "HEAD"} >= {"/health", "/transactions/{transaction_id}"}
    served = {pair for pair in served if pair[1] != "HEAD"}
    pages = {
        pair for pair in served if pair[0] in ("/", "/docs", "/console") or pair[0].startswith(("/docs/", "/console/"))
    }
    assert served - pages == documented


@pytest.mark.parametrize(("where", "response"), [pytest.param(*pair, id=pair[0]) for pair in responses()])
def test_every_example_fits_its_schema_and_every_answer_has_a_request_id(where: str, response: dict[str, Any]) -> None:
    assert "X-Request-ID" in response["headers"]
    for media in response["content"].values():
        for example in media.get("examples", {}).values():
            schema_validator(DOCUMENT, media["schema"]).validate(example["value"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"customer_age": 24.0},
        {"customer_age": 24.5},
        {"customer_age": "24"},
        {"customer_age": True},
        {"customer_age": 17},
        {"customer_age": 18},
        {"customer_age": 131},
        {"amount": 0},
        {"amount": 1},
        {"amount": "1"},
        {"amount": None},
        {"merchant_category_code": 10_000},
        {"is_online_transaction": 2},
        {"distance_from_home": -0.1},
        {"transaction_id": "a b"},
        {"transaction_id": ""},
        {"transaction_id": "x" * 129},
        {"transaction_id": 7},
        {"unknown": 1},
    ],
    ids=str,
)
def test_the_schema_accepts_and_refuses_what_the_class_does(changes: dict[str, Any]) -> None:
    body = transaction_json(**changes)

    try:
        Transaction.parse(json.dumps(body).encode())
        accepted = True
    except ValidationError:
        accepted = False

    assert schema_validator(DOCUMENT, request_schema(DOCUMENT)).is_valid(body) is accepted


def test_a_teams_own_class_takes_the_place_of_ours() -> None:
    document = build_openapi(Transfer, version="1.2.3")

    schema = document["components"]["schemas"]["Transfer"]
    assert list(schema["properties"]) == ["transaction_id", "fee", "hops", "instant"]
    assert schema["properties"]["hops"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert schema["required"] == ["transaction_id", "fee", "hops"]
    assert schema["additionalProperties"] is False
    assert "Transaction" not in document["components"]["schemas"]
    assert "amount" not in json.dumps(document)


def test_a_class_whose_examples_make_no_transaction_has_no_example_body() -> None:
    document = build_openapi(Transfer, version="1.2.3")

    assert "examples" not in document["paths"]["/transactions"]["post"]["requestBody"]["content"]["application/json"]


def test_a_teams_class_named_like_an_answer_does_not_replace_it() -> None:
    document = build_openapi(Problem, version="1.2.3")

    refused = document["paths"]["/transactions"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    schema_validator(document, refused["schema"]).validate(refused["examples"]["invalid-transaction"]["value"])
    assert schema_validator(document, request_schema(document)).is_valid({"transaction_id": "a", "severity": 1})


def given_answers() -> Iterator[tuple[str, str, Any]]:
    """Real answers of every kind that needs no waiting client, each with its path and method."""
    api = Api(queue_limit=1)
    client = api.client
    for path in ("/score-transaction", "/transactions"):
        bad_bodies: list[dict[str, Any]] = [
            {"body": b"{", "headers": JSON},
            {"body": b"{}"},
            {"body": b" " * 100_000, "headers": JSON},
            {"json": {}},
            {"json": transaction_json(), "params": {"explain": "yes"}},
        ]
        yield from ((path, "post", client.simulate_post(path, **bad)) for bad in bad_bodies)
    yield "/score-transaction", "post", client.simulate_post("/score-transaction", json=transaction_json())
    yield "/transactions", "post", client.simulate_post("/transactions", json=transaction_json())
    yield "/transactions", "post", client.simulate_post("/transactions", json=transaction_json(amount=1))
    yield "/transactions", "post", client.simulate_post("/transactions", json=transaction_json(transaction_id="b"))
    batch = "/transactions/batch"
    bad = transaction_json(amount=-1)
    waiting_body = [transaction_json(), bad]
    yield from (
        (batch, "post", client.simulate_post(batch, **each))
        for each in (
            {"json": waiting_body},
            {"json": []},
            {"json": [bad]},
            {"json": [transaction_json(transaction_id="full")]},
            {"json": [{}] * (MAX_BATCH_ROWS + 1)},
            {"body": b"{", "headers": JSON},
            {"body": b"{}"},
            {"json": waiting_body, "params": {"explain": "yes"}},
        )
    )
    state = "/transactions/{transaction_id}"
    yield state, "get", client.simulate_get("/transactions/TXN-99827364")
    api.work()
    yield state, "get", client.simulate_get("/transactions/TXN-99827364")
    yield "/transactions", "post", client.simulate_post("/transactions", json=transaction_json())
    erasure = Api()
    erasure.client.simulate_post("/transactions", json=transaction_json())
    yield state, "delete", erasure.client.simulate_delete("/transactions/TXN-99827364")
    erasure.work()
    yield state, "delete", erasure.client.simulate_delete("/transactions/TXN-99827364")
    yield state, "get", erasure.client.simulate_get("/transactions/TXN-99827364")
    yield state, "delete", erasure.client.simulate_delete("/transactions/nobody")
    yield state, "get", client.simulate_get("/transactions/nobody")
    yield state, "get", client.simulate_get("/transactions/TXN-99827364?wait=soon")
    feed = "/decisions"
    queries = ("", "after=latest", "limit=0", "after=5-0")
    yield from ((feed, "get", client.simulate_get(feed, query_string=query)) for query in queries)
    plain = ("/health", "/health/live", "/health/ready", "/metrics", "/openapi.json")
    yield from ((path, "get", client.simulate_get(path)) for path in plain)
    api.store.away = True
    yield "/transactions", "post", client.simulate_post("/transactions", json=transaction_json(transaction_id="c"))
    yield batch, "post", client.simulate_post(batch, json=[transaction_json(transaction_id="c")])
    yield state, "get", client.simulate_get("/transactions/c")
    yield state, "delete", client.simulate_delete("/transactions/c")
    yield feed, "get", client.simulate_get(feed)
    strict = Api(strict=True)
    yield "/score-transaction", "post", strict.client.simulate_post("/score-transaction", json=transaction_json())
    yield (
        "/score-transaction",
        "post",
        strict.client.simulate_post("/score-transaction", json=transaction_json(amount=1)),
    )
    strict.store.away = True
    yield "/score-transaction", "post", strict.client.simulate_post("/score-transaction", json=transaction_json())
    bare = Api(BundleError("no model in DIR")).client
    yield "/score-transaction", "post", bare.simulate_post("/score-transaction", json=transaction_json())
    yield from ((path, "get", bare.simulate_get(path)) for path in ("/health", "/health/ready"))
    yield from erased_entities()
    yield from refusals()


def erased_entities() -> Iterator[tuple[str, str, Any]]:
    api = Api(transaction_class=Purchase)
    path, value = "/history/card_id", {"value": "C1"}
    answers = [
        api.client.simulate_delete(path, json=value),
        api.client.simulate_delete("/history/cost", json=value),
        api.client.simulate_delete(path, json={}),
        api.client.simulate_delete(path, body=b"{", headers=JSON),
        api.client.simulate_delete(path, body=b" " * 100_000, headers=JSON),
        api.client.simulate_delete(path),
    ]
    api.history.away = True
    answers.append(api.client.simulate_delete(path, json=value))
    yield from (("/history/{entity}", "delete", answer) for answer in answers)


def refusals() -> Iterator[tuple[str, str, Any]]:
    """What is answered without a key, with one for something else, and with one that has sent too much."""
    (scores, one), (reads, two) = (
        make(scope, [scope], now=datetime.now(UTC), expires_at=None) for scope in (Scope.SCORE, Scope.READ)
    )
    client = Api(gate=Authenticator(own_keys=(one, two))).client
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            wrong = reads if path == "/score-transaction" else scores
            if operation["security"]:
                for headers in ({}, {"Authorization": f"Bearer {wrong}"}):
                    yield path, method, client.simulate_request(method.upper(), path, headers=headers)
    limited = Api(limiter=RateLimiter(parse_rate("1/h"))).client
    limited.simulate_get("/decisions")
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if operation["security"]:
                yield path, method, limited.simulate_request(method.upper(), path)


def test_real_answers_are_as_the_document_says() -> None:
    seen = set()

    for path, method, answer in given_answers():
        where = f"{method} {path} {answer.status_code}"
        seen.add(where)
        response = DOCUMENT["paths"][path][method]["responses"][str(answer.status_code)]
        if not response["content"]:
            assert answer.content == b""
            continue
        media_type = answer.headers["content-type"].partition(";")[0]
        media = response["content"][media_type]
        if media_type.endswith("json"):
            schema_validator(DOCUMENT, media["schema"]).validate(answer.json)
        if media_type == "application/problem+json":
            shown = {example["value"]["type"]: example["value"] for example in media["examples"].values()}
            assert shown[answer.json["type"]]["title"] == answer.json["title"], where
        allowed = {name.lower() for name in response["headers"]}
        told = {
            "location",
            "retry-after",
            "preference-applied",
            "www-authenticate",
            "x-request-id",
            "ratelimit",
            "ratelimit-policy",
        }
        told &= set(answer.headers)
        assert told <= allowed, where
        if answer.status_code == 503 and "retry-after" in allowed:
            assert "retry-after" in told, where

    assert seen == {where for where, _ in responses() if not where.endswith(" default")}


def test_the_committed_document_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RISKLINE_TRANSACTION", raising=False)
    app = typer.Typer()
    app.command()(riskline.cli.operate.openapi.openapi)

    CliRunner().invoke(app, ["--out", str(tmp_path / "openapi.json")])

    assert COMMITTED.read_bytes() == (tmp_path / "openapi.json").read_bytes(), "run make openapi"
    assert list(OpenAPIV31SpecValidator(json.loads(COMMITTED.read_bytes())).iter_errors()) == []


def test_the_command_prints_the_document_or_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(riskline.cli.operate.openapi, "version", lambda _name: "1.2.3")
    app = typer.Typer()
    app.command()(riskline.cli.operate.openapi.openapi)

    printed = CliRunner().invoke(app, [])
    written = CliRunner().invoke(app, ["--out", str(tmp_path / "openapi.json")])
    nowhere = CliRunner().invoke(app, ["--out", str(tmp_path / "missing" / "openapi.json")])

    assert json.loads(printed.stdout) == DOCUMENT
    assert written.stdout == ""
    assert json.loads((tmp_path / "openapi.json").read_bytes()) == DOCUMENT
    assert isinstance(nowhere.exception, InstallationError)
