"""The markers of a class with history: its event time, its entities, exact numbers, and the columns of the past.

A column says of which entity it is (a field, or several together), and of which window, as a text: `"30s"`, `"15min"`,
`"1h"`, `"7d"`. The transaction itself is never in its own columns.
"""

import math
import re
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from riskline.shared.domain.history.plan import Kind

UNITS_US = {"s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
"""The units of a length of time, in microseconds."""

LENGTH = re.compile(r"([0-9]{1,9})(s|min|h|d)")

LONGEST_US = 3_660 * UNITS_US["d"]
"""Ten years: no history is kept for longer."""

MOST_ENTITY_CHARACTERS = 1_000
"""Longer texts are no name of anything."""

LARGEST_ENTITY = 2**63 - 1

MOST_UNITS = 2**53
"""The largest number of units that a float holds exactly, as every one below."""

MOST_PLACES = 15
"""A float has no more decimal places of which each is sure."""

MOST_DISTINCT = 1_024
"""The largest `up_to`: each value takes some twenty bytes of an entity's history."""

SCALES: tuple[int, ...] = tuple(10**places for places in range(MOST_PLACES + 1))

NOISE = 2.0**-40
"""The relative difference from a decimal that is float arithmetic's, such as 0.30000000000000004's from 0.3."""

EXACT = "decimal_places"
"""The type of the error for a number with more decimal places than are declared."""


def length_us(text: str) -> int:
    """The length of time that a text such as `15min` names, in microseconds.

    Raises:
        ValueError: the text is none, or names no time or more than ten years.
    """
    number, unit = number_and_unit(text)
    length = number * UNITS_US[unit]
    if not 0 < length <= LONGEST_US:
        raise ValueError(f"{text!r} must be longer than nothing and at most ten years ('3660d')")
    return length


def number_and_unit(text: str) -> tuple[int, str]:
    """The two parts of a length of time.

    Raises:
        ValueError: the text is none.
    """
    found = LENGTH.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is no length of time: write a whole number and s, min, h or d, such as '15min'")
    return int(found[1]), found[2]


class EventTime:
    """`Annotated[AwareDatetime, EventTime]`: when the transaction took place; windows go by it. It is no column.

    `Annotated[datetime, EventTime("Europe/Paris")]` says in which zone a time without one is.
    """

    def __init__(self, zone: str | None = None) -> None:
        self.zone = zone
        if zone is None:
            return
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
            raise ValueError(
                f"EventTime knows no time zone {zone!r}: write a name such as 'Europe/Paris' (a machine without time "
                "zone data needs `pip install tzdata`)"
            ) from error


class Entity:
    """`Annotated[str, Entity("30d")]`: the field names a card, a merchant, a device; it is no column.

    Its events are kept for `keep` after the last one. A value among `ignore` names none: `Entity("7d", ignore=("",))`.
    """

    def __init__(self, keep: str, *, ignore: tuple[str | int, ...] = ()) -> None:
        self.keep, self.keep_us = keep, length_us(keep)
        if isinstance(ignore, str) or not all(isinstance(each, str | int) for each in ignore):
            raise ValueError(
                f"Entity's ignore must be a tuple of values, such as ignore=('', 'unknown'), not {ignore!r}"
            )
        self.ignore = tuple(ignore)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler | None = None) -> CoreSchema:
        """Bounds the value: a name has a bounded size."""
        if handler is None:
            # the class itself is the marker, and this its plain function
            raise ValueError('Entity needs to know for how long history is kept: write Entity("30d")')
        schema = handler(source)
        if source is str:
            return _bounded(schema, core_schema.str_schema(max_length=MOST_ENTITY_CHARACTERS))
        if source is int:
            return _bounded(schema, core_schema.int_schema(ge=-LARGEST_ENTITY, le=LARGEST_ENTITY))
        return schema


def _bounded(schema: CoreSchema, bound: Any) -> CoreSchema:
    if schema["type"] == bound["type"]:
        # in the same step, so that what the class says goes before
        return {**bound, **schema}
    return core_schema.chain_schema([schema, bound])


class Exact:
    """`Annotated[float, Exact(2)]`: the number has at most two decimal places, so that sums of it are exact."""

    def __init__(self, places: int) -> None:
        if type(places) is not int or not 0 <= places <= MOST_PLACES:
            raise ValueError(f"Exact takes a number of decimal places from 0 to {MOST_PLACES}, not {places!r}")
        self.places = places
        self.said = f"{places} decimal place{'' if places == 1 else 's'}"
        self._scale = 10.0**places

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler | None = None) -> CoreSchema:
        """Refuses numbers that have more places, or too many units of the last one."""
        if handler is None:
            raise ValueError("Exact needs to know the number of decimal places: write Exact(2)")
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: float) -> float:
        scaled = value * self._scale
        size = abs(scaled)
        # first, as its units may be more than a float can say, and infinity cannot be rounded
        if size > MOST_UNITS:
            raise PydanticCustomError(EXACT, f"Input is too large to be exact to {self.said}")
        if abs(scaled - round(scaled)) > (NOISE * size if size > 1 else NOISE):
            raise PydanticCustomError(EXACT, f"Input should have at most {self.said}")
        return value


