"""Reads a file of transactions as one array of features."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.class_check import require_pure
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.shared.wording import no_transactions
from riskline.worker.training.data.dataset import read_batches
from riskline.worker.training.data.rows import Refusal, Refusals

BUILT_TWICE = 1_000
"""Transactions that are built twice, to check that their features follow from them alone."""

BUILT_TWICE_OF_A_BATCH = 20
"""The most of one batch, so that they come from more than the beginning of the file."""


def read_vectors(
    path: Path,
    transaction_class: type[TransactionModel],
    *,
    take: Callable[[dict[str, Any]], str | None],
    needed: Sequence[str] = (),
    kept: Sequence[str] = (),
    skip_bad_rows: bool,
    progress: Callable[[int], None],
) -> tuple[Rows, Refusals]:
    """The feature vectors, shape (n, features), and the refusals; `progress` is called with the number of rows so far.

    `take` gets each transaction's other values, and returns the reason for refusing the row, or None.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or has no rows, or bad ones that are not to be skipped.
        SettingsError: a feature does not follow from the transaction alone.
    """
    parts: list[Rows] = []
    sample: list[TransactionModel] = []
    refusals = Refusals()
    known: set[int] = set()
    for batch in read_batches(path, transaction_class, needed=needed, kept=kept):
        refused, features = list(batch.refused), []
        for row, transaction, extra in zip(batch.rows, batch.transactions, batch.extras, strict=True):
            reason = take(extra)
            if reason is None:
                features.append(transaction.features())
            else:
                refused.append(Refusal(row, (reason,)))
        if features:
            parts.append(np.array(features, dtype=np.float64))
        for row, transaction in zip(batch.rows, batch.transactions, strict=True):
            refusals.see(known, row, transaction.transaction_id)
        sample += batch.transactions[: min(BUILT_TWICE_OF_A_BATCH, BUILT_TWICE - len(sample))]
        refusals.add(sorted(refused, key=lambda refusal: refusal.row))
        progress(len(batch.rows) + len(batch.refused))
    if refusals.total and not skip_bad_rows:
        raise DatasetError(
            f"{path} has {no_transactions(refusals.total)}; mend the file, or leave such rows out by "
            f"--skip-bad-rows:\n{refusals.listed()}"
        )
    if not parts:
        none = "rows that are transactions" if refusals.total else "rows, only the names of its columns"
        raise DatasetError(f"{path} has no {none}")
    require_pure(sample)
    return np.concatenate(parts), refusals
