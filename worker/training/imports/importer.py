"""Imports a model that was trained elsewhere: reads it, converts it, and proves that it scores the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.inputs import Inputs
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import Ensemble, Manifest, quantiles, write_bundle
from riskline.shared.model.engine import Engine
from riskline.shared.model.trees import LEAF, Scoring, Trees
from riskline.worker.training.calibration import Method, described, fitted, held, summed, uncalibrated
from riskline.worker.training.evaluation.evaluate import evaluate
from riskline.worker.training.evaluation.sketch import sketched
from riskline.worker.training.imports.convert import CalibrationFacts, converted
from riskline.worker.training.imports.dialects import lightgbm_trees, xgboost_trees
from riskline.worker.training.imports.linear import centred, hardly_in_doubt, linear, reordered, rows_beside
from riskline.worker.training.imports.model_process import ModelProcess
from riskline.worker.training.imports.reference import Reference, beyond_thresholds, misread_error, require_same_scores
from riskline.worker.training.imports.scaling import fold_scaling
from riskline.worker.training.imports.turned import turned
from riskline.worker.training.imports.unpickle import FORESTS

SHARE_ROUNDING = 1e-9
"""A share that is a quotient of sums may round to slightly more than 1."""

EDGE_SPLITS = 700
"""Splits for which rows are made, seven at and beside each."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file, and what the team says of it."""

    path: Path
    thresholds: Thresholds
    named: Sequence[str] | None = None
    """Its columns in its order, where the file has no names."""
    sha256: str | None = None
    """It is opened only if it has this sha256."""
    key: str | None = None
    """The name of the model in a dict, or its place in a list."""
    fraud_class: str | None = None
    """The label that is fraud, where labels are not 0 and 1."""


@dataclass(frozen=True)
class Imported:
    """A model that was read, and is proven to score the same here."""

    ensemble: Ensemble
    libraries: dict[str, str]
    training: dict[str, Any]
    """The manifest's entry of where it comes from."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Reads model files in a process of their own: of this Python, or of another that has their libraries."""

    warn: Callable[[str], None]
    calibration: Method | None = None
    python: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The features of a model's columns that have other names."""

    def read(self, file: ModelFile, reference: Reference, features: tuple[str, ...]) -> Imported:
        """The model of a file.

        Raises:
            BundleError: it cannot be read, is not supported, has other features, or scores differently here.
        """
        with ModelProcess(
            file.path,
            python=self.python,
            sha256=file.sha256,
            warn=self.warn,
            key=file.key,
            fraud_class=file.fraud_class,
        ) as foreign:
            facts, arrays = foreign.described()
            try:
                return self._imported(foreign, facts, arrays, file=file, reference=reference, features=features)
            except BundleError as error:
                told = str(error)
                raise BundleError(told if str(file.path) in told else f"{file.path}: {told}") from error

    def _imported(
        self,
        foreign: ModelProcess,
        facts: dict[str, Any],
        arrays: dict[str, np.ndarray],
        *,
        file: ModelFile,
        reference: Reference,
        features: tuple[str, ...],
    ) -> Imported:
        own = None if facts["calibration"] is None else CalibrationFacts.model_validate(facts["calibration"])
        isolated = facts["estimator"] == "IsolationForest"
        method = Method.SIGMOID if isolated and self.calibration is None else self.calibration
        labels = reference.usable_labels
        if method is not None and (own is not None or labels is None):
            raise BundleError(_not_calibratable(isolated=isolated, own=own))
        names = facts["names"] and [self.renamed.get(name, name) for name in facts["names"]]
        columns = columns_of(features, names, file.named, width=facts["width"])
        trees, scoring = _converted(facts, arrays, own, columns)
        scoring = centred(scoring, reference.rows)
        edges = edge_rows(trees, reference.rows) if scoring.linear is None else rows_beside(reference.rows)
        difference = _proven(foreign, facts, trees, scoring, [reference.rows, edges], columns=columns, own=own)
        if (told := _other_numbers(trees, scoring, reference.rows, features)) is not None:
            self.warn(told)
        if facts["first_of_two"]:
            trees, scoring = turned(trees, scoring)
        curve = own
        if method is not None and labels is not None:
            scoring, curve = _calibrated(trees, scoring, reference.rows, labels, method, isolated=isolated)
        return Imported(
            _ensemble(trees, scoring, file, reference, features=features, facts=facts, difference=difference),
            {str(name): str(version) for name, version in facts["libraries"].items()},
            {
                "imported_from": foreign.looked.name,
                "sha256": foreign.looked.sha256,
                "max_difference": difference,
                "rows": len(reference.rows),
                "edge_rows": len(edges),
                "columns": [features[column] for column in columns],
                "reference": reference.described(),
                "calibration": described(curve, by="the file" if method is None else "its labels"),
            },
        )


