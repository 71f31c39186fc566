"""Fits an estimator, and writes it down as flat arrays that score bit for bit as it does."""

import platform
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from shared.model.trees import Scoring, Trees
from worker.training.convert import converted, isolation, isolation_probabilities
from worker.training.labelled import Labelled
from worker.training.unpickle import describe

FOREST_TREES = 100
FOREST_DEPTH = 10
ISOLATION_SAMPLES = 4096


class Algorithm(StrEnum):
    """What `riskline train` can fit."""

    RANDOM_FOREST = "random-forest"
    HIST_GRADIENT_BOOSTING = "hist-gradient-boosting"
    ISOLATION_FOREST = "isolation-forest"


@dataclass(frozen=True)
class Fitted:
    """An estimator, what it is as flat arrays, and how its own probability is computed (for the check of parity)."""

    estimator: Any
    trees: Trees
    scoring: Scoring

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """What the estimator itself says of these rows."""
        if hasattr(self.estimator, "predict_proba"):
            own: np.ndarray = self.estimator.predict_proba(rows)[:, 1]
            return own
        return isolation_probabilities(
            self.scoring,
            self.estimator.score_samples(rows),
            trees=len(self.trees.roots),
            max_samples=self.estimator.max_samples_,
        )


def fit(data: Labelled, algorithm: Algorithm, *, seed: int) -> Fitted:
    """Fits on labelled rows, without tuning."""
    match algorithm:
        case Algorithm.RANDOM_FOREST:
            forest = RandomForestClassifier(FOREST_TREES, max_depth=FOREST_DEPTH, random_state=seed, n_jobs=-1)
            forest.fit(data.rows, data.labels)
            # one thread from here: with several the order of the sum, and so its last bit, is left to chance
            forest.set_params(n_jobs=None)
            return Fitted(forest, *converted(*describe(forest)))
        case Algorithm.HIST_GRADIENT_BOOSTING:
            boosting = HistGradientBoostingClassifier(random_state=seed).fit(data.rows, data.labels)
            return Fitted(boosting, *converted(*describe(boosting)))
        case Algorithm.ISOLATION_FOREST:
            lonely = IsolationForest(max_samples=min(ISOLATION_SAMPLES, len(data.rows)), random_state=seed)
            facts, arrays = describe(lonely.fit(data.rows))
            scores = lonely.score_samples(data.rows)
            curve = isolation(arrays, max_samples=facts["max_samples"], scores=scores, labels=data.labels)
            return Fitted(lonely, *curve)


def libraries() -> dict[str, str]:
    """The versions that made a model."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("scikit-learn", "numpy")}}
