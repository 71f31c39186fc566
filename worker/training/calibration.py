"""Scores become probabilities that mean what they say: a curve over a model's score, its own or fitted to labels."""

from enum import StrEnum
from typing import Any, Literal

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from shared.assessment import Rows
from shared.errors import BundleError
from shared.model.trees import Isotonic, Scoring, Sigmoid
from worker.training.convert import Curve


class Method(StrEnum):
    """The kinds of curve."""

    SIGMOID = "sigmoid"
    ISOTONIC = "isotonic"


def fitted(method: Method, scores: Rows, labels: np.ndarray, *, over: Literal["margin", "score"]) -> Curve:
    """The curve by which scores are probabilities of these labels: Platt 1999, or Zadrozny and Elkan 2002."""
    if method is Method.SIGMOID:
        line = LogisticRegression(C=1e6).fit(scores.reshape(-1, 1), labels)
        return Curve(method="sigmoid", over=over, slope=float(line.coef_[0, 0]), intercept=float(line.intercept_[0]))
    steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels)
    return Curve(method="isotonic", over=over, x=steps.X_thresholds_.tolist(), y=steps.y_thresholds_.tolist())


def uncalibrated(scoring: Scoring) -> Scoring:
    """The sum or mean of the leaves itself, before scale, offset and link: scikit-learn's decision function."""
    base = (scoring.base - scoring.offset) / scoring.scale
    return scoring.model_copy(update={"link": "identity", "scale": 1.0, "offset": 0.0, "base": base})


def held(scoring: Scoring, curve: Curve) -> Scoring:
    """The scoring of a model whose score goes through the curve.

    A sigmoid over a score without a link is the link itself, so that contributions add up to calibrated log-odds.

    Raises:
        BundleError: it is no curve.
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


def through(curve: Curve, scores: Rows) -> Rows:
    """What the curve makes of scores, without the kernel."""
    if curve.method == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-(curve.slope * scores + curve.intercept))))
    return np.interp(scores, curve.x, curve.y)


def rises(curve: Curve) -> bool:
    """Whether a higher score is a higher probability anywhere."""
    return curve.slope > 0 if curve.method == "sigmoid" else curve.y[-1] > curve.y[0]


def described(curve: Curve | None, *, by: str) -> dict[str, Any] | None:
    """What a manifest says of a curve; None where there is none."""
    return None if curve is None else {"method": curve.method, "over": curve.over, "fitted_by": by}
