import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import RunningUp, riskline

pytestmark = pytest.mark.integration


def diagnosis(data: Path, environment: dict[str, str]) -> tuple[int, dict[str, Any]]:
    ended = riskline("doctor", "--json", "--data", str(data), environment=environment)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def verdicts(answer: dict[str, Any], check: str) -> list[str]:
    return [finding["verdict"] for finding in answer["checks"] if finding["check"] == check]


def test_a_running_installation_is_healthy(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    with RunningUp(tmp_path, environment=demo_environment):
        code, answer = diagnosis(tmp_path, demo_environment)

    assert (code, answer["healthy"]) == (0, True)
    assert verdicts(answer, "redis") == ["ok"] * 4
    assert verdicts(answer, "model") == verdicts(answer, "port") == verdicts(answer, "kernel") == ["ok"]


def test_a_port_on_which_an_api_answers_is_no_fault_though_riskline_up_did_not_start_it(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    with RunningUp(tmp_path, environment=demo_environment) as up:
        _, answer = diagnosis(tmp_path / "other", {**demo_environment, "RISKLINE_PORT": str(up.state["port"])})

    assert verdicts(answer, "port") == ["ok"]


def test_an_installation_without_a_model_is_told_how_to_make_one(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    code, answer = diagnosis(tmp_path, {**demo_environment, "RISKLINE_MODELS": str(tmp_path / "none")})

    assert code == 0
    assert verdicts(answer, "model") == ["warn"]
    assert any("riskline train" in finding["detail"] for finding in answer["checks"])


def test_a_redis_that_does_not_answer_fails_without_showing_its_password(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    code, answer = diagnosis(tmp_path, {**demo_environment, "REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"})

    assert (code, answer["healthy"]) == (1, False)
    assert verdicts(answer, "redis") == ["fail"]
    assert "hunter2" not in json.dumps(answer)


def test_a_wrong_setting_is_the_one_finding_that_matters(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    code, answer = diagnosis(tmp_path, {**demo_environment, "RISKLINE_PORT": "eighty"})

    assert code == 1
    assert "RISKLINE_PORT" in next(found["detail"] for found in answer["checks"] if found["verdict"] == "fail")
