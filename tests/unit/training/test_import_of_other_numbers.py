"""A model that was trained on other numbers than the reference's: it imports, so its figures and a warning say so."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from riskline.cli.main import run
from riskline.shared.model.trees import Trees
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.imports.reference import beyond_thresholds
from tests.support.fitted import labelled
from tests.support.foreign_models import FEATURES, dumped, forest, imported


def test_a_model_whose_scaler_is_in_another_file_is_warned_of_with_the_columns(tmp_path: Path) -> None:
    scaler, warnings = StandardScaler().fit(labelled().rows), list[str]()
    model = RandomForestClassifier(12, max_depth=6, random_state=0).fit(
        scaler.transform(labelled().rows), labelled().labels
    )

    imported(dumped(model, tmp_path / "alone.joblib"), warn=warnings.append)

    told = next(each for each in warnings if "hardly one is between" in each)
    assert all(f" of {name} (" in told for name in ("merchant_category_code", "customer_age"))
    assert "dump make_pipeline(scaler, model) as one file" in told

    warnings.clear()
    imported(dumped(make_pipeline(scaler, model), tmp_path / "together.joblib"), warn=warnings.append)
    imported(dumped(forest(), tmp_path / "unscaled.joblib"), warn=warnings.append)
    assert not [each for each in warnings if "hardly one" in each]


def test_columns_that_are_asked_little_or_are_nearly_always_the_same_are_not_warned_of() -> None:
    rows = np.column_stack([np.arange(1_000.0), (np.arange(1_000) % 500 == 0) * 7.0])

    def asking(column: int, thresholds: list[float]) -> Trees:
        ones = np.full(len(thresholds), column, np.int32)
        return Trees(ones, np.array(thresholds), ones, ones, np.zeros(len(ones)), ones[:1])

    assert beyond_thresholds(asking(0, [-2.0, -1, 0, 1, 2]), rows, ["a", "b"]) is not None
    assert beyond_thresholds(asking(0, [-2.0, -1, 1, 2]), rows, ["a", "b"]) is None
    assert beyond_thresholds(asking(0, [0.0, 1, 2, 3, 20]), rows, ["a", "b"]) is None
    # of 1,000 values 2 are not 0
    assert beyond_thresholds(asking(1, [0.5, 1, 2, 3, 5]), rows, ["a", "b"]) is None


def test_the_figures_on_the_references_labels_are_printed_beside_those_of_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(rows=2_000, seed=5).write_csv(tmp_path / "sample.csv")
    file = dumped(forest(), tmp_path / "team.joblib")
    words = ["models", "import", str(file), "--data", str(tmp_path / "data"), "--features", ",".join(FEATURES)]

    assert run([*words, "--reference", str(tmp_path / "sample.csv")]) == 0
    told = capsys.readouterr().err
    assert "on the labels of sample.csv:" in told
    assert re.search(r"average precision  0\.\d{4}", told)
    assert "a model that guesses has ROC-AUC 0.5 and average precision 0.0" in told

    pl.read_csv(tmp_path / "sample.csv").drop("is_fraud").write_csv(tmp_path / "unlabelled.csv")
    assert run([*words, "--reference", str(tmp_path / "unlabelled.csv")]) == 0
    assert "on the labels" not in capsys.readouterr().err
