"""The events of transactions by entity, in the order in which they are to be observed."""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.history.observation import Observation, Observing, event_id
from riskline.shared.domain.history.plan import EntityPlan, History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.dataset import read_batches
from riskline.worker.training.data.replay import EventReader
from riskline.worker.training.data.rows import Refusals, bad_rows

Int64s = npt.NDArray[np.int64]


class EntityEvents(NamedTuple):
    """One entity's events, in order."""

    entity: str
    """The keyed hash, as in `Part`."""
    content: bytes
    """The events, one after the other."""
    newest_us: int
    """The event time of the newest one."""


class PastEvents:
    """The events of many transactions: those of files are in order of time, then of line."""

    def __init__(self, history: History) -> None:
        self._times, self._ids = array("q"), array("Q")
        self._entities = [_OfEntity(plan) for plan in history.entities]

    def __len__(self) -> int:
        """The transactions, repeated ids among them."""
        return len(self._times)

    def add(self, observation: Observation) -> None:
        """Adds a transaction."""
        row = len(self._times)
        identity = 0
        for part, mine in zip(observation.parts, self._entities, strict=True):
            if part is not None:
                mine.add(row, part.entity, part.event)
                identity = int.from_bytes(event_id(part.event), "little")
        self._times.append(observation.at_us)
        self._ids.append(identity)

    def span_us(self) -> tuple[int, int]:
        """The first and the last event time, of at least one transaction."""
        return min(self._times), max(self._times)

    def ordered(self) -> "OrderedEvents":
        """The events by time, and those of one time as they were added; of a repeated id the first ones."""
        times, ids = np.frombuffer(self._times, np.int64), np.frombuffer(self._ids, np.uint64)
        order = np.argsort(times, kind="stable")
        _, firsts = np.unique(ids[order], return_index=True)
        ranks = np.full(len(times), -1, np.int64)
        ranks[order[np.sort(firsts)]] = np.arange(len(firsts))
        return OrderedEvents(times, ranks, self._entities)


def read_events(
    path: Path,
    transaction_class: type[TransactionModel],
    observing: Observing,
    events: PastEvents,
    *,
    skip_bad_rows: bool,
    reader: EventReader,
    progress: Callable[[int], None],
) -> Refusals:
    """Adds the events of a file's rows; returns the rows that are refused. `progress` is called with more rows.

    The `reader` has the checks of the doors.

    Raises:
        DatasetError: the file cannot be read, lacks a column, has no rows, or bad ones that are not to be skipped.
    """
    before, refusals = len(events), Refusals()
    # an id that is a number of a row would not be known again when its transaction is sent
    for batch in read_batches(path, transaction_class, needed=(transaction_class.ID_FIELD,)):
        punctual, _ = reader.punctual(batch)
        for transaction in punctual.transactions:
            events.add(observing.of(transaction))
        refusals.add(punctual.refused)
        progress(len(batch.rows) + len(batch.refused))
    if refusals.total and not skip_bad_rows:
        raise bad_rows(path, refusals)
    if len(events) == before:
        raise DatasetError(f"{path} has no rows that are transactions")
    return refusals


class OrderedEvents:
    """The events of each entity, as `PastEvents.ordered` puts them in order."""

    def __init__(self, times: Int64s, ranks: Int64s, entities: list["_OfEntity"]) -> None:
        self._times, self._ranks, self._entities = times, ranks, entities

    @property
    def repeated(self) -> int:
        """The transactions that are left out as their id was there before."""
        return int((self._ranks < 0).sum())

    def of(self, entity: int, *, from_us: int | None = None, before_us: int | None = None) -> Iterator[EntityEvents]:
        """The entities by their hashes, each with its events of this time."""
        mine = self._entities[entity]
        names, rows, groups, events = mine.arrays()
        times, ranks = self._times[rows], self._ranks[rows]
        wanted = ranks >= 0
        if from_us is not None:
            wanted &= times >= from_us
        if before_us is not None:
            wanted &= times < before_us
        chosen = np.flatnonzero(wanted)
        order = chosen[np.lexsort((ranks[chosen], groups[chosen]))]
        ends = np.flatnonzero(np.diff(groups[order], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            some = order[start:end]
            yield EntityEvents(names[groups[some[0]]], events[some].tobytes(), int(times[some[-1]]))
            start = end


class _OfEntity:
    """The events of one kind of entity, in the order in which they were added."""

    def __init__(self, plan: EntityPlan) -> None:
        self._size = plan.event_bytes
        self._numbers: dict[str, int] = {}
        self._rows, self._groups = array("q"), array("q")
        self._content = bytearray()

    def add(self, row: int, entity: str, event: bytes) -> None:
        self._rows.append(row)
        self._groups.append(self._numbers.setdefault(entity, len(self._numbers)))
        self._content += event

    def arrays(self) -> tuple[list[str], Int64s, Int64s, npt.NDArray[np.void]]:
        """The names in order, and each event's row, number of its name, and bytes."""
        names = sorted(self._numbers)
        places = np.empty(len(names), np.int64)
        places[[self._numbers[name] for name in names]] = np.arange(len(names))
        groups = places[np.frombuffer(self._groups, np.int64)]
        return names, np.frombuffer(self._rows, np.int64), groups, np.frombuffer(self._content, f"V{self._size}")
