"""Computes anew what was served, from the records of all transactions and the order in which they were observed."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from riskline.shared.domain.history.observation import Observation, event_id
from riskline.shared.domain.history.plan import ID_BYTES, NUMBER_BYTES, TAG_BYTES, EntityPlan, History
from riskline.shared.model.history import Fold
from riskline.worker.training.history.events import EntityEvents, OrderedEvents

UNKNOWN_PAST = "transactions before it are in no record and in no file"
OUT_OF_ORDER = "it was too late to be counted, or its id had been forgotten"
AWAY = "it was decided without history"
NO_ORDER = "its record does not say when it was observed"

TIME = slice(TAG_BYTES + ID_BYTES, TAG_BYTES + ID_BYTES + NUMBER_BYTES)
"""The place of the time in an event."""

ENTITIES_A_CALL = 1024
"""Entities whose events are computed by one call."""


class Served(NamedTuple):
    """A transaction as it was served."""

    observation: Observation
    values: Sequence[float] | None
    """In the order of `History.columns`; None where they cannot be checked."""
    order: Sequence[int | None]
    """By entity, which of its events it was, from 1."""
    at: str
    """When it was submitted."""
    reason: str = AWAY
    """Why the values cannot be checked."""


class Difference(NamedTuple):
    """A value that is not what comes of the transactions before it."""

    transaction_id: str
    column: str
    served: float
    computed: float


@dataclass
class Verification:
    """What was found."""

    transactions: int = 0
    """The transactions that were looked at."""
    identical: int = 0
    """The values that are the same."""
    different: int = 0
    first: Difference | None = None
    """The first one by the time of its submission."""
    first_at: str = ""
    unchecked: Counter[str] = field(default_factory=Counter)
    """The values that could not be computed anew, by the reason."""

    def differ(self, difference: Difference, at: str) -> None:
        """Notes a difference."""
        self.different += 1
        if self.first is None or at < self.first_at:
            self.first, self.first_at = difference, at


class _Event(NamedTuple):
    """An event of an entity: a served one has its transaction, one of a file has none."""

    content: bytes
    served: Served | None = None


@dataclass
class _Past:
    """What is known of one entity."""

    served: list[tuple[int, _Event]] = field(default_factory=list)
    """By their place among the entity's events."""
    of_files: list[_Event] = field(default_factory=list)
    later: list[_Event] = field(default_factory=list)
    """Those that were added while or after the history was away: nothing says when."""

    def filling(self, missing: int) -> list[_Event]:
        """The events without a known place that fit the places without an event: as many, and no others as many."""
        some = {len(each): each for each in (self.of_files, self.later, self.of_files + self.later)}
        is_one_way = len(self.of_files) != len(self.later) or missing > len(self.later)
        return some.get(missing, []) if is_one_way else []


def compare(history: History, fold: Fold, *, past: OrderedEvents | None, served: Sequence[Served]) -> Verification:
    """Compares what was served, in the order of submission, with what comes of it and of the past that files have."""
    verdict = Verification(transactions=len(served))
    for each in served:
        if each.values is None:
            verdict.unchecked[each.reason] += len(history.columns)
    for number, plan in enumerate(history.entities):
        files = () if past is None else past.of(number)
        checking = _Checking(number, plan, fold, verdict)
        known = iter(checking.known(files, served).values())
        while some := list(islice(known, ENTITIES_A_CALL)):
            checking.compute([each for entity in some for each in checking.sequences(entity)])
    return verdict


