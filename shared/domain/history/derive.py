"""Derives the plan of a class's history from what the class declares."""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from riskline.shared.domain.history.declared import declared
from riskline.shared.domain.history.markers import ColumnMarker, Entity, EventTime, Exact, column_marker, marker
from riskline.shared.domain.history.plan import EntityPlan, History, HistoryColumn, Kind, Number

STATE_FORMAT = 1
"""Of the packed state: another one makes other fingerprints, so that no old state is read as a new one."""

OF_NUMBERS = frozenset({Kind.TOTAL, Kind.MEAN, Kind.LARGEST, Kind.SMALLEST, Kind.SPREAD, Kind.LAST})


class _Wanted(NamedTuple):
    """A column as it is declared, with the entity that has its events."""

    name: str
    said: ColumnMarker
    entity: tuple[str, ...]
    whole: bool


@cache
def history_of(cls: type[BaseModel]) -> History | None:
    """The plan of a class's history; None where it has no column of history.

    The class must be one that `class_rules` has no objection to.
    """
    fields = cls.model_fields
    wanted = _wanted(cls)
    if not wanted:
        return None
    order = list(dict.fromkeys(each.entity for each in wanted))
    entities = tuple(_entity_plan(entity, wanted, fields) for entity in order)
    columns: list[HistoryColumn] = [entities[0].columns[0]] * len(wanted)
    for entity in entities:
        for place, column in zip(entity.places, entity.columns, strict=True):
            columns[place] = column
    time_field, said = next((name, found) for name, field in fields.items() if (found := event_time(field)) is not None)
    return History(
        time_field=time_field,
        zone=said.zone,
        columns=tuple(columns),
        entities=entities,
        fingerprint=_digest(time_field, said.zone, [_said(each) for each in columns], [_kept_of(e) for e in entities]),
    )


def event_time(field: FieldInfo) -> EventTime | None:
    """The field's `EventTime`, which may stand there as a class; None where it is none."""
    for each in field.metadata:
        if isinstance(each, EventTime):
            return each
        if each is EventTime:
            return EventTime()
    return None


def entity_of(said: ColumnMarker, order: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields under which a column's events are kept, in the order of the class."""
    names = {*said.entity, said.field} if said.kind is Kind.SEEN else {*said.entity}
    return tuple(name for name in order if name in names)


def _wanted(cls: type[BaseModel]) -> list[_Wanted]:
    said = [(name, field, column_marker(field)) for name, field in declared(cls).columns.items()]
    return [
        _Wanted(name, found, entity_of(found, cls.model_fields), field.annotation is not float)
        for name, field, found in said
        if found is not None
    ]


def _entity_plan(entity: tuple[str, ...], wanted: list[_Wanted], fields: Mapping[str, FieldInfo]) -> EntityPlan:
    mine = [(place, each) for place, each in enumerate(wanted) if each.entity == entity]
    numbers = sorted({str(each.said.field) for _, each in mine if each.said.kind in OF_NUMBERS})
    texts = sorted({str(each.said.field) for _, each in mine if each.said.kind is Kind.DISTINCT})
    # in an order of their own, so that other names or another order of the class's columns keep what was kept
    columns = sorted(((_column(each, numbers, texts), place) for place, each in mine), key=lambda each: _kept(each[0]))
    keeps = [found.keep_us for name in entity if (found := marker(fields[name], Entity)) is not None]
    plan_numbers = tuple(Number(name, _places(fields[name])) for name in numbers)
    return EntityPlan(
        fields=entity,
        keep_us=min(keeps),
        ignored=tuple(_ignored(fields[name]) for name in entity),
        numbers=plan_numbers,
        texts=tuple(texts),
        texts_ignored=tuple(_ignored(fields[name]) for name in texts),
        columns=tuple(column for column, _ in columns),
        places=tuple(place for _, place in columns),
        fingerprint=_digest(
            STATE_FORMAT,
            entity,
            min(keeps),
            [tuple(number) for number in plan_numbers],
            texts,
            sorted({_kept(column) for column, _ in columns}),
        ),
    )


def _column(each: _Wanted, numbers: list[str], texts: list[str]) -> HistoryColumn:
    said = each.said
    return HistoryColumn(
        name=each.name,
        kind=said.kind,
        window_us=said.window_us,
        number=numbers.index(str(said.field)) if said.kind in OF_NUMBERS else -1,
        text=texts.index(str(said.field)) if said.kind is Kind.DISTINCT else -1,
        up_to=said.up_to,
        unit_us=said.unit_us,
        empty=float(said.empty),
        whole=each.whole,
    )


def _kept(column: HistoryColumn) -> tuple[int, ...]:
    """All of a column that the kept bytes may depend on."""
    return (int(column.kind), column.window_us, column.number, column.text, column.up_to)


def _said(column: HistoryColumn) -> tuple[Any, ...]:
    """All of a column that its values depend on, but what its entity has."""
    return (column.name, *_kept(column), column.unit_us, column.empty, column.whole)


def _kept_of(entity: EntityPlan) -> tuple[Any, ...]:
    return (entity.fingerprint, entity.ignored, entity.texts_ignored, entity.places)


def _ignored(field: FieldInfo) -> tuple[str | int, ...]:
    found: Entity | None = marker(field, Entity)
    return () if found is None else found.ignore


def _places(field: FieldInfo) -> int:
    found: Exact | None = marker(field, Exact)
    return 0 if found is None else found.places


def _digest(*parts: Any) -> str:
    """The fingerprint of plain values: what is printed of a class of our own may change with a release."""
    return blake2b(repr(parts).encode(), digest_size=4).hexdigest()