def import_model(
    file: ModelFile,
    reference: Reference,
    importer: Importer,
    *,
    inputs: Inputs,
    twin: ModelFile | None = None,
    created_at: str,
    models_dir: Path,
) -> Manifest:
    """Makes a model version of a model file, and of one that decides without history, where there is a `twin`.

    Raises:
        BundleError: one cannot be read, is not supported, has other features, or scores differently here.
    """
    model = importer.read(file, reference, inputs.features)
    training, other = model.training, None
    if twin is not None:
        columns = [inputs.features.index(name) for name in inputs.twin_features]
        known = replace(reference, rows=np.ascontiguousarray(reference.rows[:, columns]))
        other = importer.read(twin, known, inputs.twin_features)
        training = {**training, "twin": {**other.training, "libraries": other.libraries}}
    return write_bundle(
        models_dir,
        model.ensemble,
        libraries=model.libraries,
        created_at=created_at,
        training=training,
        history=inputs.history,
        twin=None if other is None else other.ensemble,
    )


def _converted(
    facts: dict[str, Any], arrays: dict[str, np.ndarray], own: CalibrationFacts | None, columns: list[int]
) -> tuple[Trees, Scoring]:
    """The trees and their scoring, over the transaction's features in their order."""
    trees, scoring = _held(facts, arrays, own)
    problem = trees.problem(len(columns))
    if problem is not None:
        raise BundleError(f"its trees cannot be held: {problem}")
    if facts["scaling"] and scoring.linear is None:
        trees, scoring = fold_scaling(trees, scoring, facts["scaling"])
    return _reordered(trees, columns), reordered(scoring, columns)


def _ensemble(
    trees: Trees,
    scoring: Scoring,
    file: ModelFile,
    reference: Reference,
    *,
    features: tuple[str, ...],
    facts: dict[str, Any],
    difference: float,
) -> Ensemble:
    """The model as a bundle has it, measured on the labels of the reference where it has some."""
    scores = Engine(trees, scoring, width=len(features)).score(reference.rows)
    metrics: dict[str, Any] = {"largest_difference_to_estimator": difference}
    labels = reference.usable_labels
    if labels is not None:
        metrics = {**evaluate(labels, scores, thresholds=file.thresholds), **metrics}
    return Ensemble(
        trees=trees,
        scoring=scoring,
        features=features,
        thresholds=file.thresholds,
        estimator=facts["estimator"] if facts["estimator"] != "Booster" else f"{facts['library']}.Booster",
        metrics=metrics,
        reference={
            "features": {name: quantiles(reference.rows[:, i]) for i, name in enumerate(features)},
            "score": quantiles(scores),
            "rows_sketch": sketched(reference.rows),
        },
    )


def columns_of(
    features: tuple[str, ...], own: Sequence[str] | None, named: Sequence[str] | None, *, width: int
) -> list[int]:
    """The transaction's feature of each column of the model; by name, never by guess.

    Raises:
        BundleError: the names are not known, contradict each other, or are not the transaction's.
    """
    told = f"the transaction class has {', '.join(features)}"
    names = own or named
    if width != len(features):
        known = f" ({', '.join(own)})" if own else ""
        raise BundleError(
            f"it has {width} columns{known}; {told}. Name your transaction class in RISKLINE_TRANSACTION, or train the "
            "model on these columns"
        )
    if not names:
        raise BundleError(
            f"it does not know the names of its columns; name them in its order by --features a,b,c: {told}"
        )
    if own and named and list(own) != list(named):
        raise BundleError(f"its columns are {', '.join(own)}, --features says {', '.join(named)}: leave that out")
    if sorted(names) != sorted(features):
        raise BundleError(
            f"its columns are {', '.join(names)}; {told}. They must be the same, in whatever order: name your "
            "transaction class in RISKLINE_TRANSACTION, or train the model on these columns"
        )
    return [features.index(name) for name in names]


