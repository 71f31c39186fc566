"""From a labelled file to a model version: fit, prove that the bundle scores as the estimator does, evaluate, write."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from riskline.shared.domain.inputs import Inputs
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import Ensemble, Manifest, quantiles, write_bundle
from riskline.shared.model.engine import Engine
from riskline.worker.training.calibration import Method, described
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.data.periods import Parts
from riskline.worker.training.evaluation.evaluate import evaluate
from riskline.worker.training.evaluation.sketch import share_known, sketched
from riskline.worker.training.fit import Algorithm, Fitted, fit, libraries

MAX_DIFFERENCE = 1e-9
"""The largest difference between kernel and estimator; a forest has none."""

PARITY_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is made of rows."""

    algorithm: Algorithm
    thresholds: Thresholds
    calibration: Method | None = None
    seed: int = 0


def train(parts: Parts, recipe: Recipe, *, inputs: Inputs, created_at: str, models_dir: Path) -> Manifest:
    """Makes a model version from the training rows, measured on those that test; of a class with history its twin, too.

    Raises:
        BundleError: the bundle scores differently from the estimator, or cannot be written.
    """
    training, test = parts.training, parts.test
    model, fitted = _made(parts, recipe, inputs.features)
    sketch = sketched(training.rows)
    twin = None
    if inputs.twin_features:
        of_twin = inputs.without_history()
        parts = parts._replace(training=training.columns(of_twin), test=test.columns(of_twin))
        twin, _ = _made(parts, recipe, inputs.twin_features)
    return write_bundle(
        models_dir,
        replace(model, reference={**model.reference, "rows_sketch": sketch}),
        libraries=libraries(),
        created_at=created_at,
        training={
            **training.described(),
            "seed": recipe.seed,
            **_left_out(parts),
            "test": {**test.described(), "like_training_rows": share_known(test.rows, sketch)},
            "calibration": described(fitted.curve, by="its labels"),
        },
        history=inputs.history,
        twin=twin,
    )


def _made(parts: Parts, recipe: Recipe, features: tuple[str, ...]) -> tuple[Ensemble, Fitted]:
    training, test = parts.training, parts.test
    fitted = fit(training, recipe.algorithm, seed=recipe.seed, calibration=recipe.calibration)
    engine = Engine(fitted.trees, fitted.scoring, width=len(features))
    difference = _largest_difference(fitted, engine, test)
    if difference > MAX_DIFFERENCE:
        raise BundleError(f"the kernel scores up to {difference:.2g} otherwise than scikit-learn; nothing was written")
    metrics: dict[str, Any] = evaluate(test.labels, engine.score(test.rows), thresholds=recipe.thresholds)
    made = Ensemble(
        trees=fitted.trees,
        scoring=fitted.scoring,
        features=features,
        thresholds=recipe.thresholds,
        estimator=fitted.name,
        metrics={**metrics, "largest_difference_to_estimator": difference},
        reference={
            "features": {name: quantiles(training.rows[:, i]) for i, name in enumerate(features)},
            "score": quantiles(engine.score(training.rows)),
        },
    )
    return made, fitted


def _left_out(parts: Parts) -> dict[str, Any]:
    left_out = [each._asdict() for each in parts.left_out]
    return {"left_out": left_out} if left_out else {}


def _largest_difference(fitted: Fitted, engine: Engine, test: LabelledRows) -> float:
    rows = test.rows[:PARITY_ROWS]
    return float(np.abs(engine.score(rows) - fitted.probabilities(rows)).max())
