"""A team's own transaction with many fields; run as a program, it makes a model of a thousand trees for it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import create_model

from riskline.shared.domain.transaction import TransactionModel

WIDTH = 40
TREES = 1_000
DEPTH = 12
TRAINING_ROWS = 16_000

NAMES = tuple(f"feature_{i:02d}" for i in range(WIDTH))

WideTransaction = create_model("WideTransaction", __base__=TransactionModel, **dict.fromkeys(NAMES, (float, ...)))  # type: ignore[call-overload]  # fields by name


def rows(count: int, *, seed: int) -> np.ndarray:
    """Random rows."""
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).round(6)


def transactions(count: int) -> Iterator[TransactionModel]:
    """Random transactions."""
    for row in rows(count, seed=1).tolist():
        yield WideTransaction(transaction_id="wide", **dict(zip(NAMES, row, strict=True)))


def main(models: str) -> None:
    """Trains by the code of `riskline train`, which has no option for the size of a forest, and activates it."""
    # scikit-learn is wanted by this program only, not by the workers that import the class above
    from riskline.shared.clock import utc_now  # noqa: PLC0415
    from riskline.shared.domain.inputs import Inputs  # noqa: PLC0415
    from riskline.shared.domain.policy import Thresholds  # noqa: PLC0415
    from riskline.shared.model.registry import Registry  # noqa: PLC0415
    from riskline.worker.training import fit  # noqa: PLC0415
    from riskline.worker.training.data.labelled import LabelledRows  # noqa: PLC0415
    from riskline.worker.training.data.periods import Parts  # noqa: PLC0415
    from riskline.worker.training.data.rows import Refusals  # noqa: PLC0415
    from riskline.worker.training.train import Recipe, train  # noqa: PLC0415

    fit.FOREST_TREES, fit.FOREST_DEPTH = TREES, DEPTH
    data = rows(TRAINING_ROWS, seed=0)
    # half of them fraud, and much noise, so that every tree grows to its full depth
    labels = data[:, :5].sum(axis=1) + np.random.default_rng(2).normal(scale=3, size=TRAINING_ROWS) > 0
    labelled = LabelledRows(data, labels.astype(np.int8), None, Refusals())
    manifest = train(
        Parts(labelled, labelled.subset(np.arange(TRAINING_ROWS) < 1_000)),
        Recipe(algorithm=fit.Algorithm.RANDOM_FOREST, thresholds=Thresholds(decline=0.85, review=None)),
        inputs=Inputs(NAMES),
        created_at=utc_now(),
        models_dir=Path(models),
    )
    Registry(Path(models)).activate(manifest.version)


if __name__ == "__main__":
    main(sys.argv[1])
