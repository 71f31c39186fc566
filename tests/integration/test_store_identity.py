"""A Redis that is emptied under a running installation is said by everything that an operator looks at."""

import json
from pathlib import Path

import pytest

from tests.integration.running import OwnRedis, RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration


def test_an_emptied_redis_is_said_by_readiness_metrics_doctor_and_audit_also_after_a_restart(
    tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    data = ("--json", "--data", str(tmp_path))
    with RunningUp(tmp_path, environment=environment) as up:
        body = json.dumps(transaction_json(transaction_id="t-1")).encode()
        assert up.request("POST", "/transactions", body)[0] == 202
        eventually(lambda: '"accepted": 1' in (tmp_path / "store.json").read_text())
        client = redis.client()
        client.flushall()
        client.close()

        eventually(lambda: "store" in up.request("GET", "/health/ready")[1]["degraded"])
        metrics = up.read("/metrics")
        diagnosis = riskline("doctor", *data, environment=environment)
        audit = riskline("doctor", "--audit", *data, environment=environment)

    assert b"riskline_store_losses 1.0" in metrics
    for ended in (diagnosis, audit):
        assert ended.returncode == 1
        assert "not the store that was here before" in ended.stdout

    with RunningUp(tmp_path, environment=environment) as up:
        eventually(lambda: "store" in up.request("GET", "/health/ready")[1]["degraded"])
        accepted = riskline("doctor", "--accept-loss", *data, environment=environment)
        eventually(lambda: up.request("GET", "/health/ready")[1]["degraded"] == [])

    assert accepted.returncode == 0, accepted.stdout
