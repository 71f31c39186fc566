"""The columns of history that a class declares, kept apart from the fields that a client sends."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from riskline.shared.domain.history.markers import column_marker
from riskline.shared.domain.wrong_fields import MOST_LISTED, first_errors

DECLARED = "__riskline_declared__"
"""The attribute of a class that has what it declares."""

COMPUTED = "computed_from_history"
"""The type of the error for a column of history that was sent."""


class Declared(NamedTuple):
    """What a class with history declares."""

    order: tuple[str, ...]
    """All names, of fields and of columns of history, in the order of the class."""
    columns: Mapping[str, FieldInfo]
    """The columns of history."""


NOTHING = Declared((), {})


def take_columns(cls: type[BaseModel]) -> None:
    """Takes the columns of history out of a class's fields, before pydantic makes its schema of them."""
    fields = cls.__pydantic_fields__
    taken = {name: field for name, field in fields.items() if column_marker(field) is not None}
    if not taken:
        if DECLARED not in vars(cls) and declared(cls).columns:
            # its fields stand for all columns of its base
            setattr(cls, DECLARED, NOTHING)
        return
    of_bases, own = declared(cls).columns, vars(cls).get("__annotations__", {})
    # pydantic makes a base's columns anew for a subclass, of their annotations alone
    columns = {name: field if name in own else of_bases.get(name, field) for name, field in taken.items()}
    setattr(cls, DECLARED, Declared(tuple(fields), columns))
    for name in taken:
        del fields[name]


def declared(cls: type) -> Declared:
    """What the class declares; nothing where it has no columns of history."""
    found: Declared = getattr(cls, DECLARED, NOTHING)
    return found


def all_fields(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields and the columns of history, in the order of the class."""
    order, columns = declared(cls)
    if not columns:
        return cls.model_fields
    return {name: columns[name] if name in columns else cls.model_fields[name] for name in order}


def naming_columns(refused: ValidationError, columns: Mapping[str, Any]) -> ValidationError:
    """The error, with a sentence for each column of history that was sent."""
    if not columns or refused.error_count() > MOST_LISTED:
        return refused
    errors = first_errors(refused)
    if not any(_is_sent(each, columns) for each in errors):
        return refused
    return ValidationError.from_exception_data(
        refused.title,
        [
            {
                "type": PydanticCustomError(COMPUTED, "Computed from history: leave it out")
                if _is_sent(each, columns)
                else PydanticCustomError(each["type"], each["msg"]),
                "loc": tuple(each["loc"]),
                "input": None,
            }
            for each in errors
        ],
    )


def _is_sent(error: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
    return error["type"] == "extra_forbidden" and error["loc"][0] in columns
