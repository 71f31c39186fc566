"""Reads a file of transactions as one array of features."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from riskline.shared.clock import now_us
from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.class_check import require_pure
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.dataset import read_batches
from riskline.worker.training.data.replay import EventReader, Int64s, Replay, with_history
from riskline.worker.training.data.rows import Refusal, Refusals, RowBatch, bad_rows

BUILT_TWICE = 1_000
"""Transactions that are built twice, to check that their features follow from them alone."""

BUILT_TWICE_OF_A_BATCH = 20
"""The most of one batch, so that they come from more than the beginning of the file."""

Take = Callable[[dict[str, Any]], str | None]
"""Gets each transaction's other values, and returns the reason for refusing the row, or None."""


class ReadingSteps(NamedTuple):
    """Is told how far reading is: the rows that were read since the last call, and the step that begins."""

    rows: Callable[[int], None]
    begin: Callable[[str], None]


SILENT = ReadingSteps(lambda _rows: None, lambda _step: None)


class Vectors(NamedTuple):
    """The feature vectors of a file, shape (n, features), and its refused rows."""

    rows: Rows
    refusals: Refusals
    times: Int64s | None = None
    """Of a class with history, the event times in microseconds since 1970."""


def read_vectors(
    path: Path,
    transaction_class: type[TransactionModel],
    *,
    take: Take,
    needed: Sequence[str] = (),
    kept: Sequence[str] = (),
    skip_bad_rows: bool,
    steps: ReadingSteps = SILENT,
) -> Vectors:
    """Reads a file whole; of a class with history it replays what came before each row.

    A row that `take` refuses is a transaction all the same, and in the history of later ones.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or has no rows, or bad ones that are not to be skipped.
        SettingsError: a feature does not follow from the transaction alone.
    """
    source = _source(path, transaction_class, steps)
    reading = _Reading(source, take)
    for batch in read_batches(path, transaction_class, needed=needed, kept=kept):
        reading.add(batch)
        steps.rows(len(batch.rows) + len(batch.refused))
    refusals = reading.refusals
    if refusals.total and not skip_bad_rows:
        raise bad_rows(path, refusals)
    if not reading.parts:
        none = "rows that are transactions" if refusals.total else "rows, only the names of its columns"
        raise DatasetError(f"{path} has no {none}")
    require_pure(reading.sample)
    rows, times = source.whole(np.concatenate(reading.parts), np.concatenate(reading.taken), steps)
    return Vectors(rows, refusals, times)


class _Reading:
    """What is read of a file so far."""

    def __init__(self, source: "_Plain", take: Take) -> None:
        self.parts: list[Rows] = []
        self.taken: list[np.ndarray] = []
        """Whether each transaction is among the rows."""
        self.sample: list[TransactionModel] = []
        self.refusals = Refusals()
        self._source = source
        self._take = take
        self._known: set[int] = set()

    def add(self, batch: RowBatch) -> None:
        """Takes a batch."""
        batch, vectors = self._source.vectors(batch)
        refused, features = list(batch.refused), []
        taken = np.ones(len(batch.rows), bool)
        for at, (row, vector, extra) in enumerate(zip(batch.rows, vectors, batch.extras, strict=True)):
            refusal = vector if isinstance(vector, Refusal) else self._refusal(row, extra)
            if refusal is None:
                features.append(vector)
            else:
                refused.append(refusal)
                taken[at] = False
        if features:
            self.parts.append(np.array(features, dtype=np.float64))
        self.taken.append(taken)
        for row, transaction in zip(batch.rows, batch.transactions, strict=True):
            self.refusals.see(self._known, row, transaction.transaction_id)
        self.sample += batch.transactions[: min(BUILT_TWICE_OF_A_BATCH, BUILT_TWICE - len(self.sample))]
        self.refusals.add(sorted(refused, key=lambda refusal: refusal.row))

    def _refusal(self, row: int, extra: dict[str, Any]) -> Refusal | None:
        reason = self._take(extra)
        return None if reason is None else Refusal(row, (reason,))


class _Plain:
    """Makes vectors of a class without history."""

    def vectors(self, batch: RowBatch) -> tuple[RowBatch, Sequence[Any]]:
        """The rows that are transactions, and the vector of each, or its refusal."""
        return batch, [transaction.features() for transaction in batch.transactions]

    def whole(self, rows: Rows, _taken: np.ndarray, _steps: ReadingSteps) -> tuple[Rows, Int64s | None]:
        """The rows with all columns, and their event times."""
        return rows, None


class _Beside(_Plain):
    """Makes vectors of a class with history whose features need none of it: its columns are put beside them."""

    def __init__(self, transaction_class: type[TransactionModel], history: History, observed: EventReader) -> None:
        self._class = transaction_class
        self._history = history
        self._observed = observed
        self._replay = Replay(history)

    def vectors(self, batch: RowBatch) -> tuple[RowBatch, Sequence[Any]]:
        batch, events = self._observed.of(batch)
        self._replay.add(events)
        return super().vectors(batch)

    def whole(self, rows: Rows, taken: np.ndarray, steps: ReadingSteps) -> tuple[Rows, Int64s | None]:
        names = self._class.feature_names()
        merged = np.empty((len(rows), len(names)))
        merged[:, [names.index(name) for name in self._class.twin_feature_names()]] = rows
        columns = self._replay.columns(steps.begin)
        merged[:, [names.index(name) for name in self._history.names]] = columns[taken]
        return merged, self._replay.times[taken]


class _Within(_Plain):
    """Makes vectors of a class whose features use history: each transaction gets its own, from an earlier pass."""

    def __init__(self, path: Path, observed: EventReader, columns: Rows, times: Int64s) -> None:
        self._path = path
        self._observed = observed
        self._columns = columns
        self._times = times
        self._done = 0

    def vectors(self, batch: RowBatch) -> tuple[RowBatch, Sequence[Any]]:
        batch, times = self._observed.punctual(batch)
        done, self._done = self._done, self._done + len(batch.rows)
        if not np.array_equal(times, self._times[done : self._done]):
            raise DatasetError(f"{self._path} was changed while it was read")
        rows = zip(batch.rows, batch.transactions, self._columns[done : self._done].tolist(), strict=True)
        whole = [with_history(*row) for row in rows]
        return batch, [each if isinstance(each, Refusal) else each.features() for each in whole]

    def whole(self, rows: Rows, taken: np.ndarray, _steps: ReadingSteps) -> tuple[Rows, Int64s | None]:
        return rows, self._times[taken]


def _source(path: Path, transaction_class: type[TransactionModel], steps: ReadingSteps) -> _Plain:
    history = history_of(transaction_class)
    if history is None:
        return _Plain()
    observed = EventReader(history, now_us=now_us())
    known = {*transaction_class.twin_feature_names(), *history.names}
    if known >= {*transaction_class.feature_names()}:
        return _Beside(transaction_class, history, observed)
    replay = Replay(history)
    for batch in read_batches(path, transaction_class):
        replay.add(observed.of(batch)[1])
        steps.rows(len(batch.rows) + len(batch.refused))
    columns = replay.columns(steps.begin)
    steps.begin(f"reading {path.name} again, with its history")
    return _Within(path, observed, columns, replay.times)
