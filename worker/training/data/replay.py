"""Replays a file: what came before each of its rows, in columns that are to the bit those of the doors.

A row is held as numbers side by side: its time, a number for each of its entities and texts, its numbers in units.
Rows are put in order by time, then line. A repeated id counts once, and its rows have the values of the first.
"""

from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.history.limits import TOO_EARLY
from riskline.shared.domain.history.observation import AHEAD_US, clock
from riskline.shared.domain.history.plan import EntityPlan, History, Number
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.history import Fold
from riskline.worker.training.data.rows import Refusal, RowBatch

Int64s = npt.NDArray[np.int64]

NOTHING = -1
"""The number of a value that names nothing."""


class BlockEvents(NamedTuple):
    """What some transactions are to the history of their entities; small enough to be sent to another process."""

    ids: list[str]
    times: Int64s
    """Microseconds since 1970."""
    values: dict[str, list[Any]]
    """By field, the values that name an entity or are counted."""
    numbers: dict[Number, Int64s]


class EventReader:
    """Takes from transactions what history is made of, after the checks of the doors.

    Event times are compared with the clock, `now_us`.
    """

    def __init__(self, history: History, *, now_us: int) -> None:
        self._time_field = history.time_field
        self._latest_us = now_us + AHEAD_US
        self._at_us = clock(history)
        names = {name for plan in history.entities for name in (*plan.fields, *plan.texts)}
        self._values = [(name, attrgetter(name)) for name in sorted(names)]
        numbers = dict.fromkeys(number for plan in history.entities for number in plan.numbers)
        self._numbers = [(number, attrgetter(number.field)) for number in numbers]

    def punctual(self, batch: RowBatch) -> tuple[RowBatch, Int64s]:
        """The batch without the rows that a door would refuse for their time, and the times of the others."""
        times = self._times(batch)
        early = times > self._latest_us
        if not early.any():
            return batch, times
        reason = (f"{self._time_field}: {TOO_EARLY}",)
        return batch.without([Refusal(batch.rows[at], reason) for at in np.flatnonzero(early)]), times[~early]

    def of(self, batch: RowBatch) -> tuple[RowBatch, BlockEvents]:
        """The batch without the rows that a door would refuse for their time, and the events of the others."""
        batch, times = self.punctual(batch)
        transactions = batch.transactions
        return batch, BlockEvents(
            [transaction.transaction_id for transaction in transactions],
            times,
            {name: list(map(get, transactions)) for name, get in self._values},
            {number: _units(list(map(get, transactions)), number.places) for number, get in self._numbers},
        )

    def _times(self, batch: RowBatch) -> Int64s:
        return np.fromiter(map(self._at_us, batch.transactions), np.int64, len(batch.transactions))


def _units(values: list[float], places: int) -> Int64s:
    """What `units` of the markers is of each."""
    if not places:
        return np.array([round(value) for value in values], np.int64)
    units: Int64s = np.rint(np.array(values, np.float64) * 10**places).astype(np.int64)
    return units


def with_history(row: int, transaction: TransactionModel, values: Sequence[float]) -> TransactionModel | Refusal:
    """The transaction with its columns of history, or the refusal of its row where a feature makes nothing of them."""
    try:
        return transaction.with_history(values)
    except ValidationError as error:
        return Refusal.of(row, error)


class _Numbered:
    """Gives each different value a number, in the order in which they come."""

    def __init__(self, ignored: Sequence[Hashable]) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._ignored = dict.fromkeys(ignored, NOTHING)
        self._parts: list[npt.NDArray[np.int32]] = []

    def add(self, values: list[Any]) -> None:
        numbers, ignored = self._numbers, self._ignored
        for value in dict.fromkeys(values):
            if value not in numbers:
                numbers[value] = ignored.get(value, len(numbers))
        self._parts.append(np.fromiter(map(numbers.__getitem__, values), np.int32, len(values)))

    def all(self) -> Int64s:
        return _joined(self._parts)


