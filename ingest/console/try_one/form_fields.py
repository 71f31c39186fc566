"""The fields of the form for a transaction, and the JSON values of what is typed in."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_json

from riskline.ingest.console.try_one.schema_fields import fields_of
from riskline.shared.domain.class_check import of_examples
from riskline.shared.domain.features import Nominal, first_example, says
from riskline.shared.domain.history.markers import Entity, Exact, marker
from riskline.shared.domain.transaction import TransactionModel

LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}

NUMBERS = ("number", "integer")


class FormField(NamedTuple):
    """A field of the form, by the class's JSON Schema."""

    name: str
    about: str
    kind: str
    """`number`, `integer`, `boolean`, `text`, or `json` for what has parts."""
    least: float | None
    most: float | None
    range: str
    """The same in words; empty where there is neither."""
    choices: tuple[str, ...]
    """The choices in words."""
    values: tuple[Any, ...]
    """The JSON value of each choice."""
    is_open: bool
    """True where other values are valid, too."""
    is_needed: bool
    may_be_null: bool
    is_code: bool
    """True where a larger number is not more of something."""
    step: Fraction | None
    """The unit of which its numbers are multiples, where the class has one."""
    left_out: str
    """The default; empty where there is none, or it is not known."""
    example: str
    is_name: bool = False
    """True where it names an entity, of which another one has another history."""

    @property
    def is_flag(self) -> bool:
        """True where it is an integer that can only be 0 or 1."""
        return self.kind == "integer" and not self.choices and (self.least, self.most) == (0, 1)

    @property
    def is_quantity(self) -> bool:
        """True where a larger number is more of something."""
        return self.kind in NUMBERS and not self.choices and not self.is_code


def form_fields_of(transaction_class: type[TransactionModel]) -> list[FormField]:
    """The fields that are typed in: all but the id."""
    whole = of_examples(transaction_class)
    examples = {} if whole is None else from_json(whole.to_json())
    nominal = transaction_class.nominal_features()
    found = []
    for name, about in fields_of(transaction_class).items():
        field = transaction_class.model_fields[name]
        first = first_example(field)
        # a field without an example stays empty: its default holds
        example = None if first is None else examples.get(name, first)
        found.append(_input(name, about, field, example, is_code=name in nominal or says(field, Nominal)))
    return found


def row_of(inputs: list[FormField], typed: Mapping[str, str]) -> dict[str, Any]:
    """The typed values as JSON values. The class validates them."""
    row = {each.name: value_of(each, typed[each.name]) for each in inputs if typed[each.name].strip()}
    # which is the only way to leave it out
    nothing = {each.name: None for each in inputs if each.is_needed and each.may_be_null and each.name not in row}
    return row | nothing


def value_of(field: FormField, typed: str) -> Any:
    """One value, from a person or as another page wrote it."""
    text = typed.strip()
    if field.kind == "boolean":
        text = text.lower()
    if text in field.choices:
        return field.values[field.choices.index(text)]
    if field.may_be_null and field.kind != "text" and text in ("null", "None"):
        return None
    if field.kind in NUMBERS:
        return _number(text, typed)
    if field.kind == "json":
        try:
            return from_json(text)
        except ValueError:
            return typed
    return typed


def written(value: Any) -> str:
    """A JSON value as it is typed in."""
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value).decode()


def _input(name: str, about: dict[str, Any], field: FieldInfo, example: Any, *, is_code: bool) -> FormField:
    kinds = about.get("anyOf", ())
    values = tuple(about.get("enum", (about["const"],) if "const" in about else ()))
    kind = about.get("type", "text" if values else "json")
    if kind == "boolean":
        values = (True, False)
    return FormField(
        name=name,
        about=about.get("description", ""),
        kind={"string": "text", "array": "json", "object": "json"}.get(kind, kind),
        least=about.get("minimum", about.get("exclusiveMinimum")),
        most=about.get("maximum", about.get("exclusiveMaximum")),
        range=", ".join(f"{words} {about[limit]}" for limit, words in LIMITS.items() if limit in about),
        choices=tuple(map(written, values)),
        values=values,
        is_open="enum" in about and any(each.get("type") == "string" and "enum" not in each for each in kinds),
        is_needed=field.is_required(),
        may_be_null=any(each.get("type") == "null" for each in kinds),
        is_code=is_code,
        step=_step(about, field),
        left_out=written(about.get("default")),
        example=written(example),
        is_name=says(field, Entity),
    )


def _step(about: Mapping[str, Any], field: FieldInfo) -> Fraction | None:
    if "multipleOf" in about:
        return Fraction(str(about["multipleOf"]))
    exact: Exact | None = marker(field, Exact)
    if exact is not None:
        return Fraction(1, 10**exact.places)
    places = [found for each in field.metadata if (found := getattr(each, "decimal_places", None)) is not None]
    return Fraction(1, 10 ** places[0]) if places else None


def _number(text: str, typed: str) -> Any:
    try:
        if text.lstrip("+-").isdecimal():
            return int(text)
        # JSON has no others
        return value if math.isfinite(value := float(text)) else typed
    except ValueError:
        return typed
