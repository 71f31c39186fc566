"""What the doors of the queue make of `callback_url`."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import orjson
import pytest
from falcon import testing
from jsonschema import Draft202012Validator
from pydantic import model_validator

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.openapi.document import build_openapi
from riskline.ingest.submission.callback_field import SubmissionParser
from riskline.shared.access.api_keys import Scope
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import SettingsError, StoreUnavailableError
from riskline.shared.settings import Settings, load_settings
from riskline.shared.webhooks.signing import new_secret
from riskline.worker.scoring.drain import Listeners
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.wire import request, serving

URL = "https://shop.example/hook"
NOW = datetime(2026, 11, 24, 3, 15, tzinfo=UTC)


def settings(**changes: Any) -> Settings:
    return load_settings(callback_secret=new_secret(), **changes)


def submitted(api: Api, **fields: Any) -> Any:
    return api.client.simulate_post("/transactions", json=transaction_json(**fields))


def record(api: Api, transaction_id: str = "tx-1") -> dict[str, Any]:
    return orjson.loads(api.store.records[transaction_id])


def test_the_url_is_kept_beside_the_transaction_in_its_one_spelling() -> None:
    api = Api(settings=settings())

    assert submitted(api, transaction_id="tx-1", callback_url="HTTPS://Shop.Example:443/ab").status_code == 202

    kept = record(api)
    assert kept["callback_url"] == "https://shop.example/ab"
    assert kept["transaction"] == transaction_json(transaction_id="tx-1")


@pytest.mark.parametrize("spelled", ["callback_url", "callback\\u005furl", "\\u0063allback_ur\\u006C"])
def test_its_name_may_be_spelled_with_escapes_at_every_door_of_the_queue(spelled: str) -> None:
    api = Api(settings=settings())
    bodies = []
    for number in range(4):
        body = orjson.dumps(transaction_json(transaction_id=f"tx-{number}", callback_url=URL))
        bodies.append(body.replace(b"callback_url", spelled.encode()))

    api.client.simulate_post("/transactions", body=bodies[0], headers={"Content-Type": "application/json"})
    array = b"[" + b",".join(bodies[1:3]) + b"]"
    api.client.simulate_post("/transactions/batch", body=array, headers={"Content-Type": "application/json"})
    api.client.simulate_post("/transactions/batch", body=bodies[3], headers={"Content-Type": "application/x-ndjson"})

    assert [record(api, f"tx-{number}")["callback_url"] for number in range(4)] == [URL] * 4


def test_while_it_waits_its_callback_does_too() -> None:
    api = Api(settings=settings())
    submitted(api, transaction_id="tx-1", callback_url=URL)

    state = api.client.simulate_get("/transactions/tx-1").json["callback"]

    assert state == {
        "url": URL,
        "status": "waiting",
        "event": None,
        "webhook_id": None,
        "attempts": [],
        "next_attempt_at": None,
    }
    api.work()
    state = api.client.simulate_get("/transactions/tx-1").json["callback"]
    assert (state["status"], state["event"]) == ("pending", "transaction.scored")
    assert submitted(api, transaction_id="tx-1", callback_url=URL).json["callback"] == state


@pytest.mark.parametrize("fields", [{}, {"callback_url": None}])
def test_without_a_url_there_is_no_callback(fields: dict[str, Any]) -> None:
    api = Api(settings=settings())
    submitted(api, transaction_id="tx-1", **fields)
    api.work()

    assert "callback_url" not in record(api)
    assert api.client.simulate_get("/transactions/tx-1").json["callback"] is None
    assert api.store.callbacks == {}


def test_the_default_is_for_those_that_name_none_and_a_change_of_it_is_no_other_body() -> None:
    api = Api(settings=settings(callback_url=URL))
    other = "https://other.example/hook"

    submitted(api, transaction_id="tx-1")
    submitted(api, transaction_id="tx-2", callback_url=other)

    assert (record(api)["default_callback_url"], record(api, "tx-2")["callback_url"]) == (URL, other)
    changed = Api(settings=settings(callback_url=other))
    changed.store.records = api.store.records
    assert submitted(changed, transaction_id="tx-1").status_code == 202
    assert submitted(changed, transaction_id="tx-1", callback_url=URL).status_code == 409


@pytest.mark.parametrize("wrong", [7, True, [], {}, "", "shop.example", "http://shop.example/", "https://10.0.0.1/"])
def test_a_wrong_url_is_a_wrong_field_beside_the_others(wrong: object) -> None:
    answer = submitted(Api(settings=settings()), callback_url=wrong, amount=-1)

    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json["errors"]] == ["/amount", "/callback_url"]


def test_where_nothing_could_be_signed_no_callback_is_taken() -> None:
    answer = submitted(Api(), callback_url=URL)

    assert answer.status_code == 422
    [error] = answer.json["errors"]
    assert error["pointer"] == "/callback_url"
    assert "RISKLINE_CALLBACK_SECRET" in error["detail"]
    assert "riskline keys new --webhook" in error["detail"]


def test_an_integral_float_is_an_integer_beside_a_url_too() -> None:
    api = Api(settings=settings())

    assert submitted(api, transaction_id="tx-1", customer_age=24.0, callback_url=URL).status_code == 202

    assert record(api)["transaction"]["customer_age"] == 24
    assert record(api)["callback_url"] == URL


@pytest.mark.parametrize("as_lines", [True, False])
def test_rows_have_urls_of_their_own(*, as_lines: bool) -> None:
    api = Api(settings=settings())
    rows = [
        transaction_json(transaction_id="tx-1", callback_url=URL),
        transaction_json(transaction_id="tx-2"),
        transaction_json(transaction_id="tx-3", callback_url="ftp://shop.example/"),
    ]
    body, kind = orjson.dumps(rows), "application/json"
    if as_lines:
        body, kind = b"\n".join(orjson.dumps(row) for row in rows), "application/x-ndjson"

    answer = api.client.simulate_post("/transactions/batch", body=body, headers={"Content-Type": kind}).json

    assert (answer["accepted"], [row["index"] for row in answer["rows"]]) == (2, [2])
    assert ("callback_url" in record(api), "callback_url" in record(api, "tx-2")) == (True, False)


class Plain(Transaction):
    """Writes and checks itself by what it has."""

    @model_validator(mode="before")
    @classmethod
    def _knows_its_keys(cls, data: dict[str, Any]) -> dict[str, Any]:
        if isinstance(data, dict) and set(data) != set(cls.model_fields):
            raise ValueError("has another key")
        return data

    @model_validator(mode="after")
    def _has_numbers(self) -> Self:
        assert all(isinstance(value, int | float) for name, value in self if name != "transaction_id")
        return self

    def to_json(self) -> bytes:
        return orjson.dumps({name: getattr(self, name) for name in type(self).model_fields})


def test_a_team_s_own_class_sees_its_transaction_alone() -> None:
    submissions = SubmissionParser(Plain, check_url=str)

    for body in (transaction_json(), transaction_json(callback_url=URL)):
        transaction, url = submissions.parse(orjson.dumps(body))
        assert orjson.loads(transaction.to_json()) == transaction_json()
        assert url == body.get("callback_url")


class Taken(TransactionModel):
    amount: float
    callback_url: int


def test_a_class_whose_field_has_that_name_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="the name callback_url is taken"):
        load_transaction_class(f"{__name__}:Taken")


def test_the_default_url_is_the_operators_and_a_client_sees_its_host_alone() -> None:
    api = Api(settings=settings(callback_url="https://shop.example/services/token?key=secret"))
    submitted(api, transaction_id="tx-1")
    api.work()
    attempt = {"at": "2026-11-24T03:15:07.123Z", "status": 500, "latency_ms": 1.0, "answer": "secret", "error": None}
    api.store.callbacks["tx-1"][b"a1"] = orjson.dumps(attempt)

    state = api.client.simulate_get("/transactions/tx-1").json["callback"]

    assert state["url"] == "https://shop.example/"
    assert "secret" not in str(state)


def test_the_door_that_answers_at_once_calls_nobody() -> None:
    answer = Api(settings=settings()).client.simulate_post(
        "/score-transaction", json=transaction_json(callback_url=URL)
    )

    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": "/callback_url", "detail": "Unknown field"}]


def test_the_document_describes_the_request_that_we_make() -> None:
    document = build_openapi(Transaction, version="1")
    operation = document["paths"]["/transactions"]["post"]
    media = operation["callbacks"]["decided"]["{$request.body#/callback_url}"]["post"]["requestBody"]["content"]
    media = media["application/json"]

    schema = {**media["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(media["examples"]["scored"]["value"])
    submission = operation["requestBody"]["content"]["application/json"]
    schema = {**submission["schema"], "components": document["components"]}
    for example in submission["examples"].values():
        Draft202012Validator(schema).validate(example["value"])


def test_a_ticket_that_cannot_be_enqueued_ends_no_drain() -> None:
    api = Api(settings=settings())
    for number in range(3):
        submitted(api, transaction_id=f"tx-{number}", callback_url=URL)

    def announce() -> None:
        raise StoreUnavailableError("Redis: OOM command not allowed")

    assert api.work(Listeners(announce=announce)) == 3
    assert len(api.store.callbacks) == 3


KEYS = {
    name: make(name, scopes, now=NOW, expires_at=None)
    for name, scopes in (
        ("sender", [Scope.SUBMIT]),
        ("other", [Scope.SUBMIT]),
        ("reader", [Scope.READ]),
        ("operator", [Scope.ADMIN]),
    )
}
SECRET_URL = "https://shop.example/hooks/T0KEN?key=s3cret"


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name][0]}"}


def keyed_api() -> Api:
    gate = Authenticator(own_keys=tuple(key for _, key in KEYS.values()))
    return Api(settings=settings(), gate=gate)


async def submit_by_all_doors(api: Api) -> list[str]:
    names = ["single", "fast", "known head", "array", "lines"]
    bodies = {name: orjson.dumps(transaction_json(transaction_id=name[0], callback_url=SECRET_URL)) for name in names}
    async with testing.ASGIConductor(api.app) as client:
        for name, path, kind in (
            ("single", "/transactions", "json"),
            ("array", "/transactions/batch", "json"),
            ("lines", "/transactions/batch", "x-ndjson"),
        ):
            body = b"[%b]" % bodies[name] if name == "array" else bodies[name]
            headers = bearer("sender") | {"Content-Type": f"application/{kind}"}
            assert (await client.simulate_post(path, body=body, headers=headers)).status_code == 202
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        for count, name in enumerate(("fast", "known head"), 1):
            wire.send(request("/transactions", bodies[name], f"Authorization: Bearer {KEYS['sender'][0]}"))
            assert (await wire.answers(count))[-1].status == 202
    return [name[0] for name in names]


async def test_of_a_callback_only_its_sender_and_admin_see_more_than_the_host_whatever_door_it_came_by() -> None:
    api = keyed_api()
    ids = await submit_by_all_doors(api)
    for decided in (False, True):
        if decided:
            api.work()
            at = {"at": "2026-11-24T03:15:08.123Z", "status": 500, "latency_ms": 1.5, "answer": "s3cret", "error": None}
            for each in ids:
                api.store.callbacks[each] = {**api.store.callbacks[each], b"a1": orjson.dumps(at)}
        for name in KEYS:
            async with testing.ASGIConductor(api.app) as client:
                states = [
                    (await client.simulate_get(f"/transactions/{each}", headers=bearer(name))).json for each in ids
                ]
            callbacks = [state["callback"] for state in states]
            sees = name in ("sender", "operator")
            assert {each["url"] for each in callbacks} == {SECRET_URL if sees else "https://shop.example/"}, name
            answers = [each["attempts"][0]["answer"] for each in callbacks if decided]
            assert set(answers) <= {"s3cret" if sees else None}, name


async def test_who_submits_the_same_again_is_not_told_what_the_receiver_answered() -> None:
    api = keyed_api()
    body = transaction_json(transaction_id="a", callback_url=SECRET_URL)
    async with testing.ASGIConductor(api.app) as client:
        await client.simulate_post("/transactions", json=body, headers=bearer("sender"))
        api.work()
        again = await client.simulate_post("/transactions", json=body, headers=bearer("other"))

    assert (again.status_code, again.json["callback"]["url"]) == (200, "https://shop.example/")


async def test_who_submitted_before_a_key_was_made_again_is_another_sender() -> None:
    api = keyed_api()
    await submit_by_all_doors(api)
    secret, key = make("sender", [Scope.SUBMIT], now=NOW + timedelta(seconds=1), expires_at=None)
    later = Api(settings=settings(), gate=Authenticator(own_keys=(key,)))
    later.store.records = api.store.records

    answer = await asyncio.to_thread(
        later.client.simulate_get, "/transactions/s", headers={"Authorization": f"Bearer {secret}"}
    )

    assert answer.json["callback"]["url"] == "https://shop.example/"
