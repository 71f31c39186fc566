"""From a file to a version that serves, and how good it is."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from riskline.cli.main import run
from riskline.shared.domain.inputs import Inputs, inputs_of
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError, DatasetError
from riskline.shared.model.registry import Registry
from riskline.worker.training import train as training_module
from riskline.worker.training.data.periods import split
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.evaluation.evaluate import evaluate
from riskline.worker.training.fit import Algorithm, Fitted
from riskline.worker.training.train import Recipe, train
from tests.support.fitted import fitted, labelled

FEATURES = Transaction.feature_names()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "sample.csv"
    simulate(rows=4_000, seed=5).write_csv(path)
    return path


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELS", "MODEL_VERSION", "TRANSACTION"):
        monkeypatch.delenv(f"RISKLINE_{name}", raising=False)
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path / "data"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data" / "models")


def json_of(captured: pytest.CaptureFixture[str]) -> Any:
    return orjson.loads(captured.readouterr().out)


def make_version(models_dir: Path, *, algorithm: Algorithm = Algorithm.RANDOM_FOREST, seconds: int = 0) -> Any:
    return train(
        split(labelled(), seed=0),
        Recipe(algorithm=algorithm, thresholds=Thresholds()),
        inputs=Inputs(FEATURES),
        created_at=f"2026-11-24T03:15:{seconds:02}Z",
        models_dir=models_dir,
    )


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_trained_version_says_what_it_was_made_of_and_how_good_it_is(tmp_path: Path, algorithm: Algorithm) -> None:
    training, test, _ = split(labelled(), seed=0)

    manifest = make_version(tmp_path, algorithm=algorithm)
    model = Registry(tmp_path).load(manifest.version, inputs_of(Transaction))

    assert manifest.features == FEATURES
    assert (manifest.training["rows"], manifest.training["frauds"]) == (len(training.labels), training.frauds)
    assert manifest.training["test"]["sha256"] == test.described()["sha256"]
    assert set(manifest.libraries) == {"python", "scikit-learn", "numpy"}
    expected = evaluate(test.labels, model.score(test.rows), thresholds=Thresholds(decline=0.85))
    assert {name: manifest.metrics[name] for name in expected} == expected
    assert manifest.metrics["largest_difference_to_estimator"] <= 1e-9
    assert manifest.metrics["roc_auc"] > 0.8
    reference = orjson.loads((tmp_path / manifest.version / "reference.json").read_bytes())
    assert set(reference["features"]) == set(FEATURES)
    assert len(reference["score"]) == 101


def test_the_same_rows_and_seed_make_the_same_trees(tmp_path: Path) -> None:
    first, second = make_version(tmp_path), make_version(tmp_path, seconds=1)

    assert first.sha256 == second.sha256
    assert first.metrics == second.metrics


def test_a_kernel_that_scores_otherwise_than_the_estimator_stops_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forest = fitted(Algorithm.RANDOM_FOREST)
    other = Fitted(forest.estimator, forest.trees, forest.scoring.model_copy(update={"scale": 0.999}), None)
    monkeypatch.setattr(training_module, "fit", lambda *_args, **_options: other)

    with pytest.raises(BundleError, match="otherwise than scikit-learn; nothing was written"):
        make_version(tmp_path)

    assert Registry(tmp_path).versions() == []


def test_figures_at_a_threshold_count_what_is_strictly_above_it() -> None:
    labels = np.array([1, 1, 0, 0, 0])

    figures = evaluate(labels, np.array([0.9, 0.5, 0.6, 0.5, 0.1]), thresholds=Thresholds(decline=0.5))

    counted = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert [figures[name] for name in counted] == [1, 1, 1, 2]
    assert (figures["precision"], figures["recall"]) == (0.5, 0.5)


def test_where_nothing_is_declined_there_is_no_precision() -> None:
    figures = evaluate(np.array([1, 0]), np.array([0.2, 0.1]), thresholds=Thresholds(decline=0.85))

    assert figures["precision"] is None
    assert figures["recall"] == 0
    assert figures["roc_auc"] == 1


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_rows_of_one_kind_measure_nothing(labels: list[int]) -> None:
    with pytest.raises(DatasetError, match="a measure needs both kinds"):
        evaluate(np.array(labels), np.array([0.2, 0.1]), thresholds=Thresholds(decline=0.85))


def test_thresholds_are_kept_with_the_model(sample: Path, registry: Registry) -> None:
    assert run(["train", str(sample), "--decline-threshold", "0.7", "--review-threshold", "0.2"]) == 0

    assert registry.load_active(inputs_of(Transaction)).thresholds == Thresholds(decline=0.7, review=0.2)


@pytest.mark.parametrize(
    "words",
    [
        ["--algorithm", "oracle"],
        ["--decline-threshold", "1.5"],
        ["--decline-threshold", "0.2", "--review-threshold", "0.3"],
        ["--test-from", "June"],
        ["--test-from", "2025-02-01T00:00:00+01:00"],
        ["--train-from", "2025-02-02", "--train-to", "2025-02-01"],
        ["--train-to", "2025-02-01", "--test-from", "2025-02-01"],
        ["--train-from", "2025-02-01", "--test-from", "2025-02-01"],
    ],
)
def test_wrong_usage_is_2_and_makes_nothing(sample: Path, registry: Registry, words: list[str]) -> None:
    assert run(["train", str(sample), *words]) == 2

    assert registry.versions() == []


def test_what_is_trained_keeps_a_report_of_the_rows_held_out_unless_it_shall_not(
    sample: Path, registry: Registry
) -> None:
    assert run(["train", str(sample)]) == 0
    assert run(["train", str(sample), "--algorithm", "isolation-forest", "--no-report"]) == 0

    first, second = registry.versions()
    assert registry.report(second) is None
    report = (registry.report(first) or b"").decode()
    assert "the rows of sample.csv that were held out" in report
    assert f"ROC curve: area {registry.manifest(first).metrics['roc_auc']:.4f}" in report
    registry.load(first)


def test_a_model_whose_report_cannot_be_kept_is_a_version_all_the_same(
    sample: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Registry, "report_path", lambda *_: registry._models_dir / "away" / "report.html")

    assert run(["train", str(sample)]) == 0

    assert "its report was not kept" in capsys.readouterr().err
    assert registry.active_version() == registry.versions()[0]


def test_an_evaluation_keeps_its_report_with_the_version_and_changes_nothing_else(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(sample), "--no-report"]) == 0
    version = registry.versions()[0]
    capsys.readouterr()

    assert run(["evaluate", str(sample), "--keep-report", "--json"]) == 0

    assert json_of(capsys)["report"] == str(registry.report_path(version))
    assert "How good the model is on sample.csv" in (registry.report(version) or b"").decode()
    assert sorted(path.name for path in registry.report_path(version).parent.iterdir()) == [
        "manifest.json",
        "reference.json",
        "report.html",
        "trees.npz",
    ]
    registry.load(version)


def test_evaluate_measures_the_version_that_serves_or_the_one_named(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["train", str(sample)])
    run(["train", str(sample), "--algorithm", "hist-gradient-boosting"])
    other = next(version for version in registry.versions() if version != registry.active_version())
    capsys.readouterr()

    assert run(["evaluate", str(sample), "--json"]) == 0
    serving = json_of(capsys)
    assert run(["evaluate", str(sample), "--model", other, "--json"]) == 0
    named = json_of(capsys)

    assert serving["model_version"] == registry.active_version()
    assert named["model_version"] == other
    assert serving["rows"] == named["rows"] == 4_000
    assert serving["roc_auc"] > 0.95


def test_rows_between_training_and_test_are_left_out_and_told(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    days = ["--train-from", "2025-01-15", "--train-to", "2025-02-28", "--test-from", "2025-03-08"]

    assert run(["train", str(sample), *days]) == 0

    told = capsys.readouterr().out
    assert " from before 2025-01-15\n" in told
    assert " between those to train on and those that test\n" in told
    training = registry.manifest(registry.versions()[0]).training
    assert (training["window"][0][:10], training["window"][1][:10]) == ("2025-01-15", "2025-02-28")
    assert training["test"]["window"][0][:10] == "2025-03-08"
    counted = training["rows"] + training["test"]["rows"] + sum(each["rows"] for each in training["left_out"])
    assert counted == 4_000


def test_an_evaluation_may_be_of_a_part_of_the_file(
    sample: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(sample), "--train-to", "2025-02-28", "--test-from", "2025-03-08", "--no-report"]) == 0
    trained = registry.manifest(registry.versions()[0]).metrics
    capsys.readouterr()

    assert run(["evaluate", str(sample), "--from", "2025-03-08", "--json"]) == 0

    measured = json_of(capsys)
    assert {name: measured[name] for name in trained if name in measured} == {
        name: trained[name] for name in trained if name in measured
    }
    assert measured["rows"] == trained["rows"]