def edge_rows(trees: Trees, others: Rows) -> Rows:
    """Rows with values at and beside the thresholds of a sample of the splits, in double and in single precision."""
    splits = np.flatnonzero(trees.feature != LEAF)
    # the libraries refuse numbers beyond single precision
    splits = splits[np.abs(trees.threshold[splits]) < np.finfo(np.float32).max]
    if len(splits) > EDGE_SPLITS:
        splits = np.sort(np.random.default_rng(0).choice(splits, EDGE_SPLITS, replace=False))
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
    rows = np.tile(others[np.arange(len(splits)) % len(others)], (len(values), 1))
    rows[np.arange(len(rows)), np.tile(trees.feature[splits], len(values))] = values.ravel()
    return rows if len(rows) else others[:1]


def _held(facts: dict[str, Any], arrays: dict[str, np.ndarray], own: CalibrationFacts | None) -> tuple[Trees, Scoring]:
    try:
        if facts["library"] == "xgboost":
            trees, scoring = xgboost_trees(arrays["text"].tobytes(), initial=facts["initial"])
        elif facts["library"] == "lightgbm":
            trees, scoring = lightgbm_trees(arrays["text"].tobytes().decode())
            if own is not None and own.over == "margin":
                # it gives the sum also where its probability uses the mean
                scoring = summed(scoring, trees=len(trees.roots))
        elif "weights" in arrays:
            trees, scoring = linear(facts, arrays["weights"])
        else:
            trees, scoring = converted(facts, arrays)
        if facts["estimator"] in FORESTS and not ((trees.value >= 0) & (trees.value <= 1 + SHARE_ROUNDING)).all():
            raise BundleError(misread_error("sklearn", f"its trees hold shares of fraud up to {trees.value.max():.3g}"))
        return trees, scoring if own is None else held(scoring, own)
    except (LookupError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise BundleError(f"its trees cannot be held ({type(error).__name__}: {error})") from error


def _other_numbers(trees: Trees, scoring: Scoring, rows: Rows, features: Sequence[str]) -> str | None:
    """Says that the model was most likely trained on other numbers than these; None where it does not look so."""
    if scoring.linear is None:
        return beyond_thresholds(trees, rows, features)
    return hardly_in_doubt(Engine(trees, uncalibrated(scoring), width=len(features)).score(rows))


def _proven(
    foreign: ModelProcess,
    facts: dict[str, Any],
    trees: Trees,
    scoring: Scoring,
    parts: list[Rows],
    *,
    columns: list[int],
    own: CalibrationFacts | None,
) -> float:
    """The largest difference between the kernel's scores and the file's own, before calibration."""
    engine = Engine(trees, scoring, width=int(facts["width"]))
    largest = 0.0
    for rows in parts:
        theirs = foreign.scores(rows[:, columns])
        if facts["estimator"] == "IsolationForest":
            with np.errstate(invalid="ignore", divide="ignore"):
                theirs = np.log2(-theirs)
        try:
            largest = max(
                largest, require_same_scores(trees, scoring, rows, engine.score(rows), theirs, library=facts["library"])
            )
        except BundleError as error:
            if own is None or own.method != "isotonic":
                raise
            raise BundleError(
                f"{error}: its isotonic curve has steps narrower than {facts['library']} rounds. Import the model "
                "that it calibrates (model.calibrated_classifiers_[0].estimator) with --calibration isotonic"
            ) from error
    return largest


def _not_calibratable(*, isolated: bool, own: CalibrationFacts | None) -> str:
    if own is not None:
        return "it is a CalibratedClassifierCV, calibrated already: leave --calibration out"
    needed = "add a column is_fraud with both 0 and 1 to the reference (or name yours by --label)"
    if isolated:
        return f"an IsolationForest gives anomaly scores, not probabilities: they are made such by labels, so {needed}"
    return f"a calibration is fitted to labels, so {needed}"


def _calibrated(
    trees: Trees, scoring: Scoring, rows: Rows, labels: np.ndarray, method: Method, *, isolated: bool
) -> tuple[Scoring, CalibrationFacts]:
    """The scoring with a curve fitted to the labels, over the trees' own output."""
    over: Literal["score", "margin"] = "score" if isolated else "margin"
    plain = scoring if isolated else uncalibrated(scoring)
    said = Engine(trees, plain, width=rows.shape[1]).score(rows)
    curve = fitted(method, said, labels, over=over)
    return held(scoring, curve), curve


def _reordered(trees: Trees, columns: list[int]) -> Trees:
    feature = np.where(trees.feature == LEAF, LEAF, np.array(columns)[trees.feature]).astype(np.int32)
    return Trees(feature, trees.threshold, trees.left, trees.right, trees.value, trees.roots)
