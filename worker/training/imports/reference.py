"""Reference transactions, by which an imported model is checked and its drift is measured later."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import BundleError, DatasetError
from riskline.shared.model.trees import LEAF, Scoring, Trees
from riskline.worker.training.data.labelled import DEFAULT_LABEL, LabelledRows, truth_of
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.data.vectors import SILENT, ReadingSteps, read_vectors
from riskline.worker.training.imports.unpickle import is_label

MAX_DIFFERENCE = 1e-6
"""The largest difference between the probabilities of the kernel and the model's own library."""

MAX_LOG_ODDS = 1e-4
"""The largest difference of their log-odds beyond rounding: tiny probabilities must be right as well."""

HARDLY_A_VALUE = 0.01
"""With a smaller share of values between its thresholds a column was most likely a different one in training.

Of three kinds of models, no column of simulated rows or of the Sparkov generator's had less than 4 % there; once
scaled, most had none.
"""

FEWEST_THRESHOLDS, FEWEST_VALUES = 5, 3
"""Below these numbers a column is not judged: it may have no value between its thresholds for good reason."""

SINGLE = np.finfo(np.float32)


@dataclass(frozen=True)
class Reference:
    """Rows like those that the model will score, and their labels where the file has them."""

    rows: Rows
    labels: npt.NDArray[np.int8] | None
    refusals: Refusals
    labelled: int = 0
    """The number of rows with a label; labels are used only where all rows have one."""

    @property
    def usable_labels(self) -> npt.NDArray[np.int8] | None:
        """The labels, where all rows have one and both labels occur."""
        return None if self.labels is None or not 0 < self.labels.sum() < len(self.labels) else self.labels

    def described(self) -> dict[str, Any]:
        """The manifest's entry of the reference rows."""
        if self.labels is not None:
            return LabelledRows(self.rows, self.labels, None, self.refusals).described()
        unlabelled = LabelledRows(self.rows, np.zeros(0, np.int8), None, self.refusals).described()
        return {**unlabelled, "frauds": None}


def read_reference(
    path: Path,
    transaction_class: type[TransactionModel],
    *,
    label: str | None,
    fraud_class: str | None = None,
    skip_bad_rows: bool,
    steps: ReadingSteps = SILENT,
) -> Reference:
    """Reads a file of transactions whole, and its labels: those of is_fraud where it has that, or of the named column.

    With a `fraud_class` that is fraud, and any other label is none.

    Raises:
        DatasetError: the file cannot be read, has no rows or no such column, or bad rows that are not to be skipped.
        SettingsError: a feature does not follow from the transaction alone.
    """
    needed = [] if label is None else [label]
    label = label or DEFAULT_LABEL
    labels: list[int] = []

    def take(extra: dict[str, Any]) -> str | None:
        if extra.get(label) in (None, ""):
            return None
        truth = truth_of(extra[label]) if fraud_class is None else int(is_label(extra[label], fraud_class))
        if truth is None:
            return f"{label}: must be 0 or 1"
        labels.append(truth)
        return None

    rows, refusals, _ = read_vectors(
        path,
        transaction_class,
        take=take,
        needed=needed,
        kept=[label],
        skip_bad_rows=skip_bad_rows,
        steps=steps,
    )
    if fraud_class is not None and labels and not any(labels):
        raise DatasetError(
            f"{path}: no row has {fraud_class} in {label}. With --fraud-class the labels are those of the model: name "
            "their column by --label"
        )
    truths = np.array(labels, dtype=np.int8) if len(labels) == len(rows) else None
    return Reference(rows, truths, refusals, len(labels))


