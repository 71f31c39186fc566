"""Nodes of an estimator's trees, as `unpickle.describe` gives them, become a bundle's trees and scoring."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from riskline.shared.errors import BundleError
from riskline.shared.model.trees import LEAF, MAX_KNOTS, MAX_WIDTH, Scoring, Trees
from riskline.shared.model.untrusted import printable
from riskline.worker.training.imports.unpickle import FORESTS

EULER_GAMMA = 0.5772156649015329

Arrays = dict[str, np.ndarray]

LARGEST = np.finfo(np.float64).max

Word = Annotated[str, AfterValidator(lambda text: printable(text, 200))]
Step = Literal["subtract", "divide", "multiply", "add", "clip"]


class CalibrationFacts(BaseModel):
    """A calibration: its input score, and its numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    method: Literal["sigmoid", "isotonic"]
    over: Literal["margin", "score"]
    slope: float = 0.0
    intercept: float = 0.0
    x: list[float] = Field(default=[], max_length=MAX_KNOTS)
    y: list[float] = Field(default=[], max_length=MAX_KNOTS)


class EstimatorFacts(BaseModel):
    """The facts of an estimator by `unpickle.describe`, and the library versions that opened it."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    estimator: Word
    library: Literal["sklearn", "xgboost", "lightgbm"]
    width: int = Field(ge=1, le=MAX_WIDTH)
    names: list[Word] | None
    scaling: list[dict[Step, list[float]]] = Field(max_length=20)
    initial: float | None = None
    scale: float = 1.0
    max_samples: int = 0
    calibration: CalibrationFacts | None = None
    first_of_two: bool = False
    """The score is that of the second class, and the first is fraud."""
    libraries: dict[Word, Word] = Field(max_length=20)

    def problem(self) -> str | None:
        """The problem with the width; None where there is none."""
        if self.names is not None and len(self.names) != self.width:
            return f"it has {self.width} columns, and names of {len(self.names)}"
        for numbers in self.scaling:
            if any(len(row) != (2 if step == "clip" else self.width) for step, row in numbers.items()):
                return "its scaling is not one number for each column"
        return None


class ChildMessage(BaseModel):
    """One message of the child process."""

    model_config = ConfigDict(strict=True, extra="forbid")

    facts: EstimatorFacts | None = None
    done: bool = False
    problem: str | None = None
    error: Word | None = None
    said: str = ""
    scoring: bool = False
    module: Word | None = None
    errno: int | None = None
    version: Word | None = None
    installed: Word = ""


def converted(facts: dict[str, Any], arrays: Arrays) -> tuple[Trees, Scoring]:
    """The trees and scoring of an estimator of scikit-learn's; of an isolation forest that is no probability yet."""
    if facts["estimator"] == "IsolationForest":
        if facts["max_samples"] <= 1:
            raise BundleError("its trees have one row each and tell nothing: train it with larger max_samples")
        return isolation(arrays, max_samples=facts["max_samples"])
    if facts["estimator"] in FORESTS:
        return forest(arrays)
    if facts["estimator"] == "GradientBoostingClassifier":
        return boosting(arrays, inputs="float32", initial=facts["initial"], scale=facts["scale"])
    return boosting(arrays, inputs="float64", initial=facts["initial"])


def forest(arrays: Arrays) -> tuple[Trees, Scoring]:
    """The mean of trees whose nodes hold probabilities."""
    trees = _trees(arrays, arrays["value"])
    base = sum_in_order(trees.value[trees.roots]) / len(trees.roots)
    return trees, Scoring(inputs="float32", aggregation="mean", link="identity", base=base)


def boosting(
    arrays: Arrays, *, inputs: str, initial: float, scale: float = 1.0, aggregation: str = "sum"
) -> tuple[Trees, Scoring]:
    """A sum of trees whose leaves add to the log-odds; the mean of them where a library averages them."""
    trees = _trees(arrays, means_of_leaves(arrays, arrays["value"]))
    total = initial + sum_in_order(trees.value[trees.roots])
    base = scale * (total if aggregation == "sum" else total / len(trees.roots))
    scoring = {"inputs": inputs, "aggregation": aggregation, "link": "sigmoid", "initial": initial, "scale": scale}
    return trees, Scoring.model_validate({**scoring, "base": base})