class Replay:
    """The events of a file, and the columns that they make."""

    def __init__(self, history: History) -> None:
        self._history = history
        plans = history.entities
        entities = [pair for plan in plans for pair in zip(plan.fields, plan.ignored, strict=True)]
        texts = [pair for plan in plans for pair in zip(plan.texts, plan.texts_ignored, strict=True)]
        self._entities = {name: _Numbered(ignored) for name, ignored in entities}
        self._texts = {name: _Numbered(ignored) for name, ignored in texts}
        self._numbers: dict[Number, list[Int64s]] = {number: [] for plan in plans for number in plan.numbers}
        self._ids: list[Int64s] = []
        self._times: list[Int64s] = []

    def add(self, events: BlockEvents) -> None:
        """Adds the next rows of the file."""
        # of millions of ids no two have the same hash
        self._ids.append(np.fromiter(map(hash, events.ids), np.int64, len(events.ids)))
        self._times.append(events.times)
        for name, values in events.values.items():
            for numbered in (self._entities.get(name), self._texts.get(name)):
                if numbered is not None:
                    numbered.add(values)
        for number, units in events.numbers.items():
            self._numbers[number].append(units)

    @property
    def times(self) -> Int64s:
        """The event times of the rows, in microseconds since 1970."""
        return _joined(self._times)

    def columns(self, step: Callable[[str], None]) -> Rows:
        """The columns of the rows in the file's order, shape (rows, columns of history); `step` is told of the work."""
        times = self.times
        step(f"replaying {len(times):,} rows")
        firsts, first_of = _firsts(_joined(self._ids), times)
        fold = Fold(self._history)
        out = np.empty((len(times), len(self._history.columns)))
        for at, plan in enumerate(self._history.entities):
            groups, numbers, texts = self._of(plan, firsts)
            values = fold.replay(at, groups, times[firsts], numbers, texts)
            for column, place in enumerate(plan.places):
                out[firsts, place] = values[:, column]
        repeats = np.flatnonzero(first_of != np.arange(len(times)))
        out[repeats] = out[first_of[repeats]]
        return out

    def _of(self, plan: EntityPlan, rows: Int64s) -> tuple[Int64s, Int64s, npt.NDArray[np.uint64]]:
        """The groups, numbers and texts of an entity's events."""
        groups = _grouped([self._entities[name].all()[rows] for name in plan.fields])
        numbers = np.empty((len(rows), len(plan.numbers)), np.int64)
        for at, number in enumerate(plan.numbers):
            numbers[:, at] = _joined(self._numbers[number])[rows]
        texts = np.empty((len(rows), len(plan.texts)), np.uint64)
        for at, name in enumerate(plan.texts):
            # 0 is the text that names nothing
            texts[:, at] = self._texts[name].all()[rows] + 1
        return groups, numbers, texts


def _firsts(ids: Int64s, times: Int64s) -> tuple[Int64s, Int64s]:
    """The rows whose id is new, in the order of their observation, and for each row the first one of its id."""
    order = np.argsort(times, kind="stable")
    _, first, which = np.unique(ids[order], return_index=True, return_inverse=True)
    first_of = np.empty(len(ids), np.int64)
    first_of[order] = order[first][which]
    return order[np.sort(first)], first_of


def _grouped(parts: list[Int64s]) -> Int64s:
    """A number for each combination of the parts' numbers; `NOTHING` where one of them names nothing."""
    groups = parts[0]
    for part in parts[1:]:
        pairs = groups * (part.max(initial=0) + 1) + part
        pairs[(groups < 0) | (part < 0)] = NOTHING
        # numbered anew, so that no product is too large
        groups = np.unique(pairs, return_inverse=True)[1] - int((pairs < 0).any())
    return groups


def _joined(parts: Sequence[npt.NDArray[Any]]) -> Int64s:
    return np.concatenate(parts, dtype=np.int64) if parts else np.empty(0, np.int64)
