"""An entity's history as anybody would write it who has time and memory: what the fold has to agree with."""

import math
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from riskline.shared.domain.history.observation import EVENT_TAG, Observation, Part, SeenBefore
from riskline.shared.domain.history.plan import CELLS, EntityPlan, History, HistoryColumn, Kind, Number
from riskline.shared.model.history import Fold, Folded

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND


class Event(NamedTuple):
    """An event before it is bytes."""

    id: int
    at_us: int
    numbers: tuple[int, ...] = ()
    texts: tuple[int, ...] = ()

    def packed(self) -> bytes:
        """As it is kept."""
        signed = [each.to_bytes(8, "little", signed=True) for each in (self.at_us, *self.numbers)]
        return b"".join([EVENT_TAG, *(each.to_bytes(8, "little") for each in (self.id,)), *signed]) + b"".join(
            each.to_bytes(8, "little") for each in self.texts
        )


class Reference:
    """Keeps the events of each cell themselves, and sums them up again for each transaction."""

    def __init__(self, plan: EntityPlan) -> None:
        self.plan = plan
        self.newest, self.oldest, self.applied = -math.inf, math.inf, 0
        self.ids: list[int] = []
        self.times: list[Event] = []
        self.cells: dict[int, dict[int, list[Event]]] = {each.window_us: {} for each in plan.columns if each.window_us}
        self.texts: dict[tuple[int, int, int], dict[int, list[int]]] = {
            (each.window_us, each.text, each.up_to): {} for each in plan.columns if each.kind is Kind.DISTINCT
        }

    def observe(self, event: Event) -> None:
        """Takes an event."""
        if event.at_us > self.newest + self.plan.keep_us:
            self.__init__(self.plan)  # type: ignore[misc]  # nothing is left of it
        if event.at_us < self.newest - self.plan.keep_us or event.id in self.ids[-128:]:
            return
        self.newest, self.applied = max(self.newest, event.at_us), self.applied + 1
        self.oldest = min(self.oldest, event.at_us)
        oldest = int(self.newest) - self.plan.keep_us
        self.ids.append(event.id)
        self.times = [e for e in sorted([*self.times, event], key=lambda e: e.at_us)[-16:] if e.at_us >= oldest]
        for window, cells in self.cells.items():
            cells.setdefault(cell(event.at_us, window), []).append(event)
            for each in sorted(cells):
                old = each < cell(int(self.newest), window) - 120 and len(cells) > 32
                if old or each < cell(oldest, window):
                    del cells[each]
        for (window, place, up_to), found in self.texts.items():
            text, before = event.texts[place], found.get(event.texts[place], [])
            after = sorted({*before, cell(event.at_us, window)})[-4:]
            if text and before[-1:] != after[-1:]:
                found.pop(text, None)
            found.update({text: after} if text else {})
            kept = sorted(found.items(), key=lambda item: item[1][-1])[-up_to:]
            self.texts[window, place, up_to] = {t: c for t, c in kept if c[-1] >= cell(oldest, window)}

    def columns(self, at_us: int) -> list[float]:
        """The columns of a transaction at that time."""
        return [self._column(each, at_us) for each in self.plan.columns]

    def _column(self, column: HistoryColumn, at_us: int) -> float:
        if at_us > self.newest + self.plan.keep_us:
            return column.empty
        if column.kind in {Kind.SINCE_LAST, Kind.LAST}:
            return self._last(column, at_us)
        window = column.window_us
        last = cell(at_us, window)
        first = max(last - CELLS, cell(int(self.newest) - self.plan.keep_us, window))
        if column.kind is Kind.DISTINCT:
            found = self.texts[window, column.text, column.up_to].values()
            return float(sum(any(first <= c <= last for c in cells) for cells in found)) or column.empty
        events = [e for c, events in self.cells[window].items() if first <= c <= last for e in events]
        return self._of(column, events) if events else column.empty

    def _last(self, column: HistoryColumn, at_us: int) -> float:
        before = [e for e in self.times if e.at_us <= at_us]
        since = at_us - before[-1].at_us if before else 0
        if not before and len(self.times) == 16 and at_us >= max(self.oldest, self.newest - self.plan.keep_us):
            before, since = self.times[:1], (self.times[-1].at_us - self.times[0].at_us) // 15
        if not before:
            return column.empty
        if column.kind is Kind.LAST:
            return float(before[-1].numbers[column.number]) / float(self._unit(column))
        return float(since) / float(column.unit_us)

    def _of(self, column: HistoryColumn, events: list[Event]) -> float:
        n, unit = len(events), self._unit(column)
        x = [e.numbers[column.number] for e in events] if column.number >= 0 else []
        match column.kind:
            case Kind.COUNT:
                return float(n)
            case Kind.SEEN:
                return 1.0
            case Kind.TOTAL:
                return float(sum(x)) / float(unit)
            case Kind.MEAN:
                return float(sum(x)) / float(n * unit)
            case Kind.SPREAD:
                return math.sqrt(float(n * sum(each * each for each in x) - sum(x) ** 2)) / float(n * unit)
        return float(max(x) if column.kind is Kind.LARGEST else min(x)) / float(unit)

    def _unit(self, column: HistoryColumn) -> int:
        places: int = 10 ** self.plan.numbers[column.number].places if column.number >= 0 else 1
        return places