def isolation(arrays: Arrays, *, max_samples: int) -> tuple[Trees, Scoring]:
    """The logarithm of the anomaly score, base 2: minus the sum of depths, measured by `depth_unit`.

    So contributions add up; a calibration turns it into a probability.
    """
    lengths = _depths(arrays) + _average_path_length(arrays["weight"])
    trees = _trees(arrays, means_of_leaves(arrays, lengths))
    scale = -1.0 / depth_unit(len(trees.roots), max_samples)
    base = scale * sum_in_order(trees.value[trees.roots])
    return trees, Scoring(inputs="float32", aggregation="sum", link="identity", scale=scale, base=base)


def depth_unit(trees: int, max_samples: int) -> float:
    """The sum of depths by which the exponent of an isolation forest's score is measured."""
    return trees * float(_average_path_length(np.array([max_samples]))[0])


def compacted(part: Arrays) -> Arrays:
    """One tree in which each child comes after its parent, without nodes that no path leads to."""
    levels = [np.array([0], np.int64)]
    while len(levels[-1]):
        inner = levels[-1][part["feature"][levels[-1]] != LEAF]
        levels.append(np.stack([part["left"][inner], part["right"][inner]], axis=1).ravel())
        if sum(map(len, levels)) > len(part["feature"]):
            raise ValueError("a node belongs to several others")
    old = np.concatenate(levels)
    new = np.zeros(len(part["feature"]), np.int64)
    new[old] = np.arange(len(old))
    compact = {name: array[old] for name, array in part.items()}
    leaf = compact["feature"] == LEAF
    for child in ("left", "right"):
        compact[child] = np.where(leaf, LEAF, new[np.where(leaf, 0, compact[child])])
    return compact


def joined(parts: list[Arrays]) -> Arrays:
    """Trees one behind the other, each with its own indices, and how many nodes each has."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {"sizes": np.array([len(part["feature"]) for part in parts]), **whole}


def means_of_leaves(arrays: Arrays, value: np.ndarray) -> np.ndarray:
    """A leaf's own value, and at an inner node the mean of the leaves below, each as heavy as its rows."""
    starts = np.repeat(_starts(arrays), arrays["sizes"])
    left, right = (arrays["left"] + starts).tolist(), (arrays["right"] + starts).tolist()
    means, weight = value.astype(np.float64).tolist(), arrays["weight"].tolist()
    # children come after their parents, so from the end each mean is there before it is needed
    for node in np.flatnonzero(arrays["feature"] != LEAF)[::-1].tolist():
        here, there = left[node], right[node]
        total = weight[here] + weight[there]
        if total > 0:
            means[node] = (means[here] * weight[here] + means[there] * weight[there]) / total
        else:
            means[node] = (means[here] + means[there]) / 2
    return np.array(means, np.float64)


def _trees(arrays: Arrays, value: np.ndarray) -> Trees:
    """Makes trees of nodes; a split at infinity becomes one at the largest number, with the same effect."""
    leaf = arrays["feature"] == LEAF
    roots = _starts(arrays)
    starts = np.repeat(roots, arrays["sizes"])
    return Trees(
        feature=arrays["feature"].astype(np.int32),
        threshold=np.where(leaf, 0.0, np.clip(arrays["threshold"], -LARGEST, LARGEST)).astype(np.float64),
        left=np.where(leaf, LEAF, arrays["left"] + starts).astype(np.int32),
        right=np.where(leaf, LEAF, arrays["right"] + starts).astype(np.int32),
        value=value.astype(np.float64),
        roots=roots.astype(np.int32),
    )


def _starts(arrays: Arrays) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(arrays["sizes"])[:-1]]).astype(np.int64)


def _depths(arrays: Arrays) -> np.ndarray:
    starts = np.repeat(_starts(arrays), arrays["sizes"])
    depth = np.zeros(len(starts))
    for node in np.flatnonzero(arrays["feature"] != LEAF).tolist():
        depth[[arrays["left"][node] + starts[node], arrays["right"][node] + starts[node]]] = depth[node] + 1
    return depth


def _average_path_length(samples: np.ndarray) -> np.ndarray:
    """c(n), the mean length of an unsuccessful search in a binary search tree (Liu, Ting, Zhou 2008, equation 1)."""
    n = samples.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        long = 2.0 * (np.log(n - 1.0) + EULER_GAMMA) - 2.0 * (n - 1.0) / n
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, long))  # noqa: PLR2004  # the definition's own cases


def sum_in_order(values: np.ndarray) -> float:
    """The sum as the kernel makes it: one after the other."""
    total = 0.0
    for value in values.tolist():
        total += value
    return total
