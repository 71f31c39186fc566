"""The fields of a transaction in the list of decisions: its filters and its columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from riskline.ingest.console.try_one.form_fields import NUMBERS, form_fields_of, written
from riskline.ingest.console.try_one.schema_fields import fields_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import SettingsError

OF_COLUMN = "c."
"""The prefix of a parameter that shows a field: `c.NAME=1`."""

SHOWN_BY_ITSELF = 2
"""Fields that are shown where the team has named none: the first ones of its class."""

FLAG = (("1", "yes"), ("0", "no"))
TRUTH = (("true", "yes"), ("false", "no"))


@dataclass(frozen=True)
class ShownField:
    """A field that can be filtered by, and shown."""

    name: str
    is_number: bool
    choices: tuple[tuple[str, str], ...] = ()
    """The values of a flag or a closed list: each as a filter has it, and in words."""
    is_code: bool = False
    """True where a larger number is not more of something: it is filtered by equality, not by a range."""
    known: tuple[str, ...] = ()
    """Common values of a code."""

    @property
    def has_range(self) -> bool:
        """True where the filter has inputs "from" and "to" for it."""
        return self.is_number and not self.choices and not self.is_code


def shown_fields(transaction_class: type[TransactionModel]) -> list[ShownField]:
    """The fields of a class that a filter can name, but the id, which has one of its own."""
    kinds = fields_of(transaction_class)
    found = []
    for each in form_fields_of(transaction_class):
        choices = tuple((choice, choice) for choice in each.choices)
        if each.kind == "boolean":
            choices = TRUTH
        elif each.is_flag:
            choices = FLAG
        found.append(
            ShownField(
                each.name,
                is_number=kinds[each.name].get("type") in NUMBERS,
                choices=() if each.is_open else choices,
                is_code=each.is_code,
                known=tuple(choice for choice, _ in choices) if each.is_open else (),
            )
        )
    return found


def with_known(fields: Sequence[ShownField], common: Callable[[str], Sequence[float]]) -> list[ShownField]:
    """The same fields; codes with the values that are common among the rows that the model was made with."""
    return [
        ShownField(each.name, each.is_number, is_code=True, known=tuple(map(plain, common(each.name))))
        if each.is_code and not each.choices and not each.known
        else each
        for each in fields
    ]


def columns_of(fields: Sequence[ShownField], named: Sequence[str] | None) -> tuple[str, ...]:
    """The fields that the list shows by default.

    Raises:
        SettingsError: a name is no field's.
    """
    names = [each.name for each in fields]
    if named is None:
        return tuple(names[:SHOWN_BY_ITSELF])
    wrong = [each for each in named if each not in names]
    if wrong:
        raise SettingsError(
            f"RISKLINE_CONSOLE_COLUMNS names {', '.join(wrong)}, which a transaction has not; "
            f"its fields are {', '.join(names)}"
        )
    return tuple(named)


def cells_of(transaction: Mapping[str, Any] | None, columns: Sequence[str]) -> list[str]:
    """The cells of a transaction's row; empty for one that is not kept any more."""
    return [written((transaction or {}).get(name)) for name in columns]


def plain(value: float) -> str:
    """A code as it is typed in."""
    return str(int(value)) if float(value).is_integer() else str(value)
