"""Contributions: those of others' implementations where there is one, and exact sums where there is none."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from threadpoolctl import threadpool_limits

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.bundle import ServingModel
from riskline.shared.model.registry import Registry
from riskline.worker.training.imports.convert import depth_unit
from tests.support.fitted import labelled
from tests.support.foreign_models import dumped, imported

ROWS = 400
ADDED = 1e-12


def xgboost(**options: Any) -> Any:
    library = pytest.importorskip("xgboost", reason="XGBoost has no wheel here")
    return library.XGBClassifier(n_estimators=30, max_depth=5, n_jobs=1, **options)


def lightgbm(**options: Any) -> Any:
    library = pytest.importorskip("lightgbm", reason="LightGBM has no wheel here")
    return library.LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1, **options)


FAMILIES: dict[str, Any] = {
    "random forest": lambda: RandomForestClassifier(12, max_depth=7, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(12, max_depth=7, random_state=0),
    "weighted forest": lambda: RandomForestClassifier(8, max_depth=6, class_weight="balanced", random_state=0),
    "gradient boosting": lambda: GradientBoostingClassifier(n_estimators=15, random_state=0),
    "exponential loss": lambda: GradientBoostingClassifier(n_estimators=15, loss="exponential", random_state=0),
    "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=15, random_state=0),
    "isolation forest": lambda: IsolationForest(n_estimators=15, random_state=0),
    "xgboost": xgboost,
    "weighted xgboost": lambda: xgboost(scale_pos_weight=20, min_child_weight=0.1),
    "lightgbm": lightgbm,
}
FORESTS = ("random forest", "extra trees", "weighted forest")


@cache
def fitted(family: str) -> Any:
    with threadpool_limits(1):
        return FAMILIES[family]().fit(labelled().rows, labelled().labels)


def served(family: str, directory: Path) -> ServingModel:
    manifest = imported(dumped(fitted(family), directory / "team.joblib"))
    return Registry(directory / "models").load(manifest.version, inputs_of(Transaction))


def rows() -> Rows:
    return labelled(rows=ROWS, seed=11).rows


@pytest.mark.parametrize("family", FORESTS)
def test_a_forests_reasons_are_those_of_treeinterpreter(tmp_path: Path, family: str) -> None:
    treeinterpreter = pytest.importorskip("treeinterpreter.treeinterpreter")
    serving = served(family, tmp_path)

    _, contributions = serving.explain(rows())

    _, bias, theirs = treeinterpreter.predict(fitted(family), rows())
    assert np.abs(contributions - theirs[:, :, 1]).max() <= ADDED
    assert np.abs(serving.base - bias[:, 1]).max() <= ADDED


@pytest.mark.parametrize("family", ["xgboost", "weighted xgboost"])
def test_the_reasons_of_xgboost_are_its_own_approximate_contributions(tmp_path: Path, family: str) -> None:
    library = pytest.importorskip("xgboost", reason="XGBoost has no wheel here")
    serving = served(family, tmp_path)

    _, contributions = serving.explain(rows())

    matrix = library.DMatrix(rows())
    theirs = fitted(family).get_booster().predict(matrix, pred_contribs=True, approx_contribs=True)
    assert np.abs(contributions - theirs[:, :-1]).max() <= 1e-5
    assert np.abs(serving.base - theirs[:, -1]).max() <= 1e-5


def own_score(family: str, model: Any, serving: ServingModel, some: Rows) -> Rows:
    """What the library says in the space of the contributions, before any link."""
    if family in FORESTS:
        return np.asarray(model.predict_proba(some)[:, 1])
    if family == "isolation forest":
        scoring = serving.manifest.scoring
        slope = -scoring.scale * depth_unit(15, model.max_samples_)
        return np.asarray(slope * np.log2(-model.score_samples(some)) + scoring.offset)
    if "xgboost" in family:
        return np.asarray(model.predict(some, output_margin=True), np.float64)
    if family == "lightgbm":
        return np.asarray(model.predict(some, raw_score=True))
    margin = np.asarray(model.decision_function(some))
    return 2 * margin if family == "exponential loss" else margin


@pytest.mark.parametrize("family", FAMILIES)
def test_base_and_contributions_add_up_to_the_librarys_own_score(tmp_path: Path, family: str) -> None:
    serving, model = served(family, tmp_path), fitted(family)

    scores, contributions = serving.explain(rows())

    total = serving.base + contributions.sum(axis=1)
    allowed = 1e-5 if "xgboost" in family else ADDED
    assert np.abs(total - own_score(family, model, serving, rows())).max() <= allowed
    probabilities = total if family in FORESTS else 1 / (1 + np.exp(-total))
    assert np.abs(scores - probabilities).max() <= ADDED
    assert np.array_equal(scores, serving.score(rows()))
