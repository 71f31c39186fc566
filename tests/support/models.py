"""A small real model version: two trees over the built-in transaction's features."""

from pathlib import Path
from typing import Any

import numpy as np

from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.bundle import Manifest, write_bundle
from riskline.shared.model.trees import Scoring, Trees

CREATED_AT = "2026-11-24T03:15:00.000Z"


def small_trees(**changes: list[float]) -> Trees:
    """Amount above 100, then distance above 50: 0.1 to 0.8; online: 0.2 to 0.6."""
    arrays: dict[str, list[Any]] = {
        "feature": [0, -1, 3, -1, -1, 4, -1, -1],
        "threshold": [100.0, 0.0, 50.0, 0.0, 0.0, 0.5, 0.0, 0.0],
        "left": [1, -1, 3, -1, -1, 6, -1, -1],
        "right": [2, -1, 4, -1, -1, 7, -1, -1],
        "value": [0.3, 0.1, 0.6, 0.4, 0.8, 0.5, 0.2, 0.6],
        "roots": [0, 5],
        **changes,
    }
    return Trees(
        **{
            name: np.array(values, dtype=np.float64 if name in ("threshold", "value") else np.int32)
            for name, values in arrays.items()
        }
    )


SCORING = Scoring(inputs="float32", aggregation="mean", link="identity", base=0.4)


def write_version(
    models_dir: Path,
    *,
    trees: Trees | None = None,
    features: tuple[str, ...] = Transaction.feature_names(),
    created_at: str = CREATED_AT,
) -> Manifest:
    """Writes a version below `models_dir`."""
    return write_bundle(
        models_dir,
        trees=small_trees() if trees is None else trees,
        scoring=SCORING,
        features=features,
        thresholds=Thresholds(decline=0.6, review=0.5),
        estimator="RandomForestClassifier",
        libraries={"numpy": np.__version__},
        created_at=created_at,
        training={"rows": 10},
        metrics={"roc_auc": 0.9, "average_precision": 0.5},
        reference={"features": {}, "score": []},
    )
