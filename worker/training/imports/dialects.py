"""Readers of XGBoost's JSON and LightGBM's text model formats, without either library."""

import json
from itertools import chain
from typing import Any

import numpy as np
import orjson

from riskline.shared.errors import BundleError
from riskline.shared.model.trees import LEAF, Scoring, Trees
from riskline.worker.training.imports.convert import Arrays, boosting, compacted, joined

SINGLE = np.float32

MAX_VALUES = 100_000_000
"""The most values in a model's JSON, eleven a node: several gigabytes of memory once read."""

MARGIN_BOUND = 1e-6
"""Newer releases of XGBoost clip base_score to this distance from 0 and 1."""

CATEGORICAL, ZERO_IS_MISSING = 1, 4
"""Bits of LightGBM's decision_type."""


def xgboost_trees(text: bytes, *, initial: float | None = None) -> tuple[Trees, Scoring]:
    """An XGBoost model from its JSON; `initial` is the approximate sum that its release adds, where known.

    XGBoost goes left where feature < threshold in single precision, which is where it is at or below the next number
    under the threshold.

    Raises:
        BundleError: it is incomplete, or cannot be represented exactly.
    """
    values = sum(text.count(each) for each in b",[{")
    if values > MAX_VALUES:
        raise BundleError(f"it is an XGBoost model of {values:,} values, more than {MAX_VALUES:,}: train fewer trees")
    try:
        learner = _json(text)["learner"]
        booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
        _xgboost_must(booster["name"] == "gbtree", f"the booster {booster['name']}", "booster='gbtree'")
        objective = learner["objective"]["name"]
        _xgboost_must(objective == "binary:logistic", f"the objective {objective}", "objective='binary:logistic'")
        outputs = (int(parameters.get("num_class", 0)), int(parameters.get("num_target", 1)))
        _xgboost_must(outputs == (0, 1), "several classes or targets", "one column of labels, 0 and 1")
        model = booster["model"]
        known = [_xgboost_tree(each) for each in model["trees"]]
        share = orjson.loads(parameters["base_score"].lower())
        (share,) = share if isinstance(share, list) else (share,)
        bounded, plain = _margin(np.clip(share, MARGIN_BOUND, 1 - MARGIN_BOUND)), _margin(share)
        start = plain if initial is not None and abs(plain - initial) < abs(bounded - initial) else bounded
        return boosting(joined(known), inputs="float32", initial=start)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise BundleError(
            f"it is not a whole XGBoost model ({type(error).__name__}: {error}): save it again"
        ) from error


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # XGBoost 2 writes NaN at splits by categories, which no JSON has and this parser takes
        return json.loads(text)


def _margin(share: float) -> float:
    """The log-odds of a share, in single precision as XGBoost has them."""
    with np.errstate(all="ignore"):
        return float(-np.log(SINGLE(1) / SINGLE(share) - SINGLE(1), dtype=SINGLE))


def _xgboost_tree(tree: dict[str, Any]) -> Arrays:
    _xgboost_must(not tree.get("categories_nodes"), "splits by categories", "columns of numbers")
    _xgboost_must(int(tree["tree_param"].get("size_leaf_vector", 1)) <= 1, "vectors at its leaves", "one output a tree")
    left = np.array(tree["left_children"], np.int64)
    conditions = np.array(tree["split_conditions"], SINGLE)
    leaf = left == LEAF
    part = {
        "feature": np.where(leaf, LEAF, np.array(tree["split_indices"], np.int64)),
        "threshold": np.nextafter(conditions, SINGLE(-np.inf)).astype(np.float64),
        "left": left,
        "right": np.array(tree["right_children"], np.int64),
        "value": np.where(leaf, conditions, SINGLE(0)).astype(np.float64),
        "weight": np.array(tree["sum_hessian"], np.float64),
    }
    return compacted(part)


def _xgboost_must(holds: bool, found: str, wanted: str) -> None:  # noqa: FBT001  # reads as a sentence
    if not holds:
        raise BundleError(f"it has {found}, which a bundle cannot hold: train it with {wanted}")


def lightgbm_trees(text: str) -> tuple[Trees, Scoring]:
    """A LightGBM model from its text format.

    Raises:
        BundleError: it is incomplete, or cannot be represented exactly.
    """
    try:
        head, *blocks = text.partition("end of trees")[0].split("\nTree=")
        header = _lines(head)
        objective, *options = header.get("objective", "none of its own").split()
        if objective != "binary" or int(header["num_class"]) != 1 or int(header["num_tree_per_iteration"]) != 1:
            raise BundleError(
                f"it has the objective {objective}, which a bundle cannot hold: train it with objective='binary'"
            )
        sigmoid = next(float(each.partition(":")[2]) for each in options if each.startswith("sigmoid:"))
        aggregation = "mean" if "average_output" in header else "sum"
        parts = joined([_lightgbm_tree(_lines(block)) for block in blocks])
        return boosting(parts, inputs="float64", initial=0.0, scale=sigmoid, aggregation=aggregation)
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        raise BundleError(
            f"it is not a whole LightGBM model ({type(error).__name__}: {error}): save it again"
        ) from error


def _lines(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _lightgbm_tree(tree: dict[str, str]) -> Arrays:
    """Inner nodes and leaves in one row: LightGBM counts them apart, a leaf's index as -1 - index."""
    if int(tree.get("is_linear", 0)):
        raise BundleError("it has linear trees, which a bundle cannot hold: train it with linear_tree=False")
    leaves = int(tree["num_leaves"])
    kinds = _numbers(tree, "decision_type", np.int64, leaves - 1)
    if int(tree["num_cat"]) or (kinds & CATEGORICAL).any():
        raise BundleError("it splits by categories, which a bundle cannot hold: train it on columns of numbers")
    if (kinds & ZERO_IS_MISSING).any():
        raise BundleError("it takes zero for a missing value: train it with zero_as_missing=False")
    inner, none = leaves - 1, np.full(leaves, LEAF)
    children = {}
    for child in ("left", "right"):
        index = _numbers(tree, f"{child}_child", np.int64, inner)
        children[child] = np.concatenate([np.where(index < 0, inner - 1 - index, index), none])
    counts = [
        _numbers(tree, name, np.float64, size) for name, size in (("internal_count", inner), ("leaf_count", leaves))
    ]
    part = {
        "feature": np.concatenate([_numbers(tree, "split_feature", np.int64, inner), none]),
        "threshold": np.concatenate([_numbers(tree, "threshold", np.float64, inner), np.zeros(leaves)]),
        **children,
        "value": np.concatenate([np.zeros(inner), _numbers(tree, "leaf_value", np.float64, leaves)]),
        "weight": np.concatenate(counts),
    }
    return compacted(part)


def _numbers(tree: dict[str, str], name: str, kind: type, size: int) -> np.ndarray:
    """A row of numbers; a tree that is one leaf has none of most, which then count as zeros."""
    written = tree.get(name, "").split()
    if not written and (size == 0 or (size == 1 and name == "leaf_count")):
        return np.zeros(size, kind)
    if len(written) != size:
        raise ValueError(f"{name} has {len(written)} numbers, not {size}")
    return np.array(list(chain(map(float if kind is np.float64 else int, written))), kind)
