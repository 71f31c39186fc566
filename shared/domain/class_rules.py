"""The rules for a transaction class, by which each transaction is the same row wherever it is built."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, PlainSerializer, SerializeAsAny, WrapSerializer
from pydantic.fields import FieldInfo

from riskline.shared.domain.columns import NUMBERS, derived_features, is_column, layout
from riskline.shared.domain.features import encoding, says
from riskline.shared.domain.history.declaration_rules import problems_of_declaration
from riskline.shared.domain.history.declared import declared
from riskline.shared.domain.history.markers import EventTime

CLOCK = frozenset({"now", "utcnow", "today"})
"""Names of clock calls, which a class must not make: their answer differs from build to build."""

MAX_COLUMNS, MAX_NAME = 4096, 200
"""The manifest's limits."""

CONFIG = {"strict": True, "frozen": True, "allow_inf_nan": False}
"""Settings that a class must not change: a worker would read another transaction than was sent."""

ATTRIBUTE = "has the name of a method or an attribute of the class: give it another"

ENGINE = "rust-regex"
"""The engine of patterns; of Python's the `$` also stands before a line break, which would pass into an id."""


def problem_of(cls: type[BaseModel], id_field: str) -> str | None:
    """The reason that a class cannot be used; None where it can."""
    return next(_problems(cls, id_field), None)


def _problems(cls: type[BaseModel], id_field: str) -> Iterator[str]:
    for name, wanted in CONFIG.items():
        if cls.model_config.get(name) is not wanted:
            yield f"sets {name} in its model_config, which has to be {wanted}: leave it out there"
    if wrong := _problem_of_id(id_field, cls):
        yield wrong
    serialized = _serialized(cls)
    if serialized is None:
        yield "has a model_serializer: a worker reads what pydantic itself writes, so leave it out"
    for name, field in cls.model_fields.items():
        if wrong := _problem_of_field(name, field, cls, is_id=name == id_field, serialized=serialized or set()):
            yield f"field {name} {wrong}"
    yield from _problems_of_history(cls, id_field)
    yield from _problems_of_file_columns(cls)
    for name in cls.model_computed_fields:
        yield f"{name} is a computed field, which would be sent with the transaction: make it a @feature"
    for name, method in derived_features(cls).items():
        if wrong := _problem_of_feature(method, cls):
            yield f"feature {name} {wrong}"
    yield from _problems_of_columns(layout(cls, id_field).columns, id_field)


def _problems_of_file_columns(cls: type[BaseModel]) -> Iterator[str]:
    for column, name in getattr(cls, "FILE_COLUMNS", {}).items():
        if name not in cls.model_fields:
            yield f"has no field {name}, which FILE_COLUMNS names for the column {column!r}"


def _problems_of_history(cls: type[BaseModel], id_field: str) -> Iterator[str]:
    for name in declared(cls).columns:
        if _is_attribute(name, cls):
            yield f"field {name} {ATTRIBUTE}"
    yield from problems_of_declaration(cls)
    if declared(cls).columns and not layout(cls, id_field, with_history=False).columns:
        yield (
            "has no column but those of history: give it one that is known without, for the decisions while the "
            "history's store is away"
        )


def _problems_of_columns(columns: tuple[str, ...], id_field: str) -> Iterator[str]:
    if not columns:
        yield f"has no field besides {id_field} that is a column"
    if len(columns) > MAX_COLUMNS:
        yield f"has {len(columns)} columns; a model takes up to {MAX_COLUMNS}"
    seen = set()
    for name in columns:
        if name in seen:
            yield f"has two columns of the name {name}"
        seen.add(name)
        if len(name) > MAX_NAME or not name.isprintable():
            yield f"has a column {name[:MAX_NAME]!r}; a name may have {MAX_NAME} characters that can be shown"


def _problem_of_id(id_field: str, cls: type[BaseModel]) -> str | None:
    """The way in which a class accepts ids that URLs, headers and keys cannot carry; None where it does not."""
    if cls.model_config.get("regex_engine", ENGINE) != ENGINE:
        return "sets regex_engine in its model_config, by which an id may end in a line break: leave it out there"
    bases = (base for base in reversed(cls.__mro__) if issubclass(base, BaseModel))
    rule = next(base.model_fields[id_field] for base in bases if id_field in base.model_fields)
    field = cls.model_fields[id_field]
    if (field.annotation, field.metadata, field.is_required()) != (rule.annotation, rule.metadata, rule.is_required()):
        return (
            f"redefines {id_field}, which URLs, headers and keys are made of: leave it out, and refuse what else you "
            "do not take in a model_validator"
        )
    validators = cls.__pydantic_decorators__.field_validators.items()
    for name, each in validators:
        if each.info.mode != "before" and {id_field, "*"} & set(each.info.fields):
            return (
                f"validator {name} comes after the check of {id_field} and could make another of it: have it name the "
                "other fields, or give it mode='before'"
            )
    return None


def _problem_of_field(
    name: str, field: FieldInfo, cls: type[BaseModel], *, is_id: bool, serialized: set[str]
) -> str | None:
    if _is_attribute(name, cls):
        return ATTRIBUTE
    if field.alias or field.validation_alias or field.serialization_alias:
        return "has an alias, by which a worker would not know it: name the field as clients send it"
    if field.exclude or field.exclude_if is not None:
        return "is excluded from the JSON that a worker reads: leave exclude out"
    if any(getattr(each, "allow_inf_nan", None) for each in field.metadata):
        return "allows numbers that JSON does not have: leave allow_inf_nan out"
    if is_id:
        return None
    return _problem_of_column(name, field, serialized) if is_column(field) else _problem_of_encoding(field)


def _is_attribute(name: str, cls: type[BaseModel]) -> bool:
    return any(name in vars(base) for base in cls.__mro__)


def _problem_of_encoding(field: FieldInfo) -> str | None:
    if encoding(field) is None:
        return None
    return f"is {'an EventTime' if says(field, EventTime) else 'InputOnly'} and has an encoding: choose one"


def _problem_of_column(name: str, field: FieldInfo, serialized: set[str]) -> str | None:
    written = any(isinstance(each, PlainSerializer | WrapSerializer | SerializeAsAny) for each in field.metadata)
    if written or serialized & {name, "*"}:
        return "has a serializer: a worker reads what pydantic itself writes, so leave it out"
    if encoding(field) is not None:
        return None if field.annotation is str else "has an encoding, so it must be a str"
    if field.annotation in NUMBERS:
        return None
    return "must be an int, a float or a bool, a str with an encoding (Encoded, OneHot), or InputOnly"


def _serialized(cls: type[BaseModel]) -> set[str] | None:
    """The fields with a serializer of their own; None where the class as a whole has one."""
    decorators = cls.__pydantic_decorators__
    if decorators.model_serializers:
        return None
    return {name for each in decorators.field_serializers.values() for name in each.info.fields}


def _problem_of_feature(method: Callable[[Any], Any], cls: type[BaseModel]) -> str | None:
    if not inspect.isfunction(method):
        return "must be a plain method: leave out what stands above @feature (property, staticmethod and the like)"
    if len(inspect.signature(method).parameters) != 1:
        return "must be a method that takes self and nothing else"
    if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
        return "must return a number; it is a coroutine or a generator"
    own = {name for name in CLOCK if name in cls.model_fields or hasattr(cls, name)}
    asked = sorted(CLOCK.intersection(method.__code__.co_names) - own)
    return f"asks {', '.join(asked)}(), but must follow from the transaction alone" if asked else None
