"""How base and contributions add up to a score, by the model's family."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from riskline.ingest.console.transaction.score_sum import score_sum, unit_of
from riskline.shared.model.engine import Engine
from riskline.shared.model.trees import Isotonic, Scoring, Sigmoid, Trees
from riskline.worker.training.calibration import held
from riskline.worker.training.fit import Algorithm
from riskline.worker.training.imports.convert import CalibrationFacts
from tests.support.fitted import fitted, labelled


def calibrated(algorithm: Algorithm, curve: dict[str, Any]) -> tuple[Trees, Scoring]:
    kind = fitted(algorithm)
    return kind.trees, held(kind.scoring, CalibrationFacts.model_validate(curve))


SIGMOID = {"method": "sigmoid", "slope": 0.8, "intercept": -0.3}
ISOTONIC = {"method": "isotonic", "x": [-9.0, 0.0, 9.0], "y": [0.0, 0.4, 1.0]}
FAMILIES: dict[str, tuple[Callable[[], tuple[Trees, Scoring]], str, str]] = {
    "forest": (
        lambda: (fitted(Algorithm.RANDOM_FOREST).trees, fitted(Algorithm.RANDOM_FOREST).scoring),
        "probability",
        r"is the fraud probability, {p}",
    ),
    "boosting": (
        lambda: (fitted(Algorithm.HIST_GRADIENT_BOOSTING).trees, fitted(Algorithm.HIST_GRADIENT_BOOSTING).scoring),
        "log-odds",
        r"is a fraud probability of {p}: 1 / \(1 \+ exp\(-?[\d.]+\)\)",
    ),
    "isolation forest": (
        lambda: (fitted(Algorithm.ISOLATION_FOREST).trees, fitted(Algorithm.ISOLATION_FOREST).scoring),
        "log-odds, calibrated",
        r"is a fraud probability of {p}: 1 / \(1 \+ exp\(-?[\d.]+\)\)",
    ),
    "forest under a sigmoid": (
        lambda: calibrated(Algorithm.RANDOM_FOREST, {**SIGMOID, "over": "score"}),
        "log-odds, calibrated",
        r"is a fraud probability of {p}: 1 / \(1 \+ exp\(-?[\d.]+\)\)",
    ),
    "forest under a staircase": (
        lambda: calibrated(Algorithm.RANDOM_FOREST, {**ISOTONIC, "over": "score"}),
        "probability before calibration",
        r"becomes a fraud probability of {p} by the calibration curve",
    ),
    "boosting under a sigmoid over its margin": (
        lambda: calibrated(Algorithm.HIST_GRADIENT_BOOSTING, {**SIGMOID, "over": "margin"}),
        "log-odds, calibrated",
        r"is a fraud probability of {p}: 1 / \(1 \+ exp\(-?[\d.]+\)\)",
    ),
    "boosting under a staircase over its margin": (
        lambda: calibrated(Algorithm.HIST_GRADIENT_BOOSTING, {**ISOTONIC, "over": "margin"}),
        "the model's own score before calibration",
        r"becomes a fraud probability of {p} by the calibration curve",
    ),
    "boosting under a sigmoid over its probability": (
        lambda: calibrated(Algorithm.HIST_GRADIENT_BOOSTING, {**SIGMOID, "over": "score"}),
        "log-odds before calibration",
        r"is a probability of [\d.]+, of which the calibration curve makes {p}",
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_base_and_contributions_add_up_to_the_score_in_the_unit_of_the_family(family: str) -> None:
    made, unit, becomes = FAMILIES[family]
    trees, scoring = made()
    rows = labelled().rows[labelled().labels == 1][:5]
    scores, contributions = Engine(trees, scoring, width=rows.shape[1]).explain(rows)

    for score, moved in zip(scores.tolist(), contributions.tolist(), strict=True):
        found = score_sum(scoring, moved, score)

        assert (found.base, found.unit) == (scoring.base, unit)
        assert re.fullmatch(becomes.format(p=re.escape(f"{score:.4f}")), found.becomes), found
        assert through(scoring, found.total) == pytest.approx(score, abs=1e-9)


def through(scoring: Scoring, total: float) -> float:
    """Link and curve, once more."""
    value = 1 / (1 + np.exp(-total)) if scoring.link == "sigmoid" else total
    match scoring.calibration:
        case Sigmoid(slope=slope, intercept=intercept):
            return float(1 / (1 + np.exp(-(slope * value + intercept))))
        case Isotonic(x=x, y=y):
            return float(np.interp(value, x, y))
    return float(value)


def test_an_isolation_forest_under_a_staircase_adds_up_anomaly_scores() -> None:
    scoring = Scoring(
        inputs="float32",
        aggregation="sum",
        link="identity",
        scale=-0.01,
        base=-0.5,
        calibration=Isotonic(x=(-1.0, 0.0), y=(0.0, 1.0)),
    )

    assert unit_of(scoring) == "anomaly score, as a logarithm to base 2"


def test_a_sum_far_from_nought_does_not_overflow() -> None:
    scoring = Scoring(
        inputs="float64", aggregation="sum", link="sigmoid", base=-2000.0, calibration=Sigmoid(slope=1, intercept=0)
    )

    assert "is a probability of 0.0000" in score_sum(scoring, [], 0.5).becomes
    assert "is a probability of 1.0000" in score_sum(scoring, [4000.0], 0.5).becomes
