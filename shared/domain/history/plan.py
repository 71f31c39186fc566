"""What a class's history is made of: its entities, what each event of one carries, and the columns.

A plan is derived from the class once. The fold, the store, the doors and training all work from it.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

CELLS = 60
"""The cells of a window: each has a sixtieth of its length."""

DURATION_UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "us": 1}
"""The microseconds of each unit, largest first."""

TAG_BYTES, ID_BYTES, HASH_BYTES, NUMBER_BYTES = 1, 8, 8, 8
"""The parts of an event, see `observation`."""


class Kind(IntEnum):
    """The kinds of columns; the numbers are those of `history.c`."""

    COUNT = 1
    TOTAL = 2
    MEAN = 3
    LARGEST = 4
    SMALLEST = 5
    SPREAD = 6
    DISTINCT = 7
    SINCE_LAST = 8
    LAST = 9
    SEEN = 10


class HistoryColumn(NamedTuple):
    """A column that is computed from the events of one entity."""

    name: str
    kind: Kind
    window_us: int = 0
    """0 for the kinds without a window."""
    number: int = -1
    """The position in `EntityPlan.numbers`; -1 where it has none."""
    text: int = -1
    """The position in `EntityPlan.texts`; -1 where it has none."""
    up_to: int = 0
    unit_us: int = 0
    empty: float = 0.0
    """The value where there is nothing to compute it from."""
    whole: bool = False
    """True where the class says int or bool."""


class Number(NamedTuple):
    """A field whose value each event carries as a whole number of units of its last decimal place."""

    field: str
    places: int


@dataclass(frozen=True)
class EntityPlan:
    """One entity: a field, or several together, whose events are kept under one key."""

    fields: tuple[str, ...]
    keep_us: int
    ignored: tuple[tuple[str | int, ...], ...]
    """For each of the fields, the values that are no entity."""
    numbers: tuple[Number, ...]
    texts: tuple[str, ...]
    """Fields whose values each event carries as a hash."""
    texts_ignored: tuple[tuple[str | int, ...], ...]
    """For each of these, the values that name nothing, and are not counted: their hash is 8 zero bytes."""
    columns: tuple[HistoryColumn, ...]
    """In an order of their own, so that the kept bytes do not depend on their order in the class."""
    places: tuple[int, ...]
    """For each of its columns, the position in `History.columns`."""
    fingerprint: str
    """8 hex digits of all that the kept bytes depend on: other ones are another state."""

    @property
    def name(self) -> str:
        """The fields as commands and paths name them: `card_id`, `card_id+merchant_id`."""
        return "+".join(self.fields)

    @property
    def reach_us(self) -> int:
        """How far back its columns look: the longest window; how long it is kept, where none has a window."""
        return max((column.window_us for column in self.columns), default=0) or self.keep_us

    @property
    def event_bytes(self) -> int:
        """The size of one event."""
        return TAG_BYTES + ID_BYTES + NUMBER_BYTES + NUMBER_BYTES * len(self.numbers) + HASH_BYTES * len(self.texts)

    def definition(self, column: HistoryColumn) -> str:
        """What one of its columns says, for messages: `mean of cost in 30d by card_id, else -1`."""
        said = column.kind.name.lower().replace("_", " ")
        if column.number >= 0:
            said += f" of {self.numbers[column.number].field}"
        elif column.text >= 0:
            said += f" of {self.texts[column.text]} up to {column.up_to}"
        if (measured := column.window_us or column.unit_us) > 0:
            said += f" in {duration(measured)}"
        return f"{said} by {self.name}" + (f", else {column.empty:g}" if column.empty else "")


@dataclass(frozen=True)
class History:
    """The history of a transaction class."""

    time_field: str
    zone: str | None
    """The zone of times without one; None where each must have its own."""
    columns: tuple[HistoryColumn, ...]
    """In the order of the class."""
    entities: tuple[EntityPlan, ...]
    fingerprint: str
    """8 hex digits of all columns' definitions, with which a model was trained."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def whole(self) -> tuple[bool, ...]:
        """For each column, whether its value is an int in Python."""
        return tuple(column.whole for column in self.columns)

    @property
    def empty(self) -> tuple[float, ...]:
        """The columns of a transaction before which nothing is known."""
        return tuple(column.empty for column in self.columns)

    @property
    def definitions(self) -> dict[str, str]:
        """What each column says, for messages."""
        said = {column.name: entity.definition(column) for entity in self.entities for column in entity.columns}
        return {column.name: said[column.name] for column in self.columns}


def duration(microseconds: int) -> str:
    """A duration as a class writes it, in its largest whole unit: `30d`, `90min`."""
    unit, size = next(each for each in DURATION_UNITS.items() if microseconds % each[1] == 0)
    return f"{microseconds // size}{unit}"
