"""Transactions like those to come, by which an imported model is checked and its drift is measured later."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.assessment import Rows
from shared.errors import DatasetError
from shared.transaction import TransactionModel
from worker.training.dataset import read_batches
from worker.training.labelled import LABELS, Labelled
from worker.training.rows import Refusal, Refusals


@dataclass(frozen=True)
class Reference:
    """Rows that the model will see the like of, and their labels where the file has them."""

    rows: Rows
    labels: npt.NDArray[np.int8] | None
    refusals: Refusals

    def described(self) -> dict[str, Any]:
        """What a manifest says of them."""
        if self.labels is not None:
            return Labelled(self.rows, self.labels, None, self.refusals).described()
        unlabelled = Labelled(self.rows, np.zeros(0, np.int8), None, self.refusals).described()
        return {**unlabelled, "frauds": None}


def read_reference(
    path: Path,
    transaction_class: type[TransactionModel],
    *,
    label: str,
    skip_bad_rows: bool,
    progress: Callable[[int], None],
) -> Reference:
    """Reads a file of transactions whole, and its labels where it has such a column.

    Raises:
        DatasetError: the file cannot be read, has no rows, or has bad rows that are not to be skipped.
    """
    features: list[tuple[float, ...]] = []
    labels: list[int] = []
    refusals = Refusals()
    for batch in read_batches(path, transaction_class, kept=[label]):
        refused = list(batch.refused)
        for row, transaction, extra in zip(batch.rows, batch.transactions, batch.extras, strict=True):
            if label in extra:
                truth = LABELS.get(str(extra[label]).strip().lower())
                if truth is None:
                    refused.append(Refusal(row, (f"{label}: must be 0 or 1",)))
                    continue
                labels.append(truth)
            features.append(transaction.features())
        refusals.add(sorted(refused, key=lambda refusal: refusal.row))
        progress(len(batch.rows) + len(batch.refused))
    if refusals.total and not skip_bad_rows:
        raise DatasetError(
            f"{path} has {refusals.total:,} rows that are no transactions; mend them, or leave them out by "
            f"--skip-bad-rows:\n{refusals.listed()}"
        )
    if not features:
        raise DatasetError(f"{path} has no rows that are transactions")
    truths = np.array(labels, dtype=np.int8) if len(labels) == len(features) else None
    return Reference(np.array(features, dtype=np.float64), truths, refusals)
