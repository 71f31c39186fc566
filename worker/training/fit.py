"""Fits an estimator, and writes it down as flat arrays that score bit for bit as it does."""

import platform
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from riskline.shared.errors import DatasetError
from riskline.shared.model.trees import Scoring, Trees
from riskline.worker.training.calibration import Method, fitted, held, through
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.imports.convert import CalibrationFacts, converted
from riskline.worker.training.imports.unpickle import describe

FOREST_TREES = 100
FOREST_DEPTH = 10
ISOLATION_SAMPLES = 4096
CALIBRATION_PARTS = 5


class Algorithm(StrEnum):
    """The estimators that `riskline train` can fit."""

    RANDOM_FOREST = "random-forest"
    HIST_GRADIENT_BOOSTING = "hist-gradient-boosting"
    ISOLATION_FOREST = "isolation-forest"


@dataclass(frozen=True)
class Fitted:
    """An estimator, what it is as flat arrays, and the curve that calibrates it, if any."""

    estimator: Any
    trees: Trees
    scoring: Scoring
    curve: CalibrationFacts | None

    @property
    def name(self) -> str:
        """The estimator's kind, without its calibration."""
        calibrated = isinstance(self.estimator, CalibratedClassifierCV)
        return type(self.estimator.estimator if calibrated else self.estimator).__name__

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """The estimator's own probabilities of these rows, for the check of parity."""
        if self.curve is not None and not hasattr(self.estimator, "predict_proba"):
            return through(self.curve, np.log2(-self.estimator.score_samples(rows)))
        own: np.ndarray = self.estimator.predict_proba(rows)[:, 1]
        return own


def fit(data: LabelledRows, algorithm: Algorithm, *, seed: int, calibration: Method | None = None) -> Fitted:
    """Fits on labelled rows, without tuning; a calibration is fitted on out-of-fold scores."""
    match algorithm:
        case Algorithm.RANDOM_FOREST:
            forest = RandomForestClassifier(FOREST_TREES, max_depth=FOREST_DEPTH, random_state=seed, n_jobs=-1)
            return _classifier(forest, data, calibration)
        case Algorithm.HIST_GRADIENT_BOOSTING:
            return _classifier(HistGradientBoostingClassifier(random_state=seed), data, calibration)
        case Algorithm.ISOLATION_FOREST:
            lonely = IsolationForest(max_samples=min(ISOLATION_SAMPLES, len(data.rows)), random_state=seed)
            facts, arrays = describe(lonely.fit(data.rows))
            trees, scoring = converted(facts, arrays)
            said = np.log2(-lonely.score_samples(data.rows))
            curve = fitted(calibration or Method.SIGMOID, said, data.labels, over="score")
            return Fitted(lonely, trees, held(scoring, curve), curve)


def _classifier(estimator: Any, data: LabelledRows, calibration: Method | None) -> Fitted:
    if calibration is not None:
        fewest = int(np.bincount(data.labels, minlength=2).min())
        if fewest < CALIBRATION_PARTS:
            raise DatasetError(
                f"of one kind the training part has {fewest} rows, a calibration needs {CALIBRATION_PARTS} of both, "
                "and some hundreds to mean something: leave --calibration out, or take a larger file"
            )
        # folds by time, without a shuffle: a stolen card's transactions lie close together and must stay in one fold
        parts = StratifiedKFold(CALIBRATION_PARTS)
        estimator = CalibratedClassifierCV(estimator, method=calibration.value, ensemble=False, cv=parts)
    rows, labels = data.rows, data.labels
    if calibration is not None and data.times is not None:
        order = np.argsort(data.times, kind="stable")
        rows, labels = rows[order], labels[order]
    estimator.fit(rows, labels)
    facts, arrays = describe(estimator)
    trees, scoring = converted(facts, arrays)
    curve = None if facts["calibration"] is None else CalibrationFacts.model_validate(facts["calibration"])
    return Fitted(estimator, trees, scoring if curve is None else held(scoring, curve), curve)


def libraries() -> dict[str, str]:
    """The versions of the libraries that made a model."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("scikit-learn", "numpy")}}
