"""Decisions are counted by the version that made them, also of processes that share a port and are replaced."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import REGISTRY

from riskline.shared.telemetry.metrics import PROBABILITY_BUCKETS
from tests.support.api import Api
from tests.support.factories import AmountModel, transaction_json


def counted(version: str, name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"door": "sync", "model_version": version, **labels}) or 0.0


def test_a_decision_is_counted_with_its_version_and_probability_also_after_a_swap() -> None:
    api = Api(AmountModel(version="metrics-1"))
    amounts = {"metrics-1": (100, 9000), "metrics-2": (5000,)}

    for version, each in amounts.items():
        api.serving._source.model = AmountModel(version=version)
        api.serving.refresh()
        for amount in each:
            api.client.simulate_post("/score-transaction", json=transaction_json(amount=amount))

    for version, approved, declined in (("metrics-1", 1, 1), ("metrics-2", 1, 0)):
        assert counted(version, "riskline_decisions_total", action="APPROVE") == approved
        assert counted(version, "riskline_decisions_total", action="DECLINE") == declined
        assert counted(version, "riskline_fraud_probability_count") == approved + declined
    assert counted("metrics-1", "riskline_fraud_probability_sum") == 0.01 + 0.9
    assert counted("metrics-1", "riskline_fraud_probability_bucket", le="0.05") == 1
    assert counted("metrics-1", "riskline_fraud_probability_bucket", le="0.85") == 1
    assert counted("metrics-1", "riskline_fraud_probability_bucket", le="0.9") == 2


def test_the_buckets_are_those_of_a_probability() -> None:
    assert PROBABILITY_BUCKETS[:3] == (0.05, 0.1, 0.15)
    assert PROBABILITY_BUCKETS[-1] == 1.0


def test_what_a_dead_process_served_is_not_shown_once_another_has_its_place(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    says = (
        "from riskline.shared.telemetry.metrics import MODEL_INFO, exposition, forget_dead_processes; import os, sys\n"
    )

    def process(program: str) -> str:
        command = [sys.executable, "-c", says + program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    process("MODEL_INFO.labels('old').set(1); os._exit(0)")
    shown = process("forget_dead_processes(); MODEL_INFO.labels('new').set(1); print(exposition().decode())")

    assert 'riskline_model_info{version="new"} 1.0' in shown
    assert 'version="old"' not in shown
