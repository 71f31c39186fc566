"""The words for a column of history in a reason: what it counts, of which entity and in which time."""

from collections.abc import Callable, Mapping
from functools import cache, partial

from pydantic import BaseModel

from riskline.shared.domain.history.declared import declared
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.markers import ColumnMarker, column_marker, number_and_unit
from riskline.shared.domain.history.plan import EntityPlan, HistoryColumn, Kind

Phrase = Callable[[float], str]
"""From a column's value to the words for it; `{}` stands for the number."""

UNITS = {"s": "second", "min": "minute", "h": "hour", "d": "day"}

WORDS: dict[Kind, str] = {
    Kind.COUNT: "{} transactions {of} {within}",
    Kind.TOTAL: "total {field} {} {of} {within}",
    Kind.MEAN: "mean {field} {} {of} {within}",
    Kind.LARGEST: "largest {field} {} {of} {within}",
    Kind.SMALLEST: "smallest {field} {} {of} {within}",
    Kind.SPREAD: "standard deviation {} of {field} {of} {within}",
    Kind.DISTINCT: "{} different {field} {of} {within}",
    Kind.SINCE_LAST: "{} {unit}s since the last transaction {of}",
    Kind.LAST: "last {field} {} {of}",
    Kind.SEEN: "known {field} {of} {within}",
}

ONE: dict[Kind, str] = {
    Kind.COUNT: "{} transaction {of} {within}",
    Kind.DISTINCT: "{} {field} {of} {within}",
    Kind.SINCE_LAST: "{} {unit} since the last transaction {of}",
}
"""Where the number is 1."""

NONE: dict[Kind, str] = {Kind.SEEN: "no known {field} {of} {within}"}
"""Where the number is 0."""

BY_NUMBER: dict[float, dict[Kind, str]] = {0: NONE, 1: ONE}

NO_LAST = "no earlier transaction {of}"


@cache
def phrases(cls: type[BaseModel]) -> Mapping[str, Phrase]:
    """The words for each column of history of a class."""
    history = history_of(cls)
    said = {name: column_marker(field) for name, field in declared(cls).columns.items()}
    return {
        column.name: partial(_phrase, marker, _unmeasured(column, entity))
        for entity in (() if history is None else history.entities)
        for column in entity.columns
        if (marker := said[column.name]) is not None
    }


def _unmeasured(column: HistoryColumn, entity: EntityPlan) -> float | None:
    """The value that says that there was no transaction before, where no time since one is as long."""
    is_no_time = column.empty < 0 or column.empty * column.unit_us >= entity.keep_us
    return column.empty if column.kind is Kind.SINCE_LAST and is_no_time else None


def _phrase(said: ColumnMarker, unmeasured: float | None, value: float) -> str:
    template = BY_NUMBER.get(value, WORDS).get(said.kind, WORDS[said.kind])
    words = {
        "{field}": str(said.field),
        "{of}": f"of the same {' and '.join(said.entity)}",
        "{within}": "" if said.window is None else _within(said.window),
        "{unit}": UNITS.get(said.unit, ""),
    }
    template = NO_LAST if value == unmeasured else template
    for name, word in words.items():
        template = template.replace(name, word)
    return template


def _within(window: str) -> str:
    number, unit = number_and_unit(window)
    return f"in the last {UNITS[unit]}" if number == 1 else f"in the last {number} {UNITS[unit]}s"
