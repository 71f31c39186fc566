"""Models as a team would have trained them, as files, and the call that imports them."""

from functools import cache
from pathlib import Path
from typing import Any

import joblib
from sklearn.ensemble import RandomForestClassifier

from riskline.shared.domain.inputs import Inputs
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.imports.importer import Importer, ModelFile, import_model
from riskline.worker.training.imports.reference import Reference
from tests.support.fitted import labelled

FEATURES = Transaction.feature_names()


@cache
def reference(*, with_labels: bool = True) -> Reference:
    data = labelled()
    return Reference(data.rows[:2_000], data.labels[:2_000] if with_labels else None, Refusals())


@cache
def forest() -> Any:
    return RandomForestClassifier(12, max_depth=6, random_state=0, n_jobs=2).fit(labelled().rows, labelled().labels)


def dumped(model: Any, path: Path, **options: Any) -> Path:
    joblib.dump(model, path, **options)
    return path


def imported(file: Path, **options: Any) -> Any:
    asked = {
        "named": FEATURES,
        "thresholds": Thresholds(),
        "python": None,
        "sha256": None,
        "key": None,
        "fraud_class": None,
        "calibration": None,
        "warn": lambda message: None,
        "renamed": {},
        "rows": reference(),
        "features": FEATURES,
        **options,
    }
    return import_model(
        ModelFile(path=file, **{name: asked[name] for name in ("named", "thresholds", "sha256", "key", "fraud_class")}),
        asked["rows"],
        Importer(**{name: asked[name] for name in ("python", "calibration", "warn", "renamed")}),
        inputs=Inputs(asked["features"]),
        created_at="2026-11-24T03:15:07.123Z",
        models_dir=file.parent / "models",
    )
