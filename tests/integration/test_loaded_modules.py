"""What serves loads no code from files: no scikit-learn, no joblib, and nothing is ever unpickled."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from riskline.shared.model.registry import Registry
from riskline.shared.webhooks.signing import new_secret
from tests.integration.running import RunningUp, eventually
from tests.integration.swapping import write_forests
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WATCHED = Path(__file__).with_name("watched")

NEVER = {
    *("sklearn", "scipy", "joblib", "cloudpickle", "dill", "xgboost", "lightgbm"),
    *("polars", "pandas", "pyarrow", "matplotlib"),
    # redis-py loads the SDK's metrics where it finds them; what makes and sends spans only RISKLINE_TRACES does
    *("riskline.shared.telemetry.otel", "opentelemetry.exporter.otlp.proto.http.trace_exporter", "requests"),
    *(
        "riskline.worker.training.fit",
        "riskline.worker.training.imports.importer",
        "riskline.worker.training.imports.unpickle",
    ),
}
IMPORTS = re.compile(r"^\s*(?:import|from) _?pickle\b", re.MULTILINE)


def flow(up: RunningUp, models: Path, other_version: str) -> None:
    """Transactions through all doors, a swap, a callback that is tried, and every page."""

    def post(path: str, name: str, **more: Any) -> tuple[int, dict[str, Any]]:
        return up.request("POST", path, json.dumps(transaction_json(transaction_id=name, **more)).encode())

    for i, version in enumerate((None, other_version)):
        if version is not None:
            Registry(models).activate(version)
            eventually(lambda: post("/score-transaction", "swap")[1]["model_version"] == other_version)
        for n in range(8):
            assert post("/score-transaction?explain=true", f"s{i}-{n}")[0] == 200
            assert post("/transactions", f"q{i}-{n}", callback_url="http://127.0.0.1:1/hook")[0] == 202
        rows = json.dumps([transaction_json(transaction_id=f"b{i}-{n}") for n in range(50)]).encode()
        assert up.request("POST", "/transactions/batch", rows)[0] == 202
        for name in (f"q{i}-7", f"b{i}-49"):
            assert up.request("GET", f"/transactions/{name}?wait=10")[1]["status"] == "scored"
        assert post("/score-transaction", "bad", amount=-1)[0] == 422
    tried = lambda: up.request("GET", "/transactions/q0-0")[1]["callback"]["attempts"]  # noqa: E731
    assert eventually(tried)
    for path in ("/decisions?limit=5", "/health", "/health/ready", "/openapi.json"):
        assert up.request("GET", path)[0] == 200
    assert b"riskline_decisions_total" in up.read("/metrics")
    assert up.read("/docs")


def is_served_by(argv: list[str]) -> str | None:
    """What a process is, by its own command line."""
    words = " ".join(argv)
    if "multiprocessing.spawn" in words or "spawn_main" in words:
        return "api child"
    for command in (" api", " worker --queue callbacks", " worker"):
        if f"cli{command}" in words:
            return command.strip()
    return None


@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_that_serves_loads_code_or_unpickles_anything(
    tmp_path: Path, demo_environment: dict[str, str], processes: int
) -> None:
    models, watch = tmp_path / "models", tmp_path / "watch"
    watch.mkdir()
    first, second = write_forests(models, 2, trees=2, depth=2)
    Registry(models).activate(first)
    environment = {
        **demo_environment,
        "RISKLINE_MODELS": str(models),
        "RISKLINE_CALLBACK_SECRET": new_secret(),
        "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32",
        "PYTHONPATH": f"{WATCHED}{os.pathsep}{ROOT}",
        "WATCH_DIRECTORY": str(watch),
    }

    with RunningUp(tmp_path / "data", environment=environment, flags=("--processes", str(processes))) as up:
        flow(up, models, second)
        (watch / "tell").touch()
        told = eventually(lambda: served(watch, 3 if processes == 1 else 5))

    children = [] if processes == 1 else ["api child", "api child 2"]
    assert sorted(told) == ["api", *children, "worker", "worker --queue callbacks"]
    for what, each in told.items():
        loaded = {name for name in each["modules"] if name in NEVER or name.partition(".")[0] in NEVER}
        assert not loaded, what
        # rich, numpy, uvicorn and RQ import pickle, and nobody loads by it, but for several API processes: one starts
        # the others, and asks them by a pipe whether they live
        family = {"started", "pinged"} if processes > 1 and what.startswith("api") else set()
        assert set(each["loads"]) <= family, what


def served(watch: Path, number: int) -> dict[str, dict[str, Any]] | None:
    """What each process that serves has told, by what it is; None until so many have."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(watch.glob("*.json")):
        told = json.loads(path.read_text())
        what = is_served_by(told["argv"])
        if what is not None:
            found[f"{what} 2" if what in found else what] = told
    return found if len(found) >= number else None


def test_no_source_of_ours_imports_pickle_but_the_import_of_models() -> None:
    files = [path for room in ("shared", "ingest", "worker", "cli") for path in (ROOT / room).rglob("*.py")]

    importing = {str(path.relative_to(ROOT)) for path in files if IMPORTS.search(path.read_text())}

    assert all(name.startswith("worker/training/") for name in importing), importing
