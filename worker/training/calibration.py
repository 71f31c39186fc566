"""Calibration: a curve from a model's score to a probability, the model's own or fitted to labels."""

from enum import StrEnum
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from riskline.shared.domain.assessment import Rows
from riskline.shared.errors import BundleError
from riskline.shared.model.trees import Isotonic, Scoring, Sigmoid
from riskline.worker.training.imports.convert import CalibrationFacts
from riskline.worker.training.imports.unpickle import calibration_of

LEAST_RISE = 1e-9
"""The least rise from the lowest to the highest score: a flatter curve separates nothing."""


class Method(StrEnum):
    """The kinds of curve."""

    SIGMOID = "sigmoid"
    ISOTONIC = "isotonic"


class GivenScores(ClassifierMixin, BaseEstimator):
    """A classifier whose score is its input: lets scikit-learn calibrate existing scores."""

    def fit(self, _rows: np.ndarray, labels: np.ndarray) -> "GivenScores":
        """Learns only the kinds of labels."""
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, rows: np.ndarray) -> np.ndarray:
        """The only column."""
        return np.asarray(rows[:, 0])

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The predicted label; scikit-learn only checks that this method exists."""
        return np.asarray(self.classes_[(rows[:, 0] > 0).astype(int)])


def fitted(method: Method, scores: Rows, labels: np.ndarray, *, over: Literal["margin", "score"]) -> CalibrationFacts:
    """The curve by which scores are probabilities of these labels: Platt 1999, or Zadrozny and Elkan 2002.

    Raises:
        BundleError: a higher score does not mean more fraud.
    """
    column, every = scores.reshape(-1, 1), np.arange(len(scores))
    given = FrozenEstimator(GivenScores().fit(column, labels))
    model = CalibratedClassifierCV(given, method=method.value, cv=[(every, every)]).fit(column, labels)
    _, curve = calibration_of(model)
    found = CalibrationFacts.model_validate({**curve, "over": over})
    heights = through(found, np.array([scores.min(), scores.max()]))
    if not heights[1] - heights[0] > LEAST_RISE:
        raise BundleError(
            "its scores are not higher where the labels say fraud, so no calibration makes them probabilities: are "
            "these the labels, and the columns in the model's order?"
        )
    return found


def summed(scoring: Scoring, *, trees: int) -> Scoring:
    """The same with the sum of the trees in place of their mean."""
    if scoring.aggregation == "sum":
        return scoring
    return scoring.model_copy(update={"aggregation": "sum", "base": scoring.base * trees})


def uncalibrated(scoring: Scoring) -> Scoring:
    """The scoring by the bare sum or mean of the leaves: scikit-learn's decision function."""
    base = (scoring.base - scoring.offset) / scoring.scale
    return scoring.model_copy(update={"link": "identity", "scale": 1.0, "offset": 0.0, "base": base})


def held(scoring: Scoring, curve: CalibrationFacts) -> Scoring:
    """The scoring of a model whose score goes through the curve.

    A sigmoid over a score without a link is the link itself, so that contributions add up to calibrated log-odds.

    Raises:
        BundleError: the curve is not valid.
    """
    if curve.over == "margin":
        scoring = uncalibrated(scoring)
    if curve.method == "isotonic":
        steps = Isotonic(x=tuple(curve.x), y=tuple(curve.y))
        problem = steps.problem()
        if problem is not None:
            raise BundleError(problem)
        return scoring.model_copy(update={"calibration": steps})
    if scoring.link == "sigmoid":
        return scoring.model_copy(update={"calibration": Sigmoid(slope=curve.slope, intercept=curve.intercept)})
    return scoring.model_copy(
        update={
            "link": "sigmoid",
            "scale": curve.slope * scoring.scale,
            "offset": curve.slope * scoring.offset + curve.intercept,
            "base": curve.slope * scoring.base + curve.intercept,
        }
    )


def through(curve: CalibrationFacts, scores: Rows) -> Rows:
    """The probabilities of scores by the curve, without the kernel."""
    if curve.method == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-(curve.slope * scores + curve.intercept))))
    return np.interp(scores, curve.x, curve.y)


def described(curve: CalibrationFacts | None, *, by: str) -> dict[str, Any] | None:
    """The manifest's entry of a curve; None where there is none."""
    return None if curve is None else {"method": curve.method, "over": curve.over, "fitted_by": by}