class _Checking:
    """The comparison of one kind of entity."""

    def __init__(self, number: int, plan: EntityPlan, fold: Fold, verdict: Verification) -> None:
        self._number, self._plan, self._fold, self._verdict = number, plan, fold, verdict
        numbers, texts = len(plan.numbers), len(plan.texts)
        start = TAG_BYTES + ID_BYTES
        self._layout = np.dtype(
            {
                "names": ["at", "numbers", "texts"],
                "formats": ["<i8", ("<i8", (numbers,)), ("<u8", (texts,))],
                "offsets": [start, start + NUMBER_BYTES, start + NUMBER_BYTES * (1 + numbers)],
                "itemsize": plan.event_bytes,
            }
        )

    def known(self, files: Iterable[EntityEvents], served: Sequence[Served]) -> dict[str, _Past]:
        """What is known of each entity; compares the columns of transactions that have none at once."""
        found: defaultdict[str, _Past] = defaultdict(_Past)
        parts = [(each, each.observation.parts[self._number]) for each in served]
        ids = {event_id(part.event) for _, part in parts if part is not None}
        size = self._plan.event_bytes
        for entity in files:
            events = [entity.content[at : at + size] for at in range(0, len(entity.content), size)]
            found[entity.entity].of_files += [_Event(event) for event in events if event_id(event) not in ids]
        for each, part in parts:
            if part is None:
                self._compare_empty(each)
            elif each.values is None:
                found[part.entity].later.append(_Event(part.event))
            elif (ordinal := each.order[self._number]) is None:
                self._leave(1, OUT_OF_ORDER)
            else:
                found[part.entity].served.append((ordinal, _Event(part.event, each)))
        return found

    def sequences(self, past: _Past) -> Iterator[list[_Event]]:
        """The events from an entity's first one on, as far as all are known; several where it was forgotten between."""
        lives = _lives(past.served, self._plan.keep_us)
        for life in lives:
            missing = life[-1][0] - len(life)
            filling = iter(past.filling(missing) if len(lives) == 1 else ())
            events: list[_Event] = []
            for ordinal, event in life:
                gap = ordinal - 1 - len(events)
                events += islice(filling, gap)
                if len(events) < ordinal - 1:
                    break
                events.append(event)
            yield events
            self._leave(len(life) - sum(event.served is not None for event in events), UNKNOWN_PAST)

    def compute(self, sequences: Sequence[list[_Event]]) -> None:
        """Computes the columns of all events of these entities, and compares those that were served."""
        events = [event for each in sequences for event in each]
        if not events:
            return
        groups = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
        parts = np.frombuffer(b"".join(event.content for event in events), self._layout)
        computed = self._fold.replay(self._number, groups, parts["at"], parts["numbers"], parts["texts"])
        for event, values in zip(events, computed.tolist(), strict=True):
            if event.served is not None:
                self._compare(event.served, values)

    def _compare_empty(self, served: Served) -> None:
        if served.values is not None:
            self._compare(served, [column.empty for column in self._plan.columns])

    def _compare(self, served: Served, computed: Sequence[float]) -> None:
        assert served.values is not None  # noqa: S101  # it has a place among the events
        for column, place, value in zip(self._plan.columns, self._plan.places, computed, strict=True):
            if served.values[place] == value:
                self._verdict.identical += 1
            else:
                name = served.observation.transaction_id
                self._verdict.differ(Difference(name, column.name, served.values[place], value), served.at)

    def _leave(self, transactions: int, reason: str) -> None:
        if transactions:
            self._verdict.unchecked[reason] += transactions * len(self._plan.columns)


def _lives(served: list[tuple[int, _Event]], keep_us: int) -> list[list[tuple[int, _Event]]]:
    """The events by their places, apart for each time that the entity was forgotten and began anew."""
    if not served:
        return []
    if len({ordinal for ordinal, _ in served}) == len(served):
        return [sorted(served, key=itemgetter(0))]
    lives = _lives_by_time(served, keep_us)
    if sum(map(len, lives)) == len(served):
        return [sorted(life.items()) for life in lives]
    # it was erased, or its first events are in no record: the order of submission is all that tells them apart
    lives = [{}]
    for ordinal, event in served:
        if ordinal in lives[-1]:
            lives.append({})
        lives[-1][ordinal] = event
    return [sorted(life.items()) for life in lives]


def _lives_by_time(served: list[tuple[int, _Event]], keep_us: int) -> list[dict[int, _Event]]:
    """The lives of an entity that began anew by events more than `keep` after all before them.

    No event of a life is older than `keep` before its first one, and all of earlier lives are.
    """
    begins = sorted(_time_us(event) - keep_us for ordinal, event in served if ordinal == 1)
    lives: list[dict[int, _Event]] = [{} for _ in range(len(begins) + 1)]
    for ordinal, event in served:
        lives[bisect_right(begins, _time_us(event))][ordinal] = event
    return [life for life in lives if life]


def _time_us(event: _Event) -> int:
    return int.from_bytes(event.content[TIME], "little", signed=True)
