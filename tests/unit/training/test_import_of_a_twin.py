"""`riskline models import --twin`: a model with history is imported with the one that decides while it is away."""

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

from riskline.cli.main import run
from riskline.shared.domain.inputs import Inputs, inputs_of
from riskline.shared.model.registry import Registry
from riskline.worker.training.imports.reference import Reference, read_reference
from tests.support.foreign_models import dumped
from tests.support.histories import Purchase, purchase

ROWS = 400


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Purchases of a few cards, of which those after many others are fraud."""
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path))
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.support.histories:Purchase")
    chance = random.Random(1)
    rows = []
    for number in range(ROWS):
        card, cost = f"C{chance.randrange(8)}", round(chance.uniform(1, 500), 2)
        row = purchase(number, seconds=number * 60, card_id=card, cost=cost, items=chance.randrange(10))
        rows.append({**row, "is_fraud": int(cost > 300 or row["items"] > 8)})
    path = tmp_path / "purchases.csv"
    with path.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def inputs() -> Inputs:
    return inputs_of(Purchase)


def reference_of(file: Path) -> Reference:
    return read_reference(file, Purchase, label=None, skip_bad_rows=False)


def known_without(rows: Any, inputs: Inputs) -> Any:
    return rows[:, [inputs.features.index(name) for name in inputs.twin_features]]


def test_both_score_as_they_did_each_on_its_own_columns(
    file: Path, inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = reference_of(file)
    model = RandomForestClassifier(10, random_state=0).fit(reference.rows, reference.labels)
    twin = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(
        known_without(reference.rows, inputs), reference.labels
    )
    words = ["--features", ",".join(inputs.features), "--twin-features", ",".join(inputs.twin_features)]
    files = [str(dumped(model, tmp_path / "team.joblib")), "--reference", str(file)]

    code = run(["models", "import", *files, "--twin", str(dumped(twin, tmp_path / "twin.joblib")), *words])

    said = capsys.readouterr()
    assert code == 0, said.err
    serving = Registry(tmp_path / "models").load(said.out.strip(), inputs)
    assert serving.twin is not None
    assert np.array_equal(serving.score(reference.rows), model.predict_proba(reference.rows)[:, 1])
    known = known_without(reference.rows, inputs)
    assert np.abs(serving.twin.score(known) - twin.predict_proba(known)[:, 1]).max() < 1e-12
    assert serving.manifest.twin is not None
    assert serving.manifest.twin.estimator == "GradientBoostingClassifier"
    assert serving.manifest.twin.metrics["roc_auc"] > 0.9
    assert serving.manifest.training["twin"]["imported_from"] == "twin.joblib"
    assert "its twin, GradientBoostingClassifier of twin.joblib, scores within" in said.err


def test_without_a_twin_a_note_says_which_mode_is_left(
    file: Path, inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = reference_of(file)
    model = RandomForestClassifier(3, max_depth=4, random_state=0).fit(reference.rows, reference.labels)
    model.feature_names_in_ = np.array(inputs.features, dtype=object)

    assert run(["models", "import", str(dumped(model, tmp_path / "team.joblib")), "--reference", str(file)]) == 0

    said = capsys.readouterr()
    assert Registry(tmp_path / "models").load(said.out.strip(), inputs).twin is None
    assert "RISKLINE_HISTORY=required is its only mode" in said.err


def test_a_twin_on_other_columns_is_refused_by_name_and_nothing_is_written(
    file: Path, inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = reference_of(file)
    model = RandomForestClassifier(3, max_depth=4, random_state=0).fit(reference.rows, reference.labels)
    model.feature_names_in_ = np.array(inputs.features, dtype=object)
    both = [str(dumped(model, tmp_path / "team.joblib")), "--twin", str(dumped(model, tmp_path / "twin.joblib"))]

    assert run(["models", "import", *both, "--reference", str(file)]) == 1

    said = capsys.readouterr().err
    assert "twin.joblib: it has 18 columns" in said
    assert ", ".join(inputs.twin_features) in said
    assert Registry(tmp_path / "models").versions() == []


def test_a_class_without_history_takes_no_twin(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RISKLINE_TRANSACTION")

    assert run(["models", "import", str(file), "--twin", str(file), "--reference", str(file)]) == 2

    assert "Transaction has no columns of history" in capsys.readouterr().err


def test_json_says_where_the_twin_comes_from(
    file: Path, inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = reference_of(file)
    known = known_without(reference.rows, inputs)
    model = RandomForestClassifier(3, max_depth=4, random_state=0).fit(reference.rows, reference.labels)
    twin = RandomForestClassifier(3, max_depth=4, random_state=0).fit(known, reference.labels)
    model.feature_names_in_ = np.array(inputs.features, dtype=object)
    twin.feature_names_in_ = np.array(inputs.twin_features, dtype=object)
    both = [str(dumped(model, tmp_path / "team.joblib")), "--twin", str(dumped(twin, tmp_path / "twin.joblib"))]

    assert run(["models", "import", *both, "--reference", str(file), "--json"]) == 0

    said = orjson.loads(capsys.readouterr().out)
    assert (said["imported_from"], said["twin"]["imported_from"]) == ("team.joblib", "twin.joblib")
