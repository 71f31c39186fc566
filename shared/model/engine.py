"""The scoring kernel behind a Python object: rows to probabilities and contributions."""

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from riskline.shared.domain.assessment import Rows
from riskline.shared.model.build import LIBRARY
from riskline.shared.model.library import load
from riskline.shared.model.trees import LEAF, Isotonic, Scoring, Sigmoid, Trees

NODE = np.dtype([("key", np.float64), ("feature", np.int32), ("left", np.int32)])
"""The kernel's node."""

LAYOUT = 5
"""The kernel's layout version: a kernel of an older source would read past its arrays."""

BLOCK = 64
"""The kernel's rows a block: sizes its scratch space."""

MOST_MOVES = 2_000_000
"""Numbers in the table of contributions, 16 MB: for a larger model each explanation computes them."""


class _CModel(ctypes.Structure):
    _fields_ = (
        ("nodes", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("leaves", ctypes.c_void_p),
        ("moves", ctypes.c_void_p),
        ("knots", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("roots", ctypes.c_void_p),
        ("trees", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("round_inputs", ctypes.c_int32),
        ("mean", ctypes.c_int32),
        ("sigmoid", ctypes.c_int32),
        ("curve", ctypes.c_int32),
        ("initial", ctypes.c_double),
        ("scale", ctypes.c_double),
        ("offset", ctypes.c_double),
        ("slope", ctypes.c_double),
        ("intercept", ctypes.c_double),
    )


class Engine:
    """A tree ensemble, or a linear model, in the kernel's layout; one thread at a time."""

    def __init__(self, trees: Trees, scoring: Scoring, *, width: int) -> None:
        self._width = width
        self._nodes, values, self._roots = _packed(trees)
        self._leaves, self._moves = _moves(self._nodes, values, trees=len(self._roots), width=width)
        # the second is derived from the first
        self._values = None if self._moves is not None else values
        curve, self._knots, slope, intercept = _curve(scoring)
        linear = scoring.linear
        self._weights = None if linear is None else np.array([*linear.weights, *linear.centres])
        self._model = _CModel(
            nodes=self._nodes.ctypes.data,
            values=_address(self._values),
            leaves=_address(self._leaves),
            moves=_address(self._moves),
            knots=_address(self._knots),
            weights=_address(self._weights),
            roots=self._roots.ctypes.data,
            trees=len(self._roots),
            width=width,
            round_inputs=scoring.inputs == "float32",
            mean=scoring.aggregation == "mean",
            sigmoid=scoring.link == "sigmoid",
            curve=curve,
            initial=scoring.initial,
            scale=scoring.scale,
            offset=scoring.offset,
            slope=slope,
            intercept=intercept,
        )
        self._address = ctypes.addressof(self._model)
        self._score_one, self._score, self._explain = _kernel(LIBRARY)
        self._row = ctypes.create_string_buffer(8 * width)
        self._row_address = ctypes.addressof(self._row)
        self._pack = struct.Struct(f"{width}d").pack_into
        self._scratch = np.empty(2 * BLOCK * (width + 1))

    def score_one(self, features: Sequence[float]) -> float:
        """The probability of one feature vector; bit for bit what `score` gives for the same row."""
        self._pack(self._row, 0, *features)
        probability: float = self._score_one(self._address, self._row_address)
        return probability

    def score(self, rows: Rows) -> Rows:
        """The probabilities, shape (n,), of rows of shape (n, features)."""
        rows = self._checked(rows)
        scores = np.empty(len(rows))
        self._score(self._address, rows.ctypes.data, len(rows), scores.ctypes.data, self._scratch.ctypes.data)
        return scores

    def explain(self, rows: Rows) -> tuple[Rows, Rows]:
        """The probabilities, shape (n,), and the contributions, shape (n, features), of rows of that shape.

        Contributions are in the space before the link: probability or log-odds. The probabilities are bit for bit
        those of `score`.
        """
        rows = self._checked(rows)
        scores, contributions = np.empty(len(rows)), np.empty((len(rows), self._width))
        self._explain(
            self._address,
            rows.ctypes.data,
            len(rows),
            scores.ctypes.data,
            contributions.ctypes.data,
            self._scratch.ctypes.data,
        )
        return scores, contributions

    def _checked(self, rows: Rows) -> Rows:
        """The rows in the kernel's form, with their width checked: the kernel would read past narrower ones."""
        if rows.ndim != 2 or rows.shape[1] != self._width:  # noqa: PLR2004  # rows and columns
            raise ValueError(f"rows of shape {rows.shape} are not rows of {self._width} features")
        return np.ascontiguousarray(rows, dtype=np.float64)


@cache
def _kernel(path: Path) -> tuple[Any, Any, Any]:
    holding, releasing = load(path, layout="riskline_layout", version=LAYOUT)
    address, count = ctypes.c_void_p, ctypes.c_int64
    score_one, score, explain = holding.riskline_score_one, releasing.riskline_score, releasing.riskline_explain
    score_one.argtypes, score_one.restype = (address, address), ctypes.c_double
    score.argtypes, score.restype = (address, address, count, address, address), None
    explain.argtypes, explain.restype = (address, address, count, address, address, address), None
    return score_one, score, explain


def _packed(trees: Trees) -> tuple[Any, Rows, Any]:
    """The nodes level by level, so that siblings lie side by side: nodes, values and roots of the kernel's layout."""
    order = [trees.roots.astype(np.int64)]
    while len(order[-1]):
        inner = order[-1][trees.feature[order[-1]] != LEAF]
        order.append(np.stack([trees.left[inner], trees.right[inner]], axis=1).ravel().astype(np.int64))
    old = np.concatenate(order)
    new = np.empty(len(old), dtype=np.int32)
    new[old] = np.arange(len(old), dtype=np.int32)
    is_leaf = trees.feature[old] == LEAF
    nodes = np.empty(len(old), dtype=NODE)
    nodes["key"] = np.where(is_leaf, trees.value[old], trees.threshold[old])
    nodes["feature"] = trees.feature[old]
    # a leaf's own children are never read; the kernel stays at a leaf by taking it for one
    nodes["left"] = np.where(is_leaf, np.arange(len(old)), new[np.where(is_leaf, 0, trees.left[old])])
    return nodes, np.ascontiguousarray(trees.value[old]), np.arange(len(trees.roots), dtype=np.int32)


def _moves(nodes: Any, values: Rows, *, trees: int, width: int) -> tuple[Any, Rows | None]:
    """Each leaf's contribution to each feature, shape (leaves, width), and each node's row of it.

    None where that takes too much memory.
    """
    is_leaf = nodes["feature"] == LEAF
    if int(is_leaf.sum()) * width > MOST_MOVES:
        return None, None
    leaves = np.flatnonzero(is_leaf)
    places = np.full(len(nodes), -1, dtype=np.int32)
    places[leaves] = np.arange(len(leaves))
    moves = np.zeros((len(nodes), width))
    level = np.arange(trees)
    # from all roots at once, a step down at a time: each node is reached once, however deep the trees are
    while len(level):
        inner = level[~is_leaf[level]]
        level = np.concatenate([nodes["left"][inner], nodes["left"][inner] + 1])
        above = np.concatenate([inner, inner])
        moves[level] = moves[above]
        moves[level, nodes["feature"][above]] += values[level] - values[above]
    return places, moves[leaves]


def _curve(scoring: Scoring) -> tuple[int, Rows | None, float, float]:
    """The kernel's number for a calibration curve, its knots, and the sigmoid's slope and intercept."""
    match scoring.calibration:
        case Sigmoid(slope=slope, intercept=intercept):
            return 1, None, slope, intercept
        case Isotonic(x=x, y=y):
            return 1 + len(x), np.array([*x, *y]), 0.0, 0.0
    return 0, None, 0.0, 0.0


def _address(array: Any) -> int | None:
    address: int | None = None if array is None else array.ctypes.data
    return address
