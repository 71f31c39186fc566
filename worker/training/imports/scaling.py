"""Folds a scaler before trees into their thresholds, exactly."""

import numpy as np

from riskline.shared.model.trees import LEAF, Scoring, Trees
from riskline.worker.training.imports.convert import LARGEST

Scaling = dict[str, list[float]]


def fold_scaling(trees: Trees, scoring: Scoring, scaling: list[Scaling]) -> tuple[Trees, Scoring]:
    """Trees for unscaled values that decide as these do for scaled ones.

    A scaler rounds, but never reverses an order: so for each threshold there is a largest number that, scaled as
    the scaler does it, goes left. It is searched for among all numbers of double precision.
    """
    inner = np.flatnonzero(trees.feature != LEAF)
    feature, threshold = trees.feature[inner], trees.threshold[inner]

    def goes_left(values: np.ndarray) -> np.ndarray:
        for step in scaling:
            values = _scaled(values, feature, step)
        if scoring.inputs == "float32":
            values = values.astype(np.float32)
        below: np.ndarray = values <= threshold
        return below

    least, most = _rank(np.full(len(inner), -LARGEST)), _rank(np.full(len(inner), LARGEST))
    with np.errstate(all="ignore"):
        while (most - 1 > least).any():
            # without the overflow of a sum
            middle = (least >> 1) + (most >> 1) + (least & most & 1)
            left = goes_left(_number(middle))
            least, most = np.where(left, middle, least), np.where(left, most, middle)
        all_left = goes_left(np.full(len(inner), LARGEST))
    found = trees.threshold.copy()
    found[inner] = np.where(all_left, LARGEST, _number(least))
    changed = Trees(trees.feature, found, trees.left, trees.right, trees.value, trees.roots)
    return changed, scoring.model_copy(update={"inputs": "float64"})


def _scaled(values: np.ndarray, feature: np.ndarray, step: Scaling) -> np.ndarray:
    """The scaler's own operations in its own order; only they round as it does."""
    for name, operation in (
        ("subtract", np.subtract),
        ("divide", np.divide),
        ("multiply", np.multiply),
        ("add", np.add),
    ):
        if name in step:
            values = operation(values, np.array(step[name])[feature])
    if "clip" in step:
        low, high = step["clip"]
        values = np.clip(values, low, high)
    return values


def _rank(values: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of the values, next to each other where those are."""
    bits = np.abs(values).view(np.int64)
    rank: np.ndarray = np.where(values < 0, -bits, bits)
    return rank


def _number(rank: np.ndarray) -> np.ndarray:
    number: np.ndarray = np.where(rank < 0, -1.0, 1.0) * np.abs(rank).view(np.float64)
    return number
