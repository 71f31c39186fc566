"""A small real model version: two trees over the built-in transaction's features."""

from pathlib import Path
from typing import Any

import numpy as np

from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.model.bundle import Ensemble, Manifest, write_bundle
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
        Ensemble(
            trees=small_trees() if trees is None else trees,
            scoring=SCORING,
            features=features,
            thresholds=Thresholds(decline=0.6, review=0.5),
            estimator="RandomForestClassifier",
            metrics={"roc_auc": 0.9, "average_precision": 0.5},
            reference={"features": {}, "score": []},
        ),
        libraries={"numpy": np.__version__},
        created_at=created_at,
        training={"rows": 10},
    )


def a_stump_on(names: tuple[str, ...], feature: str, *, threshold: float = 0.5) -> Trees:
    """0.1 up to the threshold of a feature, 0.9 above it."""
    return small_trees(
        feature=[names.index(feature), -1, -1],
        threshold=[threshold, 0.0, 0.0],
        left=[1, -1, -1],
        right=[2, -1, -1],
        value=[0.5, 0.1, 0.9],
        roots=[0],
    )


def write_version_with_history(
    models_dir: Path,
    transaction_class: type[TransactionModel],
    *,
    by_history: tuple[str, float],
    by_twin: tuple[str, float] | None,
    created_at: str = CREATED_AT,
) -> Manifest:
    """Writes a version that declines above a value of one feature, and its twin above one of another."""
    inputs = inputs_of(transaction_class)

    def ensemble(features: tuple[str, ...], feature: str, threshold: float, thresholds: Thresholds) -> Ensemble:
        return Ensemble(
            trees=a_stump_on(features, feature, threshold=threshold),
            scoring=SCORING,
            features=features,
            thresholds=thresholds,
            estimator="RandomForestClassifier",
            metrics={"roc_auc": 0.9, "average_precision": 0.5},
            reference={"features": {}, "score": []},
        )

    return write_bundle(
        models_dir,
        ensemble(inputs.features, *by_history, Thresholds(decline=0.6, review=0.5)),
        libraries={"numpy": np.__version__},
        created_at=created_at,
        training={"rows": 10},
        history=inputs.history,
        twin=None if by_twin is None else ensemble(inputs.twin_features, *by_twin, Thresholds(decline=0.7)),
    )
