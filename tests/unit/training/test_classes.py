"""Models whose labels are not 0 and 1, and files that hold more than a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError, DatasetError
from riskline.shared.model.registry import Registry
from riskline.worker.training.imports.reference import read_reference
from tests.support.fitted import labelled
from tests.support.foreign_models import FEATURES, dumped, forest, imported

ROWS, LABELS = labelled().rows, labelled().labels.astype(int)

MODELS: dict[str, Callable[[], Any]] = {
    "forest": lambda: RandomForestClassifier(8, max_depth=5, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=5, random_state=0),
    "bagging": lambda: BaggingClassifier(n_estimators=8, max_samples=40, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=8, random_state=0),
    "weights": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "calibrated boosting": lambda: calibrated(HistGradientBoostingClassifier(max_iter=8, random_state=0)),
    "calibrated forest": lambda: calibrated(RandomForestClassifier(8, max_depth=5, random_state=0)),
    "lightgbm": lambda: pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=8, n_jobs=1, verbose=-1),
}


def calibrated(model: Any, method: str = "sigmoid") -> Any:
    return CalibratedClassifierCV(model, method=method, ensemble=False, cv=2)


# the second of two classes, and the first
LABELLED = [(kind, *classes) for kind in MODELS for classes in (("no", "yes"), ("legitimate", "fraud"))]


@pytest.mark.parametrize(("kind", "others", "fraud"), [*LABELLED, ("forest", 1, 2), ("boosting", 1, -1)])
def test_the_probability_and_the_reasons_are_those_of_the_fraud_class(
    tmp_path: Path, kind: str, others: Any, fraud: Any
) -> None:
    model = MODELS[kind]().fit(ROWS, np.array([others, fraud])[LABELS])

    manifest = imported(dumped(model, tmp_path / "team.joblib"), fraud_class=str(fraud))
    serving = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))

    rows = ROWS[:1_000]
    scores, contributions = serving.explain(rows)
    theirs = model.predict_proba(rows)[:, list(model.classes_).index(fraud)]
    assert np.abs(scores - theirs).max() <= (0.0 if kind in ("forest", "tree", "bagging") else 1e-12)
    assert manifest.metrics["roc_auc"] > 0.6
    total = serving.base + contributions.sum(axis=1)
    assert np.allclose(total if manifest.scoring.link == "identity" else 1 / (1 + np.exp(-total)), scores, atol=1e-9)


def test_of_a_forest_with_several_classes_fraud_is_one_against_the_rest(tmp_path: Path) -> None:
    kinds = np.where(LABELS == 1, "fraud", np.where(ROWS[:, 0] > 50, "large", "small"))
    model = RandomForestClassifier(8, max_depth=5, random_state=0).fit(ROWS, kinds)

    manifest = imported(dumped(model, tmp_path / "team.joblib"), fraud_class="fraud")
    serving = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))

    assert np.array_equal(serving.score(ROWS), model.predict_proba(ROWS)[:, 0])


def test_a_staircase_of_the_other_class_is_refused(tmp_path: Path) -> None:
    boosting = HistGradientBoostingClassifier(max_iter=8).fit(ROWS, np.array(["no", "fraud"])[LABELS])
    model = calibrated(FrozenEstimator(boosting), "isotonic").fit(ROWS, np.array(["no", "fraud"])[LABELS])

    with pytest.raises(BundleError, match="its isotonic curve is of the second: train it with 1 for fraud"):
        imported(dumped(model, tmp_path / "team.joblib"), fraud_class="fraud")


def test_labels_of_the_reference_are_those_of_the_model(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS[:50], schema=list(FEATURES), orient="row")
    frame.with_columns(outcome=pl.Series(["no", "yes"] * 25)).write_csv(tmp_path / "rows.csv")

    def read(fraud_class: str) -> Any:
        return read_reference(
            tmp_path / "rows.csv", Transaction, label="outcome", fraud_class=fraud_class, skip_bad_rows=False
        )

    assert read("yes").labels.tolist() == [0, 1] * 25
    with pytest.raises(DatasetError, match="no row has fraud in outcome"):
        read("fraud")


@pytest.mark.parametrize(
    ("put", "key"),
    [
        (lambda model: {"model": model, "columns": list(FEATURES)}, "model"),
        (lambda model: (StandardScaler(), model), "1"),
    ],
)
def test_the_model_in_a_dict_or_a_tuple_is_named_by_its_key(
    tmp_path: Path, put: Callable[[Any], Any], key: str
) -> None:
    file = dumped(put(forest()), tmp_path / "team.joblib")

    assert imported(file, key=key).estimator == "RandomForestClassifier"
    with pytest.raises(
        BundleError, match=r"\(RandomForestClassifier\).*, no model: name the one that is the model by --key"
    ):
        imported(file)
    with pytest.raises(BundleError, match="has no 'estimator' in it: it has '"):
        imported(file, key="estimator")


def test_a_key_of_what_has_no_members_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a RandomForestClassifier, which has no members: leave --key out"):
        imported(dumped(forest(), tmp_path / "team.joblib"), key="model")
