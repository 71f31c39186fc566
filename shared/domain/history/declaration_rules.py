"""The rules for what a class says of its history; each problem is a sentence that says what to do."""

from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import AwareDatetime, BaseModel, NaiveDatetime
from pydantic.fields import FieldInfo

from riskline.shared.domain.features import InputOnly, Nominal
from riskline.shared.domain.history.declared import all_fields, declared
from riskline.shared.domain.history.derive import OF_NUMBERS, event_time
from riskline.shared.domain.history.markers import (
    MOST_ENTITY_CHARACTERS,
    ColumnMarker,
    Entity,
    EventTime,
    Exact,
    marker,
    markers,
)
from riskline.shared.domain.history.plan import Kind

COUNTED = (str, int, bool)
"""The types of fields whose values are told apart."""

INT_ALWAYS = frozenset({Kind.COUNT, Kind.DISTINCT, Kind.SEEN})
INT_OF_INT = frozenset({Kind.TOTAL, Kind.LARGEST, Kind.SMALLEST, Kind.LAST})
"""The kinds whose columns may be int: always, or where their number is."""

Fields = dict[str, FieldInfo]


def problems_of_declaration(cls: type[BaseModel]) -> Iterator[str]:
    """The reasons that no history can be made of what a class declares."""
    fields = all_fields(cls)
    columns = declared(cls).columns
    for name, field in fields.items():
        if wrong := _problem_of_markers(field, is_column=name in columns):
            yield f"field {name} {wrong}"
    times = [name for name, field in fields.items() if event_time(field) is not None]
    if len(times) > 1:
        yield f"has {len(times)} event times, {' and '.join(times)}: keep one"
    if columns and not times:
        yield (
            f"has {next(iter(columns))}, a column of history, and no event time: mark the field that says when the "
            "transaction took place, Annotated[AwareDatetime, EventTime]"
        )
    for name, field in fields.items():
        if wrong := _problem_of_column(field, fields) if name in columns else _problem_of_field(field):
            yield f"field {name} {wrong}"


def _problem_of_markers(field: FieldInfo, *, is_column: bool) -> str | None:
    bare = next((each for each in field.metadata if isinstance(each, type) and issubclass(each, ColumnMarker)), None)
    if bare is not None:
        return f"has {bare.__name__} without saying of what: write {_example(bare)}"
    said = markers(field)
    if len(said) > 1 and not is_column:
        return f"is marked as {_joined(said)}: choose one"
    kinds = [each for each in said if isinstance(each, ColumnMarker)]
    if len(kinds) > 1:
        return f"is marked as {_joined(kinds)}: make each a column of its own"
    return None


def _problem_of_field(field: FieldInfo) -> str | None:
    time, entity, exact = event_time(field), marker(field, Entity), marker(field, Exact)
    if time is not None:
        return _problem_of_time(field, time)
    if entity is not None:
        return _problem_of_entity(field, entity)
    if exact is not None and field.annotation is not float:
        return f"is {_kind(field)}, and Exact says how many decimal places a float has: leave it out"
    return None


def _problem_of_time(field: FieldInfo, said: EventTime) -> str | None:
    if field.annotation not in (AwareDatetime, NaiveDatetime, datetime):
        return (
            f"is {_kind(field)}, and an event time must be an AwareDatetime, or a datetime with its zone, "
            "such as EventTime('Europe/Paris')"
        )
    if field.annotation is AwareDatetime and said.zone is not None:
        return "has a zone in each time: write EventTime without one, or make it a datetime"
    if field.annotation is not AwareDatetime and said.zone is None:
        return (
            "takes times without a zone: make it an AwareDatetime, or say in which zone they are, such as "
            "EventTime('Europe/Paris')"
        )
    if not field.is_required():
        return "is the event time, which must be sent: leave its default out"
    return None


def _problem_of_entity(field: FieldInfo, said: Entity) -> str | None:
    if field.annotation not in (str, int):
        return f"is {_kind(field)}, and an Entity must be a str or an int"
    for each in said.ignore:
        if type(each) is not field.annotation:
            return f"is {_kind(field)}, and its Entity ignores {each!r}, which it cannot be"
    longest = [found for each in field.metadata if (found := getattr(each, "max_length", None)) is not None]
    if max(longest, default=0) > MOST_ENTITY_CHARACTERS:
        return f"allows {max(longest):,} characters, and an Entity may have {MOST_ENTITY_CHARACTERS:,}"
    default = field.get_default()
    if not field.is_required() and default not in said.ignore:
        return (
            f"may be left out and is then {default!r}, which would be one entity of all that leave it out: give the "
            f"Entity ignore=({default!r},), or leave the default out"
        )
    return None