def require_same_scores(trees: Trees, scoring: Scoring, rows: Rows, ours: Rows, theirs: Rows, *, library: str) -> float:
    """The largest difference between two scores of the same rows.

    XGBoost adds up its trees in single precision, so its rounding error grows with the number of trees.

    Raises:
        BundleError: a difference is too large.
    """
    difference, allowed = np.abs(ours - theirs), np.full(len(rows), MAX_DIFFERENCE)
    odds, odds_allowed = np.zeros(len(rows)), np.full(len(rows), MAX_LOG_ODDS)
    if scoring.link == "sigmoid" and scoring.calibration is None:
        single = library == "xgboost"
        # the numbers that are nearest to 0 and to 1 in such precision
        ends = (float(SINGLE.tiny), 1 - float(SINGLE.epsneg if single else np.finfo(np.float64).epsneg))
        here, there = np.clip(ours, *ends), np.clip(theirs, *ends)
        odds = np.abs(np.log(here) - np.log1p(-here) - np.log(there) + np.log1p(-there))
        step = np.spacing(there.astype(np.float32)).astype(np.float64) if single else np.spacing(there)
        # a sigmoid is made of a few operations, each of which rounds
        odds_allowed += 4 * step / (there * (1 - there))
        apart = np.flatnonzero((difference > allowed) | (odds > odds_allowed))
        if single and len(apart):
            rounding = len(trees.roots) * float(SINGLE.eps) * largest_sums(trees, scoring, rows[apart])
            # a probability changes by a quarter of its log-odds at most
            allowed[apart] += rounding / 4
            odds_allowed[apart] += rounding
    if difference.max() > 1 or not np.isfinite(ours).all():
        raise BundleError(misread_error(library, f"the kernel would score up to {difference.max():.2g} otherwise"))
    told = f"otherwise than {library} does"
    if not (difference <= allowed).all():
        worst = np.argmax(difference - allowed)
        raise BundleError(
            f"the kernel would score up to {difference.max():.2g} {told} (at most {allowed[worst]:.2g} is taken); "
            "nothing was written"
        )
    if not (odds <= odds_allowed).all():
        worst = np.argmax(odds - odds_allowed)
        raise BundleError(
            f"the kernel would score {ours[worst]:.3g} where {library} says {theirs[worst]:.3g}, {odds[worst]:.2g} "
            f"{told} in log-odds (at most {odds_allowed[worst]:.2g} is taken); nothing was written"
        )
    return float(difference.max())


def beyond_thresholds(trees: Trees, rows: Rows, features: Sequence[str]) -> str | None:
    """Names the columns with hardly a value between their smallest and largest thresholds; None where there is none.

    A model that was trained on scaled columns, whose scaler is in another file, has such columns.
    """
    told = []
    for column, name in enumerate(features):
        thresholds, values = np.unique(trees.threshold[trees.feature == column]), rows[:, column]
        if len(thresholds) < FEWEST_THRESHOLDS:
            continue
        low, high = float(thresholds[0]), float(thresholds[-1])
        within = (values > low) & (values <= high)
        if within.mean() < HARDLY_A_VALUE and len(np.unique(values[~within])) >= FEWEST_VALUES:
            told.append(f"{int(within.sum()):,} of {name} ({low:.3g} to {high:.3g})")
    if not told:
        return None
    return (
        f"of {len(rows):,} values hardly one is between the smallest and the largest threshold of its column: "
        f"{', '.join(told)}. The model was trained on other numbers, most likely scaled ones or ones of another unit: "
        "dump make_pipeline(scaler, model) as one file, or train on the columns as they come"
    )


def misread_error(library: str, found: str) -> str:
    """The error for a file whose numbers Riskline misread, which the team cannot mend."""
    return (
        f"Riskline misreads this file of {library}'s ({found}, and probabilities are 0 to 1): that is a fault of "
        "Riskline's, not of the model's, so report it with the releases of the libraries that wrote the file. Until it "
        "is mended, train the model again with the libraries that are here; nothing was written"
    )


def largest_sums(trees: Trees, scoring: Scoring, rows: Rows) -> Rows:
    """Each row's largest absolute partial sum from the first tree to the last."""
    values = rows.astype(np.float32).astype(np.float64) if scoring.inputs == "float32" else rows
    total, every = np.full(len(rows), scoring.initial), np.arange(len(rows))
    largest: Rows = np.abs(total)
    for root in trees.roots.tolist():
        node = np.full(len(rows), root)
        while (inner := trees.feature[node] != LEAF).any():
            left = values[every, trees.feature[node]] <= trees.threshold[node]
            node = np.where(inner, np.where(left, trees.left[node], trees.right[node]), node)
        total = total + trees.value[node]
        largest = np.maximum(largest, np.abs(total))
    return largest
