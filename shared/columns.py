"""The columns of a transaction class: their names, and how one transaction's fields and methods become them."""

import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from numbers import Real
from operator import attrgetter
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.features import MARK, Columns, Encoded, InputOnly, Nominal, OneHot, encoding, says

NUMBERS = (int, float, bool)
"""The types of fields that are columns as they are."""

LARGEST_FLOAT = int(sys.float_info.max)
LARGEST_KEPT = 2**63 - 1
"""Of the integers that every JSON reader keeps to the last digit, of which a derived feature may make something."""

CLOCK = frozenset({"now", "utcnow", "today"})
"""What the day of a model's training is asked by, which is the same day however often a transaction is built."""

RAISED = "raised"
"""Where the context of a validation error has what a team's own code raised."""


class Layout(NamedTuple):
    """How a class's fields and methods become columns."""

    columns: tuple[str, ...]
    nominal: frozenset[str]
    derived: dict[str, Callable[[Any], Any]]
    unbounded: tuple[str, ...]
    """The int fields that may be too large."""
    integers: Callable[[Any], Columns]
    """Their values."""
    largest: int
    """The largest that they may be, whatever the sign."""
    of_fields: Callable[[Any], Columns]
    """The columns of the fields, without the derived ones."""
    texts: tuple[tuple[int, str], ...]
    """The columns that stand for a text: where, and of which field."""


def layout(cls: type[BaseModel], id_field: str) -> Layout:
    """The columns of a class: those of its fields in their order, then the derived ones in theirs."""
    fields = {n: f for n, f in cls.model_fields.items() if n != id_field and not says(f, InputOnly)}
    encoded = {name: found for name, field in fields.items() if (found := encoding(field)) is not None}
    columns: list[str] = []
    texts: list[tuple[int, str]] = []
    for name in fields:
        if name in encoded and not isinstance(encoded[name], OneHot):
            texts.append((len(columns), name))
        columns += encoded[name].columns(name) if name in encoded else (name,)
    derived = _derived(cls)
    # a derived feature may be made of a field that is no column
    integers = cls.model_fields if derived else fields
    unbounded = tuple(n for n, field in integers.items() if field.annotation is int and not _is_bounded(field))
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
    )


def _derived(cls: type) -> dict[str, Callable[[Any], Any]]:
    """The derived features by name, those of a base first; in the order of their definition."""
    found: dict[str, Callable[[Any], Any]] = {}
    for each in reversed(cls.__mro__):
        for name, value in vars(each).items():
            if getattr(value, MARK, False):
                found[name] = value
            elif name in found:
                # what overrides a feature is the feature
                found[name] = value
    return found


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
    if field.annotation is bool or says(field, Nominal):
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
    """Whether columns of the class may turn out to be none, which only computing them shows."""
    fields = cls.model_fields.values()
    # a name that is not known yet may stand for any type
    maybe_int = (field for field in fields if field.annotation is int or not isinstance(field.annotation, type))
    return bool(_derived(cls)) or any(not says(field, InputOnly) and not _is_bounded(field) for field in maybe_int)


def computed(transaction: BaseModel, laid: Layout) -> Columns:
    """The columns, each a number that a float can be.

    Raises:
        pydantic.ValidationError: it names the columns that are none.
    """
    problems: list[InitErrorDetails] = []
    if max(map(abs, laid.integers(transaction)), default=0) > laid.largest:
        numbers = zip(laid.unbounded, laid.integers(transaction), strict=True)
        problems += [_problem(name, "Input is too large a number") for name, n in numbers if abs(n) > laid.largest]
    derived: list[float] = []
    for name, method in laid.derived.items():
        try:
            result = method(transaction)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # a team's own code may raise anything
            problems.append(_problem(name, f"The derived feature raised {type(error).__name__}", error))
            continue
        value, wrong = _number(result)
        derived.append(value)
        if wrong:
            problems.append(_problem(name, f"The derived feature {wrong}"))
    if problems:
        raise ValidationError.from_exception_data(type(transaction).__name__, problems)
    return (*laid.of_fields(transaction), *derived)


def _number(result: Any) -> tuple[float, str]:
    """The result as a column has it, and what is wrong with it."""
    # the first is true of nearly all, and fifty times as fast
    if type(result) not in NUMBERS and not isinstance(result, Real):
        return 0.0, f"is not a number but a {type(result).__name__}"
    try:
        value = float(result)
    except OverflowError:
        return 0.0, "is too large a number"
    if not math.isfinite(value):
        return 0.0, "is not finite"
    return (result if isinstance(result, int) else value), ""


def _problem(column: str, message: str, raised: Exception | None = None) -> InitErrorDetails:
    # without the input: what is wrong is not what a client sent in a field of that name
    context = {} if raised is None else {RAISED: raised}
    return {"type": PydanticCustomError("column", message, context), "loc": (column,), "input": None}


def raised_by_class(cls: type[BaseModel], error: Exception) -> ValidationError:
    """What a team's own validator raised, though it is no verdict on the transaction, as one."""
    problem = PydanticCustomError(
        "class_raised", f"The transaction class raised {type(error).__name__}", {RAISED: error}
    )
    return ValidationError.from_exception_data(cls.__name__, [{"type": problem, "loc": (), "input": None}])


def raised_in(error: ValidationError) -> list[Exception]:
    """What a team's own code raised, with its traceback, where that is why a transaction was refused."""
    details = error.errors(include_url=False, include_input=False)
    return [each["ctx"][RAISED] for each in details if RAISED in each.get("ctx", ())]


def where(raised: Exception) -> str:
    """The line of code that raised, without what it said: that may name a value of the transaction."""
    frame = traceback.extract_tb(raised.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def problem_of(cls: type[BaseModel], id_field: str) -> str | None:
    """Why a class cannot be used for its columns; None where it can."""
    for name, field in cls.model_fields.items():
        if name != id_field and (wrong := _problem_of_field(field)):
            return f"field {name} {wrong}"
    if cls.model_computed_fields:
        name = next(iter(cls.model_computed_fields))
        return f"{name} is a computed field, which would be sent with the transaction: make it a @feature"
    for name, method in _derived(cls).items():
        if wrong := _problem_of_feature(method, cls):
            return f"feature {name} {wrong}"
    columns = layout(cls, id_field).columns
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        return f"has two columns of the name {twice}"
    return None if columns else f"has no field besides {id_field} that is a column"


def _problem_of_field(field: FieldInfo) -> str | None:
    encoded = encoding(field)
    if says(field, InputOnly):
        return "is InputOnly and has an encoding: choose one" if encoded else None
    if encoded is not None:
        return None if field.annotation is str else "has an encoding, so it must be a str"
    if field.annotation in NUMBERS:
        return None
    return "must be an int, a float or a bool, a str with an encoding (Encoded, OneHot), or InputOnly"


def _problem_of_feature(method: Callable[[Any], Any], cls: type[BaseModel]) -> str | None:
    if not inspect.isfunction(method) or len(inspect.signature(method).parameters) != 1:
        return "must be a method that takes self and nothing else"
    if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
        return "must return a number; it is a coroutine or a generator"
    asked = sorted(CLOCK.intersection(method.__code__.co_names) - cls.model_fields.keys())
    return f"asks {', '.join(asked)}(), but must follow from the transaction alone" if asked else None