def cell(at_us: int, window_us: int) -> int:
    """The number of the cell that a time is in."""
    return at_us * CELLS // window_us


def entity_plan(
    columns: Sequence[HistoryColumn], *, keep_us: int, places: Sequence[int] = (), texts: int = 0, first: int = 0
) -> EntityPlan:
    """An entity with numbers of these decimal places; its columns begin at a place of the class."""
    return EntityPlan(
        fields=(f"entity_{first}",),
        keep_us=keep_us,
        ignored=((),),
        numbers=tuple(Number(f"number_{place}", each) for place, each in enumerate(places)),
        texts=tuple(f"text_{place}" for place in range(texts)),
        texts_ignored=((),) * texts,
        columns=tuple(columns),
        places=tuple(range(first, first + len(columns))),
        fingerprint="0" * 8,
    )


def history(*entities: EntityPlan) -> History:
    """The history of a class that has these entities."""
    columns = tuple(column for each in entities for column in each.columns)
    return History(time_field="at", zone=None, columns=columns, entities=entities, fingerprint="0" * 8)


def every_kind(*windows_us: int, numbers: int = 1, texts: int = 1, up_to: int = 64) -> list[HistoryColumn]:
    """A column of each kind, for each window, number and text."""
    of_numbers = (Kind.TOTAL, Kind.MEAN, Kind.LARGEST, Kind.SMALLEST, Kind.SPREAD)
    columns = [HistoryColumn("", Kind.SINCE_LAST, unit_us=MINUTE, empty=-1.0)]
    columns += [HistoryColumn("", Kind.LAST, number=number, empty=-2.0) for number in range(numbers)]
    for window in windows_us:
        columns += [HistoryColumn("", kind, window) for kind in (Kind.COUNT, Kind.SEEN)]
        columns += [
            HistoryColumn("", kind, window, number, empty=-3.0) for kind in of_numbers for number in range(numbers)
        ]
        columns += [HistoryColumn("", Kind.DISTINCT, window, text=text, up_to=up_to) for text in range(texts)]
    return [each._replace(name=f"column_{place}") for place, each in enumerate(columns)]


def folded(fold: Fold, kept: bytes, event: Event, *, known: bool = False) -> Folded:
    """What the fold says of an event of a class with one entity."""
    return fold.columns(Observation("", event.at_us, (Part("", event.packed()),)), SeenBefore((kept,), known))


def packed(events: Iterable[Event]) -> bytes:
    """Events as they are kept."""
    return b"".join(event.packed() for event in events)


def kept_after(fold: Fold, entity: int, events: Iterable[Event]) -> bytes:
    """What is kept after these events, where each is followed by the compaction that it gives reason for."""
    kept = b""
    for event in events:
        compaction, kept = fold.compaction(entity, kept, event.packed()), kept + event.packed()
        if compaction is not None:
            kept = compaction.new + kept[len(compaction.old) :]
    return kept


def usual() -> History:
    """Twenty columns over a card, a merchant and a device."""

    def column(kind: Kind, window_us: int = 0, number: int = -1, text: int = -1) -> HistoryColumn:
        return HistoryColumn(kind.name, kind, window_us, number, text, up_to=64, unit_us=MINUTE)

    card = [column(Kind.COUNT, window) for window in (HOUR, DAY, 30 * DAY)]
    card += [column(Kind.TOTAL, HOUR, 0), column(Kind.TOTAL, DAY, 0), column(Kind.MEAN, 30 * DAY, 0)]
    card += [column(Kind.LARGEST, 30 * DAY, 0), column(Kind.SINCE_LAST), column(Kind.LAST, number=0)]
    merchant = [column(Kind.COUNT, window) for window in (HOUR, DAY, 30 * DAY)]
    merchant += [column(kind, 30 * DAY, 0) for kind in (Kind.MEAN, Kind.SPREAD, Kind.LARGEST)]
    merchant += [column(Kind.DISTINCT, DAY, text=0)]
    device = [column(Kind.COUNT, HOUR), column(Kind.COUNT, 7 * DAY), column(Kind.SINCE_LAST)]
    device += [column(Kind.DISTINCT, 7 * DAY, text=0)]
    return history(
        entity_plan(card, keep_us=30 * DAY, places=(2,)),
        entity_plan(merchant, keep_us=37 * DAY, places=(2,), texts=1, first=9),
        entity_plan(device, keep_us=7 * DAY, texts=1, first=16),
    )


def purchases(plan: EntityPlan, chance: random.Random, *, count: int, over_us: int, until_us: int) -> list[Event]:
    """Events at random times of some length up to a time, of usual amounts."""
    return [
        Event(
            chance.randrange(1 << 64),
            at_us,
            tuple(chance.randrange(100, 30_000) for _ in plan.numbers),
            tuple(chance.randrange(1, 1 << 64) for _ in plan.texts),
        )
        for at_us in sorted(until_us - chance.randrange(over_us) for _ in range(count))
    ]
