"""The columns of a transaction class: their names, and how one transaction's fields and methods become them."""

import dataclasses
import math
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from functools import cached_property
from numbers import Real
from operator import attrgetter
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BaseModel, NaiveDatetime, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from riskline.shared.domain.features import MARK, Columns, Encoded, InputOnly, Nominal, OneHot, encoding, says
from riskline.shared.domain.history.declared import all_fields, declared
from riskline.shared.domain.history.limits import Wrong, wrong_for_history
from riskline.shared.domain.history.markers import Entity, EventTime, Seen, column_marker
from riskline.shared.domain.history.uses import using
from riskline.shared.domain.wrong_fields import first_errors

NUMBERS = (int, float, bool)
"""The types of fields that are columns as they are."""

LARGEST_FLOAT = int(sys.float_info.max)
LARGEST_KEPT = 2**63 - 1
"""The largest integer that every JSON reader keeps to the last digit."""

CARRIED = (str, bool, float, datetime, date, time, AwareDatetime, NaiveDatetime, NoneType)
"""The types whose values, once they are validated, have no number in them that JSON does not carry."""

TOO_LARGE, NOT_FINITE = "Input is too large a number", "Input should be a finite number"

COLUMN, CLASS_RAISED = "column", "class_raised"
RAISING = frozenset({COLUMN, CLASS_RAISED})
"""The error types of a class's own code; they never come with errors of other types."""

RAISED = "raised"
"""The key of a validation error's context that has the exception of a team's own code."""


class Layout(NamedTuple):
    """The mapping of a class's fields and methods to columns."""

    columns: tuple[str, ...]
    nominal: frozenset[str]
    derived: dict[str, Callable[[Any], Any]]
    unbounded: tuple[str, ...]
    """The int fields without a bound."""
    integers: Callable[[Any], Columns]
    """Their values."""
    largest: int
    """Their largest allowed absolute value."""
    of_fields: Callable[[Any], Columns]
    """The columns of the fields, without the derived ones."""
    texts: tuple[tuple[int, str], ...]
    """The columns that encode a text: position and field."""
    beside: tuple[str, ...]
    """The fields beside the columns that may contain a number that JSON cannot carry."""
    wrong_for_history: Wrong | None


def layout(cls: type[BaseModel], id_field: str, *, with_history: bool = True) -> Layout:
    """The columns of a class: those of its fields in their order, then the derived ones in theirs.

    Without history these are the columns of the twin: neither those of history nor the derived ones that use them.
    """
    among = all_fields(cls) if with_history else cls.model_fields
    fields = {n: f for n, f in among.items() if n != id_field and is_column(f)}
    encoded = {name: found for name, field in fields.items() if (found := encoding(field)) is not None}
    columns: list[str] = []
    texts: list[tuple[int, str]] = []
    for name in fields:
        if name in encoded and not isinstance(encoded[name], OneHot):
            texts.append((len(columns), name))
        columns += encoded[name].columns(name) if name in encoded else (name,)
    derived = derived_features(cls)
    if not with_history:
        later = using(cls, derived, declared(cls).columns)
        derived = {name: method for name, method in derived.items() if name not in later}
    sent = {name: field for name, field in fields.items() if name in cls.model_fields}
    unbounded = tuple(n for n, field in sent.items() if field.annotation is int and not _is_bounded(field))
    return Layout(
        columns=(*columns, *derived),
        nominal=frozenset(
            [column for name, each in encoded.items() for column in each.columns(name)]
            + [name for name, field in fields.items() if _is_nominal(field)]
            + [name for name, method in derived.items() if _gives_nominal(method)]
        ),
        derived=derived,
        unbounded=unbounded,
        integers=_getter(unbounded, {}),
        largest=LARGEST_KEPT if derived else LARGEST_FLOAT,
        of_fields=_getter(tuple(fields), encoded),
        texts=tuple(texts),
        beside=tuple(n for n, field in cls.model_fields.items() if _may_not_be_carried(field)),
        wrong_for_history=wrong_for_history(cls),
    )


