"""A labelled file as the arrays that training and evaluation need."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.assessment import Rows
from shared.errors import DatasetError
from shared.transaction import TransactionModel
from worker.training.dataset import read_batches
from worker.training.rows import Refusal, Refusals

TIMESTAMP = "timestamp"
HOLDOUT_SHARE = 0.25

LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class Labelled:
    """Rows of shape (n, features), their labels (1 is fraud), and their times where the file has them."""

    rows: Rows
    labels: npt.NDArray[np.int8]
    times: list[datetime] | None
    refusals: Refusals

    def subset(self, mask: npt.NDArray[np.bool_]) -> "Labelled":
        """Only these rows."""
        times = None if self.times is None else [time for time, kept in zip(self.times, mask, strict=True) if kept]
        return Labelled(self.rows[mask], self.labels[mask], times, self.refusals)

    @property
    def frauds(self) -> int:
        """How many rows are fraud."""
        return int(self.labels.sum())

    def described(self) -> dict[str, Any]:
        """What a manifest says of this data."""
        content = self.rows.tobytes() + self.labels.tobytes()
        window = None if not self.times else [min(self.times).isoformat(), max(self.times).isoformat()]
        return {
            "rows": len(self.rows),
            "frauds": self.frauds,
            "window": window,
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def read_labelled(
    path: Path,
    transaction_class: type[TransactionModel],
    *,
    label: str,
    skip_bad_rows: bool,
    progress: Callable[[int], None],
) -> Labelled:
    """Reads a labelled file whole; `progress` is told how many rows came.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or has bad rows that are not to be skipped.
    """
    features: list[tuple[float, ...]] = []
    labels: list[int] = []
    times: list[datetime | None] = []
    refusals = Refusals()
    for batch in read_batches(path, transaction_class, needed=[label], kept=[TIMESTAMP]):
        refused = list(batch.refused)
        for row, transaction, extra in zip(batch.rows, batch.transactions, batch.extras, strict=True):
            truth = LABELS.get(str(extra[label]).strip().lower())
            if truth is None:
                refused.append(Refusal(row, (f"{label}: must be 0 or 1",)))
                continue
            features.append(transaction.features())
            labels.append(truth)
            times.append(_time(extra.get(TIMESTAMP)))
        refusals.add(sorted(refused, key=lambda refusal: refusal.row))
        progress(len(batch.rows) + len(batch.refused))
    if refusals.total and not skip_bad_rows:
        raise DatasetError(
            f"{path} has {refusals.total:,} rows that are no transactions; mend them, or leave them out by "
            f"--skip-bad-rows:\n{refusals.listed()}"
        )
    if not features:
        raise DatasetError(f"{path} has no rows that are transactions")
    known = [time for time in times if time is not None]
    return Labelled(
        np.array(features, dtype=np.float64),
        np.array(labels, dtype=np.int8),
        known if len(known) == len(times) else None,
        refusals,
    )


def split(data: Labelled, *, test_from: date | None, seed: int) -> tuple[Labelled, Labelled]:
    """Training and test rows: by time where there are times (the last quarter, if no date is given), else at random.

    Raises:
        DatasetError: a part has no rows, or not both labels.
    """
    if data.times is not None:
        moments = np.array(data.times, dtype="datetime64[us]")
        border = np.quantile(moments.astype(np.int64), 1 - HOLDOUT_SHARE).astype("datetime64[us]")
        in_test = moments >= (border if test_from is None else np.datetime64(test_from))
    elif test_from is not None:
        raise DatasetError(f"--test-from needs a column {TIMESTAMP} with a time in every row")
    else:
        in_test = np.random.default_rng(seed).random(len(data.rows)) < HOLDOUT_SHARE
    parts = data.subset(~in_test), data.subset(in_test)
    for name, part in zip(("training", "test"), parts, strict=True):
        if not 0 < part.frauds < len(part.labels):
            raise DatasetError(
                f"the {name} part has {len(part.labels):,} rows, {part.frauds:,} of them fraud: it needs both kinds; "
                "choose another --test-from or a larger file"
            )
    return parts


def _time(cell: object) -> datetime | None:
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None)
    try:
        return datetime.fromisoformat(str(cell)).replace(tzinfo=None)
    except ValueError:
        return None