def units(value: float, places: int) -> int:
    """The number in units of its last decimal place."""
    return round(value * SCALES[places])


class ColumnMarker:
    """A column that is computed from what came before a transaction; a client does not send it."""

    kind: ClassVar[Kind]

    unit = ""
    """The unit of a time as a column; empty where the column is none."""

    def __init__(
        self,
        entity: str | tuple[str, ...],
        *,
        field: str | None = None,
        window: str | None = None,
        empty: float = 0,
        up_to: int = 0,
        unit_us: int = 0,
    ) -> None:
        name = type(self).__name__
        self.entity = (entity,) if isinstance(entity, str) else tuple(entity)
        if not self.entity or not all(isinstance(each, str) for each in self.entity):
            raise ValueError(f"{name} needs the name of a field, or a tuple of several, for its entity, not {entity!r}")
        if len(set(self.entity)) != len(self.entity):
            raise ValueError(f"{name} names a field twice in {entity!r}")
        if type(empty) not in (int, float) or not math.isfinite(empty):
            raise ValueError(f"{name} needs a finite number for empty, not {empty!r}")
        self.field = field
        self.window = window
        self.window_us = 0 if window is None else length_us(window)
        self.empty = empty
        self.up_to = up_to
        self.unit_us = unit_us


class Count(ColumnMarker):
    """`Annotated[int, Count("card_id", "1h")]`: how many transactions of the entity the window has."""

    kind = Kind.COUNT

    def __init__(self, entity: str | tuple[str, ...], window: str) -> None:
        super().__init__(entity, window=window)


class _OfNumber(ColumnMarker):
    """A column of a number's values in a window."""

    def __init__(self, field: str, entity: str | tuple[str, ...], window: str, *, empty: float = 0) -> None:
        super().__init__(entity, field=field, window=window, empty=empty)


class Total(_OfNumber):
    """`Annotated[float, Total("cost", "card_id", "24h")]`: the sum of a number; 0 where there is none."""

    kind = Kind.TOTAL

    def __init__(self, field: str, entity: str | tuple[str, ...], window: str) -> None:
        super().__init__(field, entity, window)


class Mean(_OfNumber):
    """`Annotated[float, Mean("cost", "card_id", "30d", empty=0)]`: the mean of a number."""

    kind = Kind.MEAN


class Largest(_OfNumber):
    """`Annotated[float, Largest("cost", "card_id", "30d")]`: the largest value of a number."""

    kind = Kind.LARGEST


class Smallest(_OfNumber):
    """`Annotated[float, Smallest("cost", "card_id", "30d")]`: the smallest value of a number."""

    kind = Kind.SMALLEST


class Spread(_OfNumber):
    """`Annotated[float, Spread("cost", "card_id", "30d")]`: the standard deviation of a number."""

    kind = Kind.SPREAD


class Distinct(ColumnMarker):
    """`Annotated[int, Distinct("card_id", "device_id", "7d")]`: how many values of a field the window has."""

    kind = Kind.DISTINCT

    def __init__(self, field: str, entity: str | tuple[str, ...], window: str, *, up_to: int = 64) -> None:
        if type(up_to) is not int or not 1 <= up_to <= MOST_DISTINCT:
            raise ValueError(f"Distinct counts up_to a number from 1 to {MOST_DISTINCT}, not {up_to!r}")
        super().__init__(entity, field=field, window=window, up_to=up_to)


class SinceLast(ColumnMarker):
    """`Annotated[float, SinceLast("card_id", unit="min", empty=43200)]`: the time since the entity's last one."""

    kind = Kind.SINCE_LAST

    def __init__(self, entity: str | tuple[str, ...], *, unit: str = "s", empty: float) -> None:
        if unit not in UNITS_US:
            raise ValueError(f"SinceLast knows the units {', '.join(UNITS_US)}, not {unit!r}")
        super().__init__(entity, empty=empty, unit_us=UNITS_US[unit])
        self.unit = unit


class Last(ColumnMarker):
    """`Annotated[float, Last("cost", "card_id", empty=0)]`: the number of the entity's last transaction."""

    kind = Kind.LAST

    def __init__(self, field: str, entity: str | tuple[str, ...], *, empty: float) -> None:
        super().__init__(entity, field=field, empty=empty)


class Seen(ColumnMarker):
    """`Annotated[int, Seen("merchant_id", "card_id", "30d")]`: 1 where the entity had this value before, else 0."""

    kind = Kind.SEEN

    def __init__(self, field: str, entity: str | tuple[str, ...], window: str) -> None:
        super().__init__(entity, field=field, window=window)


def column_marker(field: FieldInfo) -> ColumnMarker | None:
    """The marker that makes the field a column of history; None where it is none."""
    return next((each for each in field.metadata if isinstance(each, ColumnMarker)), None)


def marker(field: FieldInfo, kind: type) -> Any:
    """The field's marker of a kind; None where it has none."""
    return next((each for each in field.metadata if isinstance(each, kind)), None)


def markers(field: FieldInfo) -> list[Any]:
    """All of the field's markers of this module."""
    kinds = (EventTime, Entity, Exact, ColumnMarker)
    return [each for each in field.metadata if isinstance(each, kinds) or each is EventTime]
