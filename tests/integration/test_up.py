import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, is_alive, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration


@pytest.fixture
def up(tmp_path: Path, demo_environment: dict[str, str]) -> Iterator[RunningUp]:
    with RunningUp(tmp_path / "data", environment=demo_environment) as running:
        yield running


def test_what_it_prints_can_be_pasted_and_what_it_starts_scores_and_queues(up: RunningUp) -> None:
    pasted = next(line.strip() for line in up.lines if line.strip().startswith("curl"))

    answer = json.loads(
        subprocess.run(shlex.split(pasted), capture_output=True, timeout=PATIENCE_SECONDS, check=True).stdout
    )
    accepted, _ = up.request("POST", "/transactions", json.dumps(transaction_json(transaction_id="q-1")).encode())
    _, waited = up.request("GET", "/transactions/q-1?wait=10")

    assert answer["fraud_probability"] == 0.9
    assert accepted == 202
    assert waited["status"] == "scored"


def test_its_redis_has_no_port_and_keeps_every_write(up: RunningUp) -> None:
    redis = Redis.from_url(up.state["redis_url"], decode_responses=True)

    found = redis.config_get("port", "appendonly", "appendfsync", "maxmemory-policy")
    redis.close()

    assert found == {"port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    assert (up.data / "run" / "redis.sock").stat().st_mode & 0o077 == 0


def test_a_second_one_on_the_same_directory_is_refused_with_the_pid(
    up: RunningUp, demo_environment: dict[str, str]
) -> None:
    second = riskline("up", "--port", "0", "--data", str(up.data), environment=demo_environment)

    assert second.returncode == 1
    assert f"pid {up.process.pid}" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_port_in_use_is_named_and_nothing_is_started(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        refused = riskline("up", "--port", port, "--data", str(tmp_path), environment=demo_environment)

    assert refused.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in refused.stderr
    assert not (tmp_path / "run" / "state.json").exists()


def test_a_killed_worker_and_a_killed_redis_are_named_and_started_again(up: RunningUp) -> None:
    before = up.state["children"]

    worker, redis = up.kill("scoring worker 1"), up.kill("Redis")

    for name, pid in (("scoring worker 1", worker), ("Redis", redis)):
        eventually(lambda name=name, pid=pid: up.said(f"{name} (pid {pid}) ended: killed by SIGKILL"))
        eventually(lambda name=name: up.state["children"][name] not in (0, before[name]))
    eventually(lambda: up.request("GET", "/health/ready")[0] == 200)


def test_told_to_stop_it_leaves_no_process_and_no_state(up: RunningUp) -> None:
    pids = up.pids()

    up.process.send_signal(signal.SIGTERM)

    assert up.process.wait(PATIENCE_SECONDS) == 0
    assert not any(map(is_alive, pids))
    assert not (up.data / "run" / "state.json").exists()


def test_killed_without_a_word_it_leaves_no_process_and_the_next_one_starts_on_the_same_data(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    with RunningUp(tmp_path, environment=demo_environment) as first:
        first.request("POST", "/transactions", json.dumps(transaction_json(transaction_id="kept")).encode())
        first.request("GET", "/transactions/kept?wait=10")
        os.kill(first.process.pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, first.pids())))

    with RunningUp(tmp_path, environment=demo_environment) as second:
        assert second.request("GET", "/transactions/kept")[1]["status"] == "scored"


def test_two_directories_do_not_meet(up: RunningUp, tmp_path: Path, demo_environment: dict[str, str]) -> None:
    with RunningUp(tmp_path / "other", environment=demo_environment) as other:
        assert other.state["port"] != up.state["port"]
        assert other.state["redis_url"] != up.state["redis_url"]


def test_an_api_that_never_starts_ends_everything_with_a_reason(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif 'api' in sys.orig_argv:\n    os._exit(1)\n")
    broken = {**demo_environment, "PYTHONPATH": str(tmp_path)}

    ended = riskline("up", "--port", "0", "--data", str(tmp_path), environment=broken)

    assert ended.returncode == 1
    assert "API ended 5 times soon after its start (exit code 1)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bundle_of_another_directory_can_be_served(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    bundle = next(path for path in Path(demo_environment["RISKLINE_MODELS"]).iterdir() if path.is_dir())
    elsewhere = {name: value for name, value in demo_environment.items() if name != "RISKLINE_MODELS"}

    with RunningUp(tmp_path, environment=elsewhere, flags=("--model", str(bundle))) as up:
        assert up.request("GET", "/health")[1]["model_version"] == bundle.name
