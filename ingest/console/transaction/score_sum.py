"""The sum of a model's base and contributions, and its unit: both depend on the model's family."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from riskline.shared.model.trees import Scoring


class ScoreSum(NamedTuple):
    """The base, the total, and what the total means."""

    base: float
    total: float
    unit: str
    """The unit of the base, of each contribution, and of their sum."""
    becomes: str
    """The end of a sentence: the probability that the sum is, or becomes."""


def score_sum(scoring: Scoring, contributions: Iterable[float], fraud_probability: float) -> ScoreSum:
    """The sum of a decision of a model with this scoring; contributions that are 0 may be missing."""
    total = math.fsum([scoring.base, *contributions])
    return ScoreSum(scoring.base, total, unit_of(scoring), _becomes(scoring, total, f"{fraud_probability:.4f}"))


def unit_of(scoring: Scoring) -> str:
    """The unit of contributions: it is the same for all transactions of a model."""
    if scoring.link == "sigmoid":
        if scoring.calibration is not None:
            return "log-odds before calibration"
        # a curve over a score without a link is the link itself, and nothing else has an offset
        return "log-odds, calibrated" if scoring.offset else "log-odds"
    if scoring.calibration is None:
        return "probability"
    if scoring.aggregation == "mean" and scoring.inputs == "float32":
        # as the trees of scikit-learn's forests have it; LightGBM's mean of trees is of another kind
        return "probability before calibration"
    return (
        "anomaly score, as a logarithm to base 2" if scoring.scale < 0 else "the model's own score before calibration"
    )


def _becomes(scoring: Scoring, total: float, fraud_probability: str) -> str:
    if scoring.link == "sigmoid":
        probability = f"{_probability(total):.4f}"
        if scoring.calibration is None:
            return f"is a fraud probability of {fraud_probability}: 1 / (1 + exp({-total:.4f}))"
        return f"is a probability of {probability}, of which the calibration curve makes {fraud_probability}"
    if scoring.calibration is None:
        return f"is the fraud probability, {fraud_probability}"
    return f"becomes a fraud probability of {fraud_probability} by the calibration curve"


def _probability(log_odds: float) -> float:
    # either way the power is at most 1, and does not overflow
    power = math.exp(-abs(log_odds))
    return 1 / (1 + power) if log_odds >= 0 else power / (1 + power)
