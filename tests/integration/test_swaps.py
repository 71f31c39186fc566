"""Models are swapped under load: no error, no dropped connection, each answer wholly that of the version it names."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from riskline.shared.model.bundle import TREES
from riskline.shared.model.registry import ACTIVE, Registry
from riskline.shared.store.status.processes import Processes, ProcessState
from tests.integration.conftest import write_stump
from tests.integration.running import RunningUp, eventually, riskline
from tests.integration.swapping import QUEUE, SCORE, Oracle, Traffic, write_forests
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

SWAPS = 6


def living(up: RunningUp) -> list[ProcessState]:
    with Redis.from_url(up.state["redis_url"]) as redis:
        return Processes(redis).living()


def serve(up: RunningUp, version: str, *, number: int = 3) -> Callable[[], bool]:
    return lambda: [state.version for state in living(up)] == [version] * number


def own_models(tmp_path: Path, demo_environment: dict[str, str]) -> tuple[Path, dict[str, str]]:
    models = tmp_path / "models"
    return models, {**demo_environment, "RISKLINE_MODELS": str(models)}


async def test_swaps_under_load_give_no_error_and_no_answer_of_two_versions(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    models, environment = own_models(tmp_path, demo_environment)
    versions = write_forests(models, 3, trees=20, depth=6)
    oracle = Oracle(models, versions)
    assert oracle.differ()
    Registry(models).activate(versions[0])
    up = RunningUp(tmp_path / "data", environment=environment, flags=("--processes", "2"))

    with await asyncio.to_thread(up.__enter__) as up:
        await asyncio.to_thread(eventually, serve(up, versions[0]))
        before = {state.process for state in living(up)}
        traffic = Traffic(up.state["port"], oracle)
        load = asyncio.create_task(traffic.run(scoring=24, queueing=8))
        for swap in range(1, SWAPS + 1):
            await asyncio.to_thread(Registry(models).activate, versions[swap % 3])
            await asyncio.to_thread(eventually, serve(up, versions[swap % 3]))
        traffic.stopping.set()
        await load
        after = {state.process for state in living(up)}
        metrics = await asyncio.to_thread(eventually, lambda: all_counted(up, traffic))

    assert traffic.errors == []
    assert all(traffic.versions[door, version] for door in (SCORE, QUEUE) for version in versions)
    assert before == after
    last = versions[SWAPS % 3]
    shown = {line for line in metrics.splitlines() if line.startswith("riskline_model_info")}
    assert f'riskline_model_info{{version="{last}"}} 1.0' in shown
    assert {line for line in shown if line.endswith(" 1.0")} == {f'riskline_model_info{{version="{last}"}} 1.0'}
    for version in versions:
        for door, metric in ((SCORE, "riskline_decisions_total{"), (QUEUE, "riskline_queue_decisions_total{")):
            counted = [line for line in metrics.splitlines() if line.startswith(metric)]
            total = sum(float(line.rpartition(" ")[2]) for line in counted if f'model_version="{version}"' in line)
            assert total == traffic.versions[door, version]


def test_an_answer_that_names_another_version_than_its_own_would_be_seen(tmp_path: Path) -> None:
    first, second = write_forests(tmp_path, 2, trees=2, depth=2)
    oracle = Oracle(tmp_path, [first, second])
    right = {**oracle._expected[first][0], "transaction_id": "a", "scored_at": "now"}

    assert oracle.problem(0, right) is None
    assert "not what" in str(oracle.problem(0, {**right, "model_version": second}))
    assert "not what" in str(oracle.problem(0, {**right, "reasons": right["reasons"][1:]}))


def all_counted(up: RunningUp, traffic: Traffic) -> str | None:
    """The metrics, once they have what the worker decided; it tells that once a second."""
    text = up.read("/metrics").decode()
    queued = sum(number for (door, _), number in traffic.versions.items() if door == QUEUE)
    counted = [line for line in text.splitlines() if line.startswith("riskline_queue_decisions_total{")]
    return text if sum(float(line.rpartition(" ")[2]) for line in counted) == queued else None


@pytest.mark.slow
def test_the_command_says_when_all_serve_a_version_and_rolls_back(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    models, environment = own_models(tmp_path, demo_environment)
    first, second = write_forests(models, 2, trees=2, depth=2)
    Registry(models).activate(first)
    data = str(tmp_path / "data")

    with RunningUp(tmp_path / "data", environment=environment, flags=("--processes", "2")) as up:
        eventually(serve(up, first))
        activated = riskline("models", "activate", second, "--data", data, environment=environment)
        listed = json.loads(riskline("models", "list", "--json", "--data", data, environment=environment).stdout)
        table = riskline("models", "list", "--data", data, environment=environment).stdout
        ready = up.request("GET", "/health/ready")[1]
        back = riskline("models", "rollback", "--data", data, environment=environment)

    assert activated.stderr == f"active: {second}; all 3 processes serve it (api 2, workers 1)\n"
    assert [(each["version"], each["serves_in"]["api"], each["serves_in"]["workers"]) for each in listed] == [
        (first, 0, 0),
        (second, 2, 1),
    ]
    assert {each["kind"] for each in listed[1]["serves_in"]["processes"]} == {"api", "worker"}
    assert "api 2, workers 1" in table
    assert ready["processes"]["refusals"] == []
    assert back.stderr == f"active: {first}; all 3 processes serve it (api 2, workers 1)\n"


def test_a_damaged_version_is_refused_by_every_process_and_the_old_one_keeps_serving(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    models, environment = own_models(tmp_path, demo_environment)
    first, second = write_forests(models, 2, trees=2, depth=2)
    Registry(models).activate(first)
    data = str(tmp_path / "data")
    with RunningUp(tmp_path / "data", environment=environment) as up:
        eventually(serve(up, first, number=2))

        (models / second / TREES).write_bytes(b"damaged")
        (models / ACTIVE).write_text(second)
        eventually(lambda: [state.problem is not None for state in living(up)] == [True, True])
        ready = eventually(lambda: _with_refusals(up, 2))
        answers = [
            up.request("POST", path, json.dumps(transaction_json(transaction_id=str(i))).encode())
            for i, path in enumerate(("/score-transaction", "/transactions"))
        ]
        waited = up.request("GET", "/transactions/1?wait=10")
        listed = riskline("models", "list", "--data", data, environment=environment)
        doctor = riskline("doctor", "--json", "--data", data, environment=environment)
        log_lines = "".join(up.lines)

        (models / ACTIVE).write_text(first)
        eventually(lambda: [state.problem for state in living(up)] == [None, None])

    assert ready["status"] == "ready"
    assert ready["model_version"] == first
    assert f"{TREES} was altered" in ready["model_problem"]
    assert {each["kind"] for each in ready["processes"]["refusals"]} == {"api", "worker"}
    assert all(each["wanted"] == second for each in ready["processes"]["refusals"])
    assert [status for status, _ in answers] == [200, 202]
    assert answers[0][1]["model_version"] == waited[1]["decision"]["model_version"] == first
    for kind in ("api", "worker"):
        assert any(
            line.startswith(f"{kind} ") and f"serves {first}: " in line and f"{TREES} was altered" in line
            for line in listed.stderr.splitlines()
        )
    versions = [each for each in json.loads(doctor.stdout)["checks"] if each["check"] == "versions"]
    assert [each["verdict"] for each in versions] == ["warn"]
    assert f"{TREES} was altered" in versions[0]["detail"]
    refusals = [json.loads(line) for line in log_lines.splitlines() if '"model refused"' in line]
    assert [line["model_version"] for line in refusals] == [first, first]


def _with_refusals(up: RunningUp, number: int) -> dict[str, Any] | None:
    ready = up.request("GET", "/health/ready")[1]
    return ready if len((ready["processes"] or {"refusals": ()})["refusals"]) == number else None


def test_a_version_baked_into_an_image_is_served_from_a_directory_that_nobody_writes_to(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    models, environment = own_models(tmp_path, demo_environment)
    first, second = write_forests(models, 2, trees=2, depth=2)
    environment |= {"RISKLINE_MODEL_VERSION": first}
    before = _everything(models)
    data = str(tmp_path / "data")

    with _read_only(models), RunningUp(tmp_path / "data", environment=environment) as up:
        eventually(serve(up, first, number=2))
        status, decision = up.request("POST", "/score-transaction", json.dumps(transaction_json()).encode())
        pinned = [state.pinned for state in living(up)]
        listed = riskline("models", "list", "--data", data, environment=environment)
        assert _everything(models) == before
    activated = riskline("models", "activate", second, "--data", data, environment=environment)

    assert (status, decision["model_version"], pinned) == (200, first, [True, True])
    assert f"RISKLINE_MODEL_VERSION is set: {first} serves where it is" in listed.stderr
    assert f"RISKLINE_MODEL_VERSION is set: {first} serves where it is" in activated.stderr
    assert f"active: {second}" in activated.stderr


class _read_only:  # noqa: N801  # reads as what it does
    """A directory without its write bits; root could write all the same, which is why its times are compared, too."""

    def __init__(self, directory: Path) -> None:
        self._paths = [directory, *directory.rglob("*")]

    def __enter__(self) -> None:
        for path in self._paths:
            path.chmod(0o555 if path.is_dir() else 0o444)

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def _everything(directory: Path) -> dict[Path, tuple[int, int]]:
    """Every name below it, with its size and when it was last written to: a file made and removed shows, too."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in (directory, *directory.rglob("*"))}


@pytest.mark.slow
def test_a_process_that_dies_is_forgotten_by_itself(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    with RunningUp(tmp_path, environment=demo_environment) as up:
        name = eventually(lambda: next((each.process for each in living(up) if each.kind == "worker"), None))
        up.kill("scoring worker 1")
        eventually(lambda: name not in {each.process for each in living(up)})
        replaced = eventually(lambda: [each.pid for each in living(up) if each.kind == "worker"])

    assert len(replaced) == 1


def test_without_redis_the_list_still_works_and_says_what_it_does_not_know(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    models, environment = own_models(tmp_path, demo_environment)
    version = write_stump(models)
    environment |= {"REDIS_URL": "redis://127.0.0.1:1/0"}

    listed = riskline("models", "list", environment=environment)
    as_json = json.loads(riskline("models", "list", "--json", environment=environment).stdout)
    activated = riskline("models", "activate", version, environment=environment)

    assert listed.returncode == activated.returncode == 0
    assert version in listed.stdout
    assert "which processes serve what is not known" in listed.stderr
    assert as_json[0]["serves_in"] is None
    assert f"active: {version}\n" in activated.stderr