def is_column(field: FieldInfo) -> bool:
    """True where the field is one or several columns; a time and an entity are none, a code of one is."""
    if says(field, InputOnly) or says(field, EventTime):
        return False
    is_code = encoding(field) is not None or (field.annotation is int and says(field, Nominal))
    return is_code or not says(field, Entity)


def derived_features(cls: type) -> dict[str, Callable[[Any], Any]]:
    """The derived features by name, those of a base first; in the order of their definition."""
    found: dict[str, Callable[[Any], Any]] = {}
    for each in reversed(cls.__mro__):
        for name, value in vars(each).items():
            # what pydantic keeps in a class may build the class anew when it is asked for anything
            if not name.startswith("__") and (name in found or MARK in getattr(_beneath(value), "__dict__", ())):
                # what overrides a feature is the feature
                found[name] = value
    return found


def _beneath(value: Any) -> Any:
    """The function under a property or the like, which cannot be a column; found for the error message."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, cached_property):
        return value.func
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _may_not_be_carried(field: FieldInfo) -> bool:
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else [field.annotation]
    # an entity's integers are bounded
    return says(field, InputOnly) and not says(field, Entity) and any(kind not in CARRIED for kind in kinds)


def _getter(names: tuple[str, ...], encoded: Mapping[str, Encoded]) -> Callable[[Any], Columns]:
    if not names:
        return lambda _transaction: ()
    get = attrgetter(*names) if len(names) > 1 else lambda transaction: (getattr(transaction, names[0]),)
    if not encoded:
        return get
    # from the last to the first: a field that becomes several columns moves those behind it
    vectors = [(at, encoded[name].vector) for at, name in reversed(list(enumerate(names))) if name in encoded]

    def encode(transaction: Any) -> Columns:
        values = list(get(transaction))
        for at, vector in vectors:
            values[at : at + 1] = vector(values[at])
        return tuple(values)

    return encode


def _is_bounded(field: FieldInfo) -> bool:
    sides = [{"gt", "ge"}, {"lt", "le"}]
    return all(any(getattr(each, name, None) is not None for each in field.metadata for name in side) for side in sides)


def _is_nominal(field: FieldInfo) -> bool:
    if field.annotation is bool or says(field, Nominal) or isinstance(column_marker(field), Seen):
        return True
    bounds = {name: getattr(each, name) for each in field.metadata for name in ("ge", "le") if hasattr(each, name)}
    return field.annotation is int and bounds == {"ge": 0, "le": 1}


def _gives_nominal(method: Callable[[Any], Any]) -> bool:
    try:
        told = get_type_hints(method, include_extras=True).get("return")
    except NameError:
        # of a type that is imported for the type checker only
        return False
    return told is bool or Nominal in getattr(told, "__metadata__", ())


def needs_computing(cls: type[BaseModel]) -> bool:
    """True where columns must be computed to know that they are numbers and that JSON carries the fields."""
    fields = cls.model_fields.values()
    if declared(cls).columns or any(map(_may_not_be_carried, fields)):
        return True
    # a name that is not known yet may stand for any type
    maybe_int = (field for field in fields if field.annotation is int or not isinstance(field.annotation, type))
    return bool(derived_features(cls)) or any(is_column(field) and not _is_bounded(field) for field in maybe_int)


def computed(transaction: BaseModel, laid: Layout) -> Columns:
    """The columns, each a number that a float can hold.

    Raises:
        pydantic.ValidationError: names the columns that are no numbers, and the numbers that JSON cannot carry.
    """
    problems = [_problem(wrong, *at) for name in laid.beside for wrong, at in _lost(getattr(transaction, name), name)]
    if max(map(abs, laid.integers(transaction)), default=0) > laid.largest:
        numbers = zip(laid.unbounded, laid.integers(transaction), strict=True)
        problems += [_problem(TOO_LARGE, name) for name, n in numbers if abs(n) > laid.largest]
    if laid.wrong_for_history is not None:
        problems += [_problem(wrong, name) for wrong, name in laid.wrong_for_history(transaction)]
    derived = _derive(transaction, laid.derived, problems)
    if problems:
        raise ValidationError.from_exception_data(type(transaction).__name__, problems)
    return (*laid.of_fields(transaction), *derived)


def derive(transaction: BaseModel, methods: Mapping[str, Callable[[Any], Any]]) -> list[float]:
    """The numbers of derived features.

    Raises:
        pydantic.ValidationError: names those that are none.
    """
    problems: list[InitErrorDetails] = []
    derived = _derive(transaction, methods, problems)
    if problems:
        raise ValidationError.from_exception_data(type(transaction).__name__, problems)
    return derived


def _derive(
    transaction: BaseModel, methods: Mapping[str, Callable[[Any], Any]], problems: list[InitErrorDetails]
) -> list[float]:
    """The numbers; what is wrong with them is added to the problems."""
    derived: list[float] = []
    for name, method in methods.items():
        try:
            result = method(transaction)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # a team's own code may raise anything
            problems.append(_problem(f"The derived feature raised {type(error).__name__}", name, raised=error))
            continue
        value, wrong = _number(result)
        derived.append(value)
        if wrong:
            problems.append(_problem(f"The derived feature {wrong}", name))
    return derived


def _number(result: Any) -> tuple[float, str]:
    """The result as a column's number, and the problem with it."""
    # the first test is true of nearly all, and fifty times as fast
    if type(result) not in NUMBERS and not isinstance(result, Real):
        return 0.0, f"is not a number but a {type(result).__name__}"
    try:
        value = float(result)
    except OverflowError:
        return 0.0, "is too large a number"
    if not math.isfinite(value):
        return 0.0, "is not finite"
    return (result if isinstance(result, int) else value), ""


