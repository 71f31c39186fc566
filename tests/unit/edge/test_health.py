"""What /health and /health/ready tell: anybody whether and what is missing, who may read also why and where."""

from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.openapi.document import build_openapi
from riskline.shared.access.api_keys import Scope
from riskline.shared.domain.transaction import Transaction
from riskline.shared.store.status.processes import ProcessState
from tests.support.api import Api

NOW = datetime(2026, 11, 24, 3, 15, tzinfo=UTC)
KEYS = {scope: make(scope.value, [scope], now=NOW, expires_at=None) for scope in Scope}
MAY = {Scope.READ, Scope.ADMIN}
SECRETS = ("/srv/secret", "db-7.internal", "4711", "box-3")


def api_without(monkeypatch: pytest.MonkeyPatch, *, model: bool = True, redis: bool = True, keys: bool = True) -> Api:
    api = Api(gate=Authenticator(own_keys=tuple(key for _, key in KEYS.values())) if keys else None)
    if not model:
        api.serving.model = None
    api.serving.problem = "/srv/secret/models/v1: cannot be read"
    if not redis:

        async def away(_redis: Any) -> str:
            return "Redis at db-7.internal:6379 cannot be reached"

        monkeypatch.setattr("riskline.ingest.resources.health._problem_of", away)
    refusing = ProcessState(
        process="box-3-4711",
        kind="api",
        host="box-3",
        pid=4711,
        version=None,
        since=None,
        wanted="v2",
        pinned=False,
        problem="/srv/secret/models/v2: is truncated",
    )
    api.processes.states = [refusing]
    return api


def asked(api: Api, path: str, scope: Scope | None) -> Any:
    headers = {} if scope is None else {"Authorization": f"Bearer {KEYS[scope][0]}"}
    return api.client.simulate_get(path, headers=headers)


@pytest.mark.parametrize("missing", [(), ("model",), ("redis",), ("model", "redis")])
@pytest.mark.parametrize("scope", [None, *Scope])
def test_paths_hosts_and_processes_are_told_to_keys_that_may_read_alone(
    scope: Scope | None, missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_without(monkeypatch, model="model" not in missing, redis="redis" not in missing)

    health, ready = asked(api, "/health", scope), asked(api, "/health/ready", scope)

    assert health.json["model_loaded"] == ("model" not in missing)
    assert health.status_code == (503 if "model" in missing else 200)
    assert (ready.status_code, ready.json["missing"]) == (503 if missing else 200, list(missing))
    told = [secret for secret in SECRETS if secret in health.text + ready.text]
    if scope in MAY:
        assert "/srv/secret" in told
        assert ("db-7.internal" in told) == ("redis" in missing)
        assert ("4711" in told) == ("redis" not in missing)
        assert ready.json["recordings"] == {"pending": 0, "dropped": 0}
    else:
        assert told == []
        assert [ready.json[name] for name in ("model_problem", "processes", "recordings", "queue")] == [None] * 4
    for name in missing:
        assert ready.json["checks"][name] != "ok"


def test_anybody_is_told_where_the_reasons_are(monkeypatch: pytest.MonkeyPatch) -> None:
    api = api_without(monkeypatch, model=False, redis=False)

    health, ready = asked(api, "/health", None).json, asked(api, "/health/ready", None).json

    for reason in (health["detail"], *ready["checks"].values()):
        assert "riskline doctor" in reason
        assert "scope read" in reason


def test_where_no_key_is_asked_for_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = asked(api_without(monkeypatch, keys=False), "/health/ready", None)

    assert ready.json["processes"]["refusals"][0]["pid"] == 4711


@pytest.mark.parametrize("scope", [None, Scope.READ])
def test_both_bodies_are_as_the_document_has_them(scope: Scope | None, monkeypatch: pytest.MonkeyPatch) -> None:
    document = build_openapi(Transaction, version="1.2.3")
    api = api_without(monkeypatch, model=False, redis=False)

    for name, path in (("Health", "/health"), ("Readiness", "/health/ready")):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(asked(api, path, scope).json)


@pytest.mark.parametrize("scope", [None, *Scope])
def test_the_size_of_a_loss_is_told_to_keys_that_may_read_alone(
    scope: Scope | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_without(monkeypatch)
    api.store_watch.shards[0].lost = "4712 transactions had been accepted there"

    ready = asked(api, "/health/ready", scope)

    assert "store" in ready.json["degraded"]
    assert ("4712" in ready.text) == (scope in MAY)
    assert "riskline doctor" in ready.json["checks"]["store"]
