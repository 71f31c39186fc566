"""Linear models: weights as a bundle has them, with the scalers before them folded in."""

from typing import Any

import numpy as np

from riskline.shared.domain.assessment import Rows
from riskline.shared.errors import BundleError
from riskline.shared.model.trees import LEAF, Linear, Scoring, Trees
from riskline.worker.training.imports.convert import sum_in_order

MOST_COLUMNS = 700
"""Columns for which rows are made, five each."""

CERTAIN = 30.0
"""Log-odds beyond which a probability is 0 or 1 to the twelfth digit."""


def linear(facts: dict[str, Any], weights: Rows) -> tuple[Trees, Scoring]:
    """The weights of unscaled columns, and the tree of nothing that a bundle has beside them.

    Each column's distance is taken from where the last scaler had its 0, so that nothing large cancels out.

    Raises:
        BundleError: a scaler clips.
        ValueError: the weights are not one for each column.
    """
    if len(weights) != facts["width"]:
        raise ValueError(f"{len(weights)} weights for {facts['width']} columns")
    intercept, scale = facts["initial"], facts["scale"]
    centres = np.zeros(len(weights))
    with np.errstate(all="ignore"):
        for step in reversed(facts["scaling"]):
            if "clip" in step:
                raise BundleError("its scaler clips, which no weight can: train it with clip=False")
            centres = (centres - np.array(step.get("add", 0.0))) / np.array(step.get("multiply", 1.0))
            centres = centres * np.array(step.get("divide", 1.0)) + np.array(step.get("subtract", 0.0))
            weights = weights * np.array(step.get("multiply", 1.0)) / np.array(step.get("divide", 1.0))
    held = Linear(weights=tuple(weights.tolist()), centres=tuple(centres.tolist()))
    leaf = np.array([LEAF], np.int32)
    nothing = Trees(leaf, np.zeros(1), leaf.copy(), leaf.copy(), np.zeros(1), np.zeros(1, np.int32))
    return nothing, Scoring(
        inputs="float64",
        aggregation="sum",
        link="sigmoid",
        initial=intercept,
        scale=scale,
        base=scale * intercept,
        linear=held,
    )


def reordered(scoring: Scoring, columns: list[int]) -> Scoring:
    """The same for the transaction's columns, `columns[i]` of which is the model's column i."""
    if scoring.linear is None:
        return scoring
    places = np.argsort(columns)
    moved = {name: tuple(np.array(numbers)[places].tolist()) for name, numbers in scoring.linear}
    return scoring.model_copy(update={"linear": Linear(**moved)})


def centred(scoring: Scoring, rows: Rows) -> Scoring:
    """The same with each distance taken from these rows' mean: contributions say how a row differs from it."""
    if scoring.linear is None:
        return scoring
    weights, centres, means = (
        np.array(scoring.linear.weights),
        np.array(scoring.linear.centres),
        (rows / len(rows)).sum(axis=0),
    )
    moved = Linear(weights=scoring.linear.weights, centres=tuple(means.tolist()))
    initial = scoring.initial + sum_in_order(weights * (means - centres))
    base = scoring.base + (initial - scoring.initial) * scoring.scale
    return scoring.model_copy(update={"linear": moved, "initial": initial, "base": base})


def rows_beside(rows: Rows) -> Rows:
    """Rows in which one column at a time has its least or greatest value, 0, or one far outside."""
    columns = np.arange(rows.shape[1])
    if len(columns) > MOST_COLUMNS:
        columns = np.sort(np.random.default_rng(0).choice(columns, MOST_COLUMNS, replace=False))
    low, high = rows[:, columns].min(axis=0), rows[:, columns].max(axis=0)
    values = np.stack([low, high, np.zeros(len(columns)), 2 * high - low, 2 * low - high])
    made = np.tile(rows[np.arange(len(columns)) % len(rows)], (len(values), 1))
    made[np.arange(len(made)), np.tile(columns, len(values))] = values.ravel()
    return made


def hardly_in_doubt(log_odds: Rows) -> str | None:
    """Says that most rows are certain frauds or certainly none, as where a scaler is in another file; else None."""
    certain = np.abs(log_odds) > CERTAIN
    if certain.mean() <= 1 / 2:
        return None
    return (
        f"{int(certain.sum()):,} of {len(log_odds):,} rows have log-odds beyond {CERTAIN:.0f}, a probability of 0 or "
        "1. The model was trained on other numbers, most likely scaled ones: dump make_pipeline(scaler, model) as one "
        "file, or train on the columns as they come"
    )
