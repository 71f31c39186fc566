"""From a labelled file to a model version: fit, prove that the bundle scores as the estimator does, evaluate, write."""

from pathlib import Path
from typing import Any

import numpy as np

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


def train(
    parts: Parts,
    *,
    features: tuple[str, ...],
    algorithm: Algorithm,
    thresholds: Thresholds,
    calibration: Method | None = None,
    seed: int,
    created_at: str,
    models_dir: Path,
) -> Manifest:
    """Makes a model version from the training rows, measured on those that test.

    Raises:
        BundleError: the bundle scores differently from the estimator, or cannot be written.
    """
    training, test = parts.training, parts.test
    fitted = fit(training, algorithm, seed=seed, calibration=calibration)
    engine = Engine(fitted.trees, fitted.scoring, width=len(features))
    difference = _largest_difference(fitted, engine, test)
    if difference > MAX_DIFFERENCE:
        raise BundleError(f"the kernel scores up to {difference:.2g} otherwise than scikit-learn; nothing was written")
    metrics: dict[str, Any] = evaluate(test.labels, engine.score(test.rows), thresholds=thresholds)
    sketch = sketched(training.rows)
    model = Ensemble(
        trees=fitted.trees,
        scoring=fitted.scoring,
        features=features,
        thresholds=thresholds,
        estimator=fitted.name,
        metrics={**metrics, "largest_difference_to_estimator": difference},
        reference={
            "features": {name: quantiles(training.rows[:, i]) for i, name in enumerate(features)},
            "score": quantiles(engine.score(training.rows)),
            "rows_sketch": sketch,
        },
    )
    return write_bundle(
        models_dir,
        model,
        libraries=libraries(),
        created_at=created_at,
        training={
            **training.described(),
            "seed": seed,
            **_left_out(parts),
            "test": {**test.described(), "like_training_rows": share_known(test.rows, sketch)},
            "calibration": described(fitted.curve, by="its labels"),
        },
    )


def _left_out(parts: Parts) -> dict[str, Any]:
    left_out = [each._asdict() for each in parts.left_out]
    return {"left_out": left_out} if left_out else {}


def _largest_difference(fitted: Fitted, engine: Engine, test: LabelledRows) -> float:
    rows = test.rows[:PARITY_ROWS]
    return float(np.abs(engine.score(rows) - fitted.probabilities(rows)).max())