def _lost(value: Any, *at: int | str) -> Iterator[tuple[str, tuple[int | str, ...]]]:
    """The numbers in a value that a JSON reader would change or refuse: the problem, and its place."""
    if isinstance(value, int):
        if abs(value) > LARGEST_KEPT:
            yield TOO_LARGE, at
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield NOT_FINITE, at
    elif not isinstance(value, str | bytes):
        for name, each in _inside(value):
            yield from _lost(each, *at, name if isinstance(name, int) else str(name))


def _inside(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, Collection):
        return enumerate(value)
    if isinstance(value, BaseModel):
        return value
    return (
        [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value)
        else []
    )


def _problem(message: str, *at: int | str, raised: Exception | None = None) -> InitErrorDetails:
    # without the input: what is wrong is not what a client sent in a field of that name
    context = {} if raised is None else {RAISED: raised}
    return {"type": PydanticCustomError(COLUMN, message, context), "loc": at, "input": None}


def raised_by_class(cls: type[BaseModel], error: Exception) -> ValidationError:
    """A validation error for an unexpected exception of a team's own validator."""
    problem = PydanticCustomError(CLASS_RAISED, f"The transaction class raised {type(error).__name__}", {RAISED: error})
    return ValidationError.from_exception_data(cls.__name__, [{"type": problem, "loc": (), "input": None}])


def raised_in(error: ValidationError) -> list[Exception]:
    """The exception of a team's own code that refused a transaction, with its traceback; None where there is none."""
    if first_errors(error)[0]["type"] not in RAISING:
        return []
    details = error.errors(include_url=False, include_input=False)
    return [each["ctx"][RAISED] for each in details if RAISED in each.get("ctx", ())]


def where(raised: BaseException) -> str:
    """The line of code that raised, without the message, which may contain a value of the transaction."""
    frames = traceback.extract_tb(raised.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "a line that is not known"


def raised_at(raised: BaseException) -> str:
    """The exception's type and line for a record; the file's name only, since clients see it."""
    return f"{type(raised).__name__} at {PurePath(where(raised)).name}"
