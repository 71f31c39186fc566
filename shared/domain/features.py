"""The markers of a transaction class: fields that are no column, text encodings, and derived columns."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

MARK = "__riskline_feature__"
"""The attribute by which a derived feature's function is known."""

Derivation = TypeVar("Derivation", bound=Callable[[Any], float])

Columns = tuple[float, ...]


class InputOnly:
    """`Annotated[datetime, InputOnly]`: the field is no column. It may have any type that JSON can carry."""


class Nominal:
    """`Annotated[int, Nominal]`: the number is a code, so that a larger one is not more of something."""


class Encoded:
    """`Annotated[str, Encoded({"pos": 0, "web": 1}, other=2)]`: one column, with each category's number.

    Without `other` a category that is not named is refused.
    """

    def __init__(self, codes: Mapping[str, float], *, other: float | None = None) -> None:
        if not codes:
            raise ValueError("an encoding needs at least one category")
        if wrong := next((each for each in codes if not isinstance(each, str)), None):
            raise ValueError(
                f"an encoding is of texts, and the category {wrong!r} is none: write it as one, or make the field an "
                "int with Nominal"
            )
        for code in (*codes.values(), *(() if other is None else (other,))):
            if not isinstance(code, int | float) or not math.isfinite(code):
                raise ValueError(f"Encoded needs finite numbers, not {code!r}")
        self.categories = tuple(codes)
        self._named = core_schema.literal_schema(list(self.categories))
        self.is_open = other is not None
        self._vectors: dict[str, Columns] = {category: (code,) for category, code in codes.items()}
        self._other: Columns = () if other is None else (other,)

    def columns(self, field: str) -> tuple[str, ...]:
        """The names of the field's columns."""
        return (field,)

    def vector(self, category: str) -> Columns:
        """The numbers of an accepted category."""
        return self._vectors.get(category, self._other)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accepts any text where `other` is set, else the categories only."""
        text = handler(source)
        return text if self.is_open else core_schema.chain_schema([text, self._named])

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Lists the categories, also where others are accepted."""
        if not self.is_open:
            return handler(self._named)
        plain = handler(schema)
        return {"anyOf": [{**plain, "enum": list(self.categories)}, plain]}


class OneHot(Encoded):
    """`Annotated[str, OneHot("pos", "web")]`: a column of 0 or 1 for each category, named as pandas' get_dummies does.

    A category that is not named is refused, or is 0 in every column where `others_as_zeros`.
    """

    def __init__(self, *categories: str, others_as_zeros: bool = False) -> None:
        super().__init__(dict.fromkeys(categories, 1))
        self.is_open = others_as_zeros
        self._vectors = {each: tuple(int(each == other) for other in self.categories) for each in self.categories}
        self._other = (0,) * len(self.categories)

    def columns(self, field: str) -> tuple[str, ...]:
        """The names of the field's columns."""
        return tuple(f"{field}_{category}" for category in self.categories)


def feature(method: Derivation) -> Derivation:
    """Makes a method a column of its name, after the fields: it takes self alone and returns a number.

    The number must follow from the transaction alone; a result of type bool says that its size means nothing.
    """
    if not inspect.isfunction(method):
        raise TypeError("@feature belongs on a plain method, beneath any other decorator")
    setattr(method, MARK, True)
    return method


def encoding(field: FieldInfo) -> Encoded | None:
    """The encoding of the field's text; None where it has none."""
    return next((each for each in field.metadata if isinstance(each, Encoded)), None)


def first_example(field: FieldInfo) -> Any:
    """The field's first example, or its first category; None where it has neither."""
    if field.examples:
        return field.examples[0]
    encoded = encoding(field)
    return None if encoded is None else encoded.categories[0]


def says(field: FieldInfo, marker: type) -> bool:
    """True where the field's annotation has the marker."""
    return any(each is marker or isinstance(each, marker) for each in field.metadata)