def _problem_of_column(field: FieldInfo, fields: Fields) -> str | None:
    (said,) = (each for each in markers(field) if isinstance(each, ColumnMarker))
    kind = type(said).__name__
    if not field.is_required():
        return "is computed from history, so that it needs no default: leave it out"
    if field.alias or field.validation_alias or field.serialization_alias:
        return "has an alias: a column of history has one name"
    if more := [each for each in field.metadata if each is not said and each not in (Nominal, InputOnly)]:
        return f"is computed from history by {kind}, so that it cannot have {_joined(more)} as well"
    return (
        _problem_of_its_entity(said, fields)
        or _problem_of_its_field(said, fields)
        or _problem_of_its_type(field, said, fields)
    )


def _problem_of_its_entity(said: ColumnMarker, fields: Fields) -> str | None:
    kind = type(said).__name__
    for name in said.entity:
        if name not in fields:
            return f"is {kind} of {_unknown(name, fields)}"
        if marker(fields[name], Entity) is None:
            return f'is {kind} of {name}, which is no Entity: mark it so, such as Annotated[str, Entity("30d")]'
    keep = min((marker(fields[name], Entity) for name in said.entity), key=lambda entity: entity.keep_us)
    if said.window_us > keep.keep_us:
        name = next(each for each in said.entity if marker(fields[each], Entity) is keep)
        return f'looks back {said.window}, and {name} is kept for {keep.keep}: give it Entity("{said.window}")'
    return None


def _problem_of_its_field(said: ColumnMarker, fields: Fields) -> str | None:
    kind, name = type(said).__name__, said.field
    if name is None:
        return None
    if name not in fields:
        return f"is {kind} of {_unknown(name, fields)}"
    field = fields[name]
    if any(isinstance(each, ColumnMarker) for each in markers(field)):
        return f"is {kind} of {name}, which is computed from history itself: name a field that is sent"
    of_number = said.kind in OF_NUMBERS
    return _problem_of_number(said, name, field) if of_number else _problem_of_text(said, name, field)


def _problem_of_number(said: ColumnMarker, name: str, field: FieldInfo) -> str | None:
    kind = type(said).__name__
    if field.annotation is float and marker(field, Exact) is None:
        return (
            f"is {kind} of {name}, a float: say how many decimal places it has, such as Annotated[float, Exact(2)], "
            "for sums to be exact"
        )
    if field.annotation not in (int, float, bool):
        return f"is {kind} of {name}, which is {_kind(field)} and no number"
    return None


def _problem_of_text(said: ColumnMarker, name: str, field: FieldInfo) -> str | None:
    kind = type(said).__name__
    if name in said.entity:
        return f"is {kind} of {name} for each {name}, which is always the same: name another field"
    if field.annotation not in COUNTED:
        return f"is {kind} of {name}, which is {_kind(field)}: only texts and whole numbers are told apart"
    return None


def _problem_of_its_type(field: FieldInfo, said: ColumnMarker, fields: Fields) -> str | None:
    kind = type(said).__name__
    of_int = said.field is not None and fields[said.field].annotation is not float
    may_be_int = said.kind in INT_ALWAYS or (said.kind in INT_OF_INT and of_int)
    if field.annotation is bool and said.kind is Kind.SEEN:
        return None
    if field.annotation is float or (field.annotation is int and may_be_int):
        is_whole = float(said.empty).is_integer()
        return None if field.annotation is float or is_whole else f"is an int, and its empty is {said.empty!r}"
    wanted = "an int or a float" if may_be_int else "a float"
    return f"is {_kind(field)}, and {kind} makes {wanted} of it"


def _unknown(name: str, fields: Fields) -> str:
    near = get_close_matches(name, fields, n=1)
    return f"{name}, which is no field of the class" + (f" (did you mean {near[0]}?)" if near else "")


def _kind(field: FieldInfo) -> str:
    told = field.annotation
    name = str(told) if get_origin(told) is not None or not isinstance(told, type) else told.__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _joined(said: list[Any]) -> str:
    return " and ".join(sorted({each.__name__ if isinstance(each, type) else type(each).__name__ for each in said}))


def _example(kind: type) -> str:
    """The marker as its docstring shows it."""
    said = str(kind.__doc__)
    return said[said.index(", ") + 2 : said.index("]`")]
