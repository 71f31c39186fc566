"""Checks whether a model was trained on the rows that it is measured on: such figures are too good."""

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from riskline.shared.wording import counted
from riskline.worker.training.data.labelled import LabelledRows, Times
from riskline.worker.training.evaluation.sketch import share_known

TELLING = 0.05
"""The share of rows, beyond those that equal training rows by chance, above which rows count as training rows."""

NEARLY_ALL = 0.995

IMPORTED = (
    "came with the import of the model. Whether it was trained on them is not known here: if it was, every figure is "
    "too good"
)


class TrainingOverlap(NamedTuple):
    """The overlap in words; `is_warning` where the figures are not to be trusted."""

    text: str
    is_warning: bool


def overlap(data: LabelledRows, training: dict[str, Any], sketch: object) -> TrainingOverlap:
    """The overlap by the manifest's digest, sketch and times of the training rows."""
    share = share_known(data.rows, sketch)
    return (
        _as_a_whole(data.described()["sha256"], training)
        or _by_row(share, training)
        or _in_time(data.times, training.get("window"), share=None if "imported_from" in training else share)
    )


def _as_a_whole(sha256: str, training: dict[str, Any]) -> TrainingOverlap | None:
    parts = {name: (training.get(name) or {}) for name in ("test", "reference", "calibration")}
    if sha256 == training.get("sha256"):
        told = "These are the very rows that the model was trained on: every figure here is too good."
        return TrainingOverlap(told, is_warning=True)
    if sha256 == parts["test"].get("sha256"):
        return TrainingOverlap("These are the rows that the model was tested on when it was trained.", is_warning=False)
    if sha256 != parts["reference"].get("sha256"):
        return None
    if parts["calibration"].get("fitted_by") == "its labels":
        told = "The model was calibrated on these very rows: its scores fit them too well."
        return TrainingOverlap(told, is_warning=True)
    return TrainingOverlap(f"These rows {IMPORTED}.", is_warning=False)


def _by_row(share: float | None, training: dict[str, Any]) -> TrainingOverlap | None:
    by_chance = (training.get("test") or {}).get("like_training_rows") or 0.0
    if share is None or share <= by_chance + TELLING:
        return None
    some = "All" if share > NEARLY_ALL else f"About {round(100 * share)} of 100"
    if "imported_from" in training:
        return TrainingOverlap(f"{some} of these rows {IMPORTED}.", is_warning=False)
    told = f"{some} of these rows are rows that the model was trained on: every figure here is too good"
    return TrainingOverlap(f"{told}. Measure on rows that it has not seen, best on later ones.", is_warning=True)


def _in_time(times: Times | None, window: list[str] | None, *, share: float | None) -> TrainingOverlap:
    """The overlap in time of rows that are not training rows, or, without a share, may be."""
    others = f"{'None' if share == 0 else 'Hardly any'} of these rows is one that the model was trained on"
    if window is None or times is None:
        missing = "the file has no times" if window is not None else "the version does not say when its rows were from"
        unknown = f"Whether the model was trained on some of these rows cannot be told: {missing}."
        return TrainingOverlap(unknown if share is None else f"{others}.", is_warning=False)
    first, last = (datetime.fromisoformat(each) for each in window)
    within = int(((times >= np.datetime64(first)) & (times <= np.datetime64(last))).sum())
    if not within:
        earliest: datetime = times.min().item()
        gap = (earliest - last).days
        after = f"{counted(gap, 'day')} after" if gap > 0 else "after" if earliest > last else "before or around"
        told = f"None of these rows is from the time of the training rows; they are from {after} it."
        return TrainingOverlap(told, is_warning=False)
    perhaps = "the same rows, or of the same cards" if share is None else "of the same cards"
    told = (
        f"{within:,} of {len(times):,} rows ({within / len(times):.0%}) are from the time of the training rows "
        f"({first:%Y-%m-%d} to {last:%Y-%m-%d}). If they are {perhaps}, the figures here are too good; measure on "
        "later rows."
    )
    return TrainingOverlap(told if share is None else f"{others}, but {told}", is_warning=True)
