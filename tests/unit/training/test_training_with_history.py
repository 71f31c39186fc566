"""A class with history: what is trained on, the twin beside the model, and what is measured."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from riskline.cli.main import run
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.bundle import Manifest
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.warm_up import warm_up
from tests.support.bursts import ROWS, START, in_bursts
from tests.support.files import save
from tests.support.histories import Purchase


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("sample") / "purchases.csv", in_bursts())


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELS", "MODEL_VERSION"):
        monkeypatch.delenv(f"RISKLINE_{name}", raising=False)
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.support.histories:Purchase")
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path / "data"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data" / "models")


def made(registry: Registry) -> Manifest:
    return registry.manifest(registry.versions()[-1])


def test_the_twin_is_trained_beside_the_model_and_both_are_measured(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(sample), "--decline-threshold", "0.7", "--review-threshold", "0.2"]) == 0

    model = registry.load_active(inputs_of(Purchase))
    manifest, twin = model.manifest, model.manifest.twin
    assert twin is not None
    assert (manifest.features, twin.features) == (Purchase.feature_names(), Purchase.twin_feature_names())
    assert manifest.thresholds == twin.thresholds == Thresholds(decline=0.7, review=0.2)
    assert manifest.history is not None
    assert manifest.history.fingerprint == getattr(history_of(Purchase), "fingerprint", "")
    assert manifest.metrics["average_precision"] > 0.7
    assert twin.metrics["average_precision"] < 0.4
    told = capsys.readouterr().out
    assert f"average precision  {manifest.metrics['average_precision']:.4f}" in told
    assert "its twin, which decides while the history is away:" in told
    assert f"average precision  {twin.metrics['average_precision']:.4f}" in told


def test_rows_of_the_first_days_only_fill_the_windows_and_it_is_told(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(sample), "--no-report"]) == 0
    told = capsys.readouterr().out

    manifest = made(registry)
    assert manifest.training["window"][0] >= (START + timedelta(days=30)).isoformat()
    (cold,) = manifest.training["left_out"]
    assert f"left out {cold['rows']} rows from its first 30d, in which the windows of history fill\n" in told
    assert manifest.training["rows"] + manifest.training["test"]["rows"] + cold["rows"] == ROWS

    assert run(["train", str(sample), "--no-report", "--warm-up", "none"]) == 0
    assert "left_out" not in made(registry).training
    assert run(["train", str(sample), "--no-report", "--warm-up", "7d"]) == 0
    assert made(registry).training["left_out"][0]["rows"] < cold["rows"] / 3


def test_of_a_short_file_half_its_time_warms_up_unless_an_option_says_where_its_rows_begin() -> None:
    history = history_of(Purchase)
    short = np.datetime64(START) + np.arange(0, 20 * 24, 6).astype("timedelta64[h]")

    half, named = warm_up(history, short, None), warm_up(history, short, None, has_beginning=True)

    assert half is not None
    assert named is not None
    assert half.length == np.timedelta64(9, "D")
    assert half.reason == (
        "from its first 9d, in which the windows of history fill (half of its time: windows of 30d need more)"
    )
    assert named.length == np.timedelta64(30, "D")
    assert warm_up(history, short, "none") is None
    assert warm_up(history_of(Transaction), short, None) is None


@pytest.mark.parametrize("words", [["--warm-up", "a month"], ["--warm-up", "30"], ["--warm-up", ""]])
def test_what_names_no_length_of_time_is_wrong_usage(sample: Path, registry: Registry, words: list[str]) -> None:
    assert run(["train", str(sample), *words]) == 2
    assert run(["evaluate", str(sample), *words]) == 2

    assert registry.versions() == []


def test_a_warm_up_is_for_classes_with_history(
    sample: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RISKLINE_TRANSACTION")

    assert run(["train", str(sample), "--warm-up", "30d"]) == 2

    assert "is for a transaction class with history" in capsys.readouterr().err


def evaluated(file: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert run(["evaluate", str(file), *words, "--json"]) == 0
    return orjson.loads(capsys.readouterr().out)


def test_an_evaluation_replays_the_file_so_that_earlier_rows_are_the_past_of_those_measured(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(sample), "--train-to", "2025-03-01", "--test-from", "2025-03-10", "--no-report"]) == 0
    trained = made(registry)

    found = evaluated(sample, "--from", "2025-03-10", capsys=capsys)

    assert {name: found[name] for name in trained.metrics if name in found} == {
        name: value for name, value in trained.metrics.items() if name in found
    }
    assert trained.twin is not None
    assert found["twin"]["average_precision"] == trained.twin.metrics["average_precision"]
    assert found["left_out"][0]["reason"] == "from its first 30d, in which the windows of history fill"
    assert sum(each["rows"] for each in found["left_out"]) + found["rows"] < ROWS
    assert run(["evaluate", str(sample), "--from", "2025-03-10"]) == 0
    assert "  without history    ROC-AUC 0." in capsys.readouterr().out


def test_the_twin_can_be_measured_and_given_thresholds_of_its_own(
    sample: Path, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(sample), "--no-report"]) == 0
    trained = made(registry)
    report = tmp_path / "report.html"
    costs = ["--cost-fn", "cost", "--cost-fp", "1", "--report", str(report)]

    found = evaluated(sample, "--twin", *costs, capsys=capsys)

    assert trained.twin is not None
    assert found["of_twin"]
    assert found["threshold"] == trained.twin.thresholds.decline
    assert found["command"].startswith(f"riskline models thresholds {trained.version} --decline ")
    assert " --twin" in found["command"]
    text = report.read_text()
    assert ", ".join(Purchase.twin_feature_names()) in text
    assert run(found["command"].split()[1:]) == 0
    changed = made(registry)
    assert changed.twin is not None
    assert changed.twin.thresholds.decline == found["chosen"]["decline"]
    assert changed.thresholds == trained.thresholds
    assert run(["evaluate", str(sample), "--twin", "--keep-report"]) == 2


def test_the_report_says_what_the_columns_of_history_are_and_what_was_left_out(
    sample: Path, registry: Registry
) -> None:
    assert run(["train", str(sample)]) == 0

    text = (registry.report(registry.versions()[0]) or b"").decode()

    history = history_of(Purchase)
    assert history is not None
    assert f"purchases_1h ({history.definitions['purchases_1h']})" in text
    assert "its twin decides with ROC-AUC 0." in text
    assert "from its first 30d" in text
