"""Puts the past that a file has before what was observed live, so that nothing counts twice.

An entity's past is put by one compare-and-set, and is known again by the ids in it: a run that ended at any point is
continued by the next one. Only what is older than the first live transaction is put.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import NamedTuple, Self

import orjson

from riskline.shared.domain.history.observation import Observation, Part
from riskline.shared.domain.history.plan import EntityPlan, History
from riskline.shared.errors import DatasetError, HistoryUnavailableError
from riskline.shared.model.history import Fold, state_bytes
from riskline.shared.store.history.interface import HistoryStore, Mark, Replacement
from riskline.worker.training.history.events import EntityEvents, OrderedEvents

ENTITIES_A_CALL = 64
"""Entities that are read and put together: at most some 500 kB."""

MARKED_EVERY = 32
"""Calls between two marks of the progress."""

TRIES = 20
"""Of one call: an entity that a live transaction has just compacted is read again."""

KEEPS = 2
"""An entity without an event for this many times `keep` is left out: no window reaches back to it."""

Progress = Callable[[str, int], None]
"""Called with the name of the entity's fields, and how many more entities are done."""


class Backfilled(NamedTuple):
    """What was done for one kind of entity."""

    name: str
    entities: int
    events: int
    covered_us: tuple[int, int]
    """The event times that all backfills together cover."""
    live_from_us: int | None
    """The first live transaction's event time; the file is not used from there on. None where there is none."""


@dataclass(frozen=True)
class Run:
    """One kind of entity's backfill, as its mark keeps it until it is over."""

    file: str
    """The hash of the file."""
    from_us: int
    to_us: int
    """The event times that are covered at its end."""
    since_us: int | None
    """The file is used from this time on; None: from its beginning."""
    before_us: int | None
    """The file is used up to this time; None: to its end."""
    done: str = ""
    """The entities up to this hash have their past."""

    def text(self) -> str:
        """The mark's progress."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def of(cls, file: str, mark: Mark | None, span_us: tuple[int, int]) -> Self:
        """The run over a file: one that was begun, or what no backfill covers yet.

        Raises:
            DatasetError: the run over another file was begun, and is not over.
        """
        if mark is None:
            return cls(file, *span_us, None, None)
        if mark.progress:
            begun = cls(**orjson.loads(mark.progress))
            if begun.file != file:
                raise DatasetError(
                    f"the backfill of {mark.name} from another file is not over: run that one again first"
                )
            return begun
        first, last = span_us
        if mark.live_from_us is not None:
            last = min(last, mark.live_from_us - 1)
        if mark.backfilled_from_us is None or mark.backfilled_to_us is None:
            return cls(file, min(first, last), last, None, mark.live_from_us)
        first, last = min(first, mark.backfilled_from_us), max(last, mark.backfilled_to_us)
        return cls(file, first, last, mark.backfilled_to_us + 1, mark.live_from_us)


class Backfill:
    """The backfill from one file."""

    def __init__(self, history: History, store: HistoryStore, fold: Fold, *, progress: Progress) -> None:
        self._history, self._store, self._fold, self._progress = history, store, fold, progress

    async def run(self, events: OrderedEvents, *, file: str, span_us: tuple[int, int]) -> list[Backfilled]:
        """Puts each entity's past; `file` is the hash of what the events are of.

        Raises:
            HistoryUnavailableError: the store is away; the same call continues where this one ended.
            DatasetError: the run over another file was begun, and is not over.
        """
        marks = await self._store.marks()
        runs = [Run.of(file, marks.get(plan.fingerprint), span_us) for plan in self._history.entities]
        for number, run in enumerate(runs):
            await self._mark(number, run)
        done = [await self._put_all(number, run, events) for number, run in enumerate(runs)]
        for number, run in enumerate(runs):
            await self._store.mark_backfill(number, from_us=run.from_us, to_us=run.to_us)
        return done

    async def _put_all(self, number: int, run: Run, events: OrderedEvents) -> Backfilled:
        """Puts the past of all entities of a kind; counts also those that an earlier run has put."""
        plan, entities, count, last = self._history.entities[number], 0, 0, run.done
        past = _in_reach(events.of(number, from_us=run.since_us, before_us=run.before_us), plan, run.to_us)
        for calls, some in enumerate(_parts(past, ENTITIES_A_CALL)):
            if some[-1].entity > run.done:
                await self._put(some, number, plan)
                last = some[-1].entity
            if calls % MARKED_EVERY == 0:
                await self._mark(number, replace(run, done=last))
            entities += len(some)
            count += sum(len(each.content) for each in some) // plan.event_bytes
            self._progress(plan.name, len(some))
        await self._mark(number, replace(run, done=last))
        return Backfilled(plan.name, entities, count, (run.from_us, run.to_us), run.before_us)

    async def _mark(self, number: int, run: Run) -> None:
        """Keeps how far the run has come; what it is to cover is not covered yet."""
        covered_to = run.from_us if run.since_us is None else run.since_us - 1
        await self._store.mark_backfill(number, from_us=run.from_us, to_us=covered_to, progress=run.text())

    async def _put(self, some: list[EntityEvents], number: int, plan: EntityPlan) -> None:
        """Puts these entities' past, each unless it has it."""
        looks = {each.entity: _look(number, len(self._history.entities), each, plan) for each in some}
        for _ in range(TRIES):
            seen = await self._store.look([looks[each.entity] for each in some])
            some = [each for each, found in zip(some, seen, strict=True) if not found.known]
            states = [_state(found.before[number]) for found in seen if not found.known]
            wanted = [
                Replacement(number, each.entity, state, self._fold.packed(number, state + each.content))
                for each, state in zip(some, states, strict=True)
            ]
            if await self._store.compact(wanted) == len(wanted):
                return
        raise HistoryUnavailableError("the history is written faster than the past can be put before it: try again")


def _state(kept: bytes | None) -> bytes:
    """What the past is put behind: the packed state. The events after it stay after the past."""
    return b"" if kept is None else kept[: state_bytes(kept)]


def _look(number: int, entities: int, each: EntityEvents, plan: EntityPlan) -> Observation:
    """The observation that finds whether the entity has its past, by the newest event in it."""
    parts: list[Part | None] = [None] * entities
    parts[number] = Part(each.entity, each.content[-plan.event_bytes :])
    return Observation("", each.newest_us, tuple(parts))


def _in_reach(past: Iterable[EntityEvents], plan: EntityPlan, end_us: int) -> Iterator[EntityEvents]:
    return (each for each in past if each.newest_us > end_us - KEEPS * plan.keep_us)


def _parts(past: Iterator[EntityEvents], size: int) -> Iterator[list[EntityEvents]]:
    while some := list(islice(past, size)):
        yield some
