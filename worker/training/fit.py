"""Fits an estimator, and writes it down as flat arrays that score bit for bit as it does."""

import platform
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from shared.model.trees import LEAF, Scoring, Trees
from worker.training.labelled import Labelled

FOREST_TREES = 100
FOREST_DEPTH = 10
ISOLATION_SAMPLES = 4096

EULER_GAMMA = 0.5772156649015329


class Algorithm(StrEnum):
    """What `riskline train` can fit."""

    RANDOM_FOREST = "random-forest"
    HIST_GRADIENT_BOOSTING = "hist-gradient-boosting"
    ISOLATION_FOREST = "isolation-forest"


@dataclass(frozen=True)
class Fitted:
    """An estimator, what it is as flat arrays, and how its own probability is computed (for the check of parity)."""

    estimator: Any
    trees: Trees
    scoring: Scoring

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """What the estimator itself says of these rows."""
        if hasattr(self.estimator, "predict_proba"):
            own: np.ndarray = self.estimator.predict_proba(rows)[:, 1]
            return own
        # the estimator's score is 2 ** -(mean depth / c); scale * sum + offset is a * log2(score) + b
        a = -self.scoring.scale * _depth_unit(self.estimator)
        log_odds = a * np.log2(-self.estimator.score_samples(rows)) + self.scoring.offset
        curve: np.ndarray = 1.0 / (1.0 + np.exp(-log_odds))
        return curve


def fit(data: Labelled, algorithm: Algorithm, *, seed: int) -> Fitted:
    """Fits on labelled rows, without tuning."""
    match algorithm:
        case Algorithm.RANDOM_FOREST:
            forest = RandomForestClassifier(FOREST_TREES, max_depth=FOREST_DEPTH, random_state=seed, n_jobs=-1)
            forest.fit(data.rows, data.labels)
            # one thread from here: with several the order of the sum, and so its last bit, is left to chance
            forest.set_params(n_jobs=None)
            return Fitted(forest, *_forest(forest))
        case Algorithm.HIST_GRADIENT_BOOSTING:
            boosting = HistGradientBoostingClassifier(random_state=seed).fit(data.rows, data.labels)
            return Fitted(boosting, *_boosting(boosting))
        case Algorithm.ISOLATION_FOREST:
            isolation = IsolationForest(max_samples=min(ISOLATION_SAMPLES, len(data.rows)), random_state=seed)
            isolation.fit(data.rows)
            return Fitted(isolation, *_isolation(isolation, data))


def libraries() -> dict[str, str]:
    """The versions that made a model."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("scikit-learn", "numpy")}}


def _joined(parts: list[dict[str, np.ndarray]]) -> Trees:
    """Trees one behind the other; their own indices become indices of the whole."""
    sizes = [len(part["feature"]) for part in parts]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    for part, root in zip(parts, roots, strict=True):
        leaf = part["feature"] == LEAF
        for child in ("left", "right"):
            part[child] = np.where(leaf, LEAF, part[child] + root)
        part["threshold"] = np.where(leaf, 0.0, part["threshold"])
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Trees(
        feature=whole["feature"].astype(np.int32),
        threshold=whole["threshold"].astype(np.float64),
        left=whole["left"].astype(np.int32),
        right=whole["right"].astype(np.int32),
        value=whole["value"].astype(np.float64),
        roots=roots,
    )


def _sklearn_tree(tree: Any, value: np.ndarray, features: np.ndarray | None = None) -> dict[str, np.ndarray]:
    leaf = tree.children_left < 0
    feature = tree.feature if features is None else features[np.where(leaf, 0, tree.feature)]
    return {
        "feature": np.where(leaf, LEAF, feature),
        "threshold": tree.threshold,
        "left": tree.children_left.astype(np.int64),
        "right": tree.children_right.astype(np.int64),
        "value": value,
    }


def _forest(forest: Any) -> tuple[Trees, Scoring]:
    trees = _joined([_sklearn_tree(each.tree_, each.tree_.value[:, 0, 1]) for each in forest.estimators_])
    base = _sum_in_order(trees.value[trees.roots]) / len(trees.roots)
    return trees, Scoring(inputs="float32", aggregation="mean", link="identity", base=base)


def _boosting(boosting: Any) -> tuple[Trees, Scoring]:
    parts = []
    for (predictor,) in boosting._predictors:  # noqa: SLF001  # scikit-learn shows its trees nowhere else
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
        parts.append(
            {
                "feature": np.where(leaf, LEAF, nodes["feature_idx"]),
                "threshold": nodes["num_threshold"],
                "left": left,
                "right": right,
                "value": _mean_of_leaves(nodes["value"], leaf, left, right, nodes["count"].astype(np.float64)),
            }
        )
    trees = _joined(parts)
    initial = float(boosting._baseline_prediction.ravel()[0])  # noqa: SLF001  # same
    base = initial + _sum_in_order(trees.value[trees.roots])
    return trees, Scoring(inputs="float64", aggregation="sum", link="sigmoid", initial=initial, base=base)


def _isolation(isolation: Any, data: Labelled) -> tuple[Trees, Scoring]:
    """The anomaly score as a probability: a logistic curve over its logarithm (Platt 1999), fitted to the labels.

    log2 of the score is -(sum of depths) / (trees * c), so the log-odds are a sum over trees: contributions add up.
    """
    parts = []
    for each, features in zip(isolation.estimators_, isolation.estimators_features_, strict=True):
        tree = each.tree_
        leaf = tree.children_left < 0
        depth = np.zeros(tree.node_count)
        for node in np.flatnonzero(~leaf):
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
        lengths = depth + _average_path_length(tree.n_node_samples)
        value = _mean_of_leaves(
            lengths, leaf, tree.children_left, tree.children_right, tree.n_node_samples.astype(np.float64)
        )
        parts.append(_sklearn_tree(tree, value, features))
    trees = _joined(parts)
    logarithm = np.log2(-isolation.score_samples(data.rows)).reshape(-1, 1)
    curve = LogisticRegression(C=1e6).fit(logarithm, data.labels)
    scale = -float(curve.coef_[0, 0]) / _depth_unit(isolation)
    offset = float(curve.intercept_[0])
    base = scale * _sum_in_order(trees.value[trees.roots]) + offset
    return trees, Scoring(inputs="float32", aggregation="sum", link="sigmoid", scale=scale, offset=offset, base=base)


def _depth_unit(isolation: Any) -> float:
    return len(isolation.estimators_) * float(_average_path_length(np.array([isolation.max_samples_]))[0])


def _average_path_length(samples: np.ndarray) -> np.ndarray:
    """c(n), the mean length of an unsuccessful search in a binary search tree (Liu, Ting, Zhou 2008, equation 1)."""
    n = samples.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        long = 2.0 * (np.log(n - 1.0) + EULER_GAMMA) - 2.0 * (n - 1.0) / n
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, long))  # noqa: PLR2004  # the definition's own cases


def _mean_of_leaves(
    value: np.ndarray, leaf: np.ndarray, left: np.ndarray, right: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    means = value.astype(np.float64)
    for node in np.flatnonzero(~leaf)[::-1]:
        children = [left[node], right[node]]
        means[node] = np.average(means[children], weights=weight[children])
    return means


def _sum_in_order(values: np.ndarray) -> float:
    total = 0.0
    for value in values.tolist():
        total += value
    return total
