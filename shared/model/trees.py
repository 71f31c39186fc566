"""A tree ensemble as flat arrays, or a linear model, as in a bundle; checked before the kernel takes it."""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

MAX_WIDTH = 4096
"""The kernel's own bound on features."""

MAX_NODES = 50_000_000
"""About 1.6 GB in the kernel's layout: more is taken for a damaged file."""

MAX_KNOTS = 100_000
"""Knots of a calibration curve: more than any file of labels makes."""

MAX_DEPTH = 1_000
"""The deepest tree: no estimator grows deeper ones, and each level takes time to read."""

HEAVIEST = 1e60
"""The largest weight, first sum and scale of a linear model.

Times the kernel's farthest distance (1e150), for each of the most features, that is still a number.
"""

LEAF = -1

FLOATS = ("threshold", "value")
"""The arrays that are of double precision."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


class Sigmoid(BaseModel):
    """A calibration curve 1 / (1 + exp(-(slope * score + intercept))) (Platt 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["sigmoid"] = "sigmoid"
    slope: float
    intercept: float

    def problem(self) -> str | None:
        """The reason that this is no valid curve; None where it is."""
        return None


class Isotonic(BaseModel):
    """A calibration curve that never falls: straight between its knots, level beyond them (Zadrozny, Elkan 2002)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["isotonic"] = "isotonic"
    x: tuple[float, ...] = Field(min_length=1, max_length=MAX_KNOTS)
    y: tuple[float, ...] = Field(min_length=1, max_length=MAX_KNOTS)

    def problem(self) -> str | None:
        """The reason that this is no valid curve; None where it is."""
        if len(self.x) != len(self.y):
            return f"its calibration has {len(self.x)} places and {len(self.y)} heights"
        if any(here >= there for here, there in pairwise(self.x)):
            return "its calibration's places do not rise"
        if any(here > there for here, there in pairwise(self.y)) or self.y[0] < 0 or self.y[-1] > 1:
            return "its calibration's heights fall, or leave 0 to 1"
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.diff(self.x)
            if not np.isfinite([steps, np.diff(self.y) / steps]).all():
                return "its calibration's places are too near each other, or too far"
        return None


class Linear(BaseModel):
    """Adds for each feature its weight times its distance from a centre; a linear model is that, and a tree of 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: tuple[float, ...] = Field(max_length=MAX_WIDTH)
    centres: tuple[float, ...] = Field(max_length=MAX_WIDTH)


class Scoring(BaseModel):
    """From the trees' outputs to a probability: curve(link(scale * (initial + sum or mean of leaves) + offset)).

    The curve is the calibration, where there is one. What `linear` adds belongs to the initial sum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    inputs: Literal["float32", "float64"]
    aggregation: Literal["mean", "sum"]
    link: Literal["identity", "sigmoid"]
    initial: float = 0.0
    scale: float = 1.0
    offset: float = 0.0
    calibration: Annotated[Sigmoid | Isotonic, Field(discriminator="kind")] | None = None
    linear: Linear | None = Field(default=None, exclude_if=lambda linear: linear is None)
    base: float = Field(
        description="What the contributions are added to: the score of a row of which nothing is known."
    )

    def problem(self, trees: "Trees", width: int) -> str | None:
        """The reason that these trees' outputs do not become probabilities; None where they do."""
        leaves = trees.value[trees.feature == LEAF]
        # as the kernel rounds, so that no sum of leaves lies beyond these two
        ends = [self._output(float(end), len(trees.roots)) for end in (leaves.min(), leaves.max())]
        # contributions go back and forth on the way to a leaf
        moved = 2.0 * float(np.abs(trees.value).max()) * len(trees.value) * max(1.0, abs(self.scale))
        if not np.isfinite([*ends, moved]).all():
            return "its scores overflow"
        if self.linear is not None and (problem := self._linear_problem(self.linear, width)) is not None:
            return problem
        if self.calibration is not None:
            return self.calibration.problem()
        if self.link == "identity" and (min(ends) < 0 or max(ends) > 1):
            return "its scores are not between 0 and 1"
        return None

    def _linear_problem(self, linear: Linear, width: int) -> str | None:
        if len(linear.weights) != width or len(linear.centres) != width:
            return f"it has {len(linear.weights)} weights and {len(linear.centres)} centres for {width} features"
        if self.aggregation != "sum":
            return "it has weights, and a mean of trees in place of a sum"
        if np.abs(linear.weights).max() > HEAVIEST or max(abs(self.initial), abs(self.scale)) > HEAVIEST:
            return "its scores overflow"
        if self.link == "identity" and self.calibration is None:
            return "its scores are not between 0 and 1"
        return None

    def _output(self, leaf: float, trees: int) -> float:
        """The output before the link where each tree ends at such a leaf."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.add.accumulate(np.append(self.initial, np.full(trees, leaf)))[-1]
            return float((total / trees if self.aggregation == "mean" else total) * self.scale + self.offset)


@dataclass(frozen=True)
class Trees:
    """All trees' nodes, one behind the other: at each index a split, or a leaf (feature -1, children -1).

    `value` is a leaf's output, or the mean of the leaves below an inner node. A row goes left
    where its feature is at or below the threshold. A child's index is above its parent's.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    roots: Ints

    def problem(self, width: int) -> str | None:
        """The reason that these arrays cannot be walked with rows of this width; None where they can."""
        nodes = np.size(self.feature)
        for field in fields(self):
            array = getattr(self, field.name)
            wanted = np.float64 if field.name in FLOATS else np.int32
            if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != wanted:
                return f"the array {field.name} is not a row of {np.dtype(wanted)}"
            if field.name != "roots" and len(array) != nodes:
                return f"the array {field.name} has {len(array)} nodes, the array feature {nodes}"
            if array.dtype == np.float64 and not np.isfinite(array).all():
                return f"the array {field.name} has values that are not finite"
        if not 0 < width <= MAX_WIDTH:
            return f"{width} features are not between 1 and {MAX_WIDTH}"
        if not len(self.roots) or nodes > MAX_NODES:
            return "there are no trees" if not len(self.roots) else f"{nodes} nodes are more than {MAX_NODES}"
        return self._structural_problem(width, nodes)

    def _structural_problem(self, width: int, nodes: int) -> str | None:
        if self.roots.min() < 0 or self.roots.max() >= nodes:
            return "a root is not among the nodes"
        if self.feature.min() < LEAF or self.feature.max() >= width:
            return f"a node asks for a feature that is not among the {width}"
        inner = np.flatnonzero(self.feature != LEAF)
        parents = np.zeros(nodes, dtype=np.int64)
        for children in (self.left[inner], self.right[inner]):
            if (children <= inner).any() or (children >= nodes).any():
                return "a child does not come after its parent"
            np.add.at(parents, children, 1)
        np.add.at(parents, self.roots, 1)
        if (parents != 1).any():
            return "a node belongs to no tree or to several"
        level = self.roots
        for _ in range(MAX_DEPTH + 1):
            level = level[self.feature[level] != LEAF]
            if not len(level):
                return None
            level = np.concatenate([self.left[level], self.right[level]])
        return f"a tree is more than {MAX_DEPTH} splits deep: train it with a smaller max_depth"
