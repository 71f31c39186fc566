"""Small models of each algorithm, fitted once for all tests, and rows that catch an engine that is nearly right."""

from functools import cache

import numpy as np
from threadpoolctl import threadpool_limits

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.engine import Engine
from riskline.shared.model.trees import LEAF, Scoring, Trees
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.fit import Algorithm, Fitted, fit

# threads that wait for each other by spinning take ten times as long on a machine that does other work, too
threadpool_limits(1, user_api="openmp")

WIDTH = len(Transaction.feature_names())


@cache
def labelled(rows: int = 8_000, seed: int = 3) -> LabelledRows:
    """Simulated rows with their labels."""
    frame = simulate(rows=rows, seed=seed)
    return LabelledRows(
        frame.select(Transaction.feature_names()).to_numpy().astype(np.float64),
        frame["is_fraud"].to_numpy().astype(np.int8),
        None,
        Refusals(),
    )


@cache
def fitted(algorithm: Algorithm) -> Fitted:
    """The algorithm fitted on those rows."""
    return fit(labelled(), algorithm, seed=0)


def engine_of(model: Fitted) -> Engine:
    """The kernel with its trees."""
    return Engine(model.trees, model.scoring, width=WIDTH)


def rows_at_every_threshold(trees: Trees) -> Rows:
    """For each split a row with the threshold, its neighbours in double and in single precision, and its cents."""
    splits = np.flatnonzero(trees.feature != LEAF)
    thresholds = trees.threshold[splits]
    single = thresholds.astype(np.float32)
    values = np.stack(
        [
            thresholds,
            np.nextafter(thresholds, -np.inf),
            np.nextafter(thresholds, np.inf),
            single.astype(np.float64),
            np.nextafter(single, np.float32(-np.inf)).astype(np.float64),
            np.nextafter(single, np.float32(np.inf)).astype(np.float64),
            thresholds.round(2),
        ]
    )
    others = labelled().rows
    rows = np.tile(others[np.arange(len(splits)) % len(others)], (len(values), 1))
    rows[np.arange(len(rows)), np.tile(trees.feature[splits], len(values))] = values.ravel()
    return rows


def a_stump(*, threshold: float = 1000.0, below: float = 0.1, above: float = 0.9) -> tuple[Trees, Scoring]:
    """One split on the first feature."""
    trees = Trees(
        feature=np.array([0, LEAF, LEAF], dtype=np.int32),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, LEAF, LEAF], dtype=np.int32),
        right=np.array([2, LEAF, LEAF], dtype=np.int32),
        value=np.array([(below + above) / 2, below, above]),
        roots=np.array([0], dtype=np.int32),
    )
    return trees, Scoring(inputs="float64", aggregation="mean", link="identity", base=(below + above) / 2)
