"""The columns of history in the form of Try one: each is typed in, or looked up and not added to."""

from collections.abc import Awaitable, Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from riskline.ingest.console.try_one.form_fields import FormField, value_of, written
from riskline.shared.domain.columns import LARGEST_KEPT
from riskline.shared.domain.features import Nominal, says
from riskline.shared.domain.history.declared import declared
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import HistoryColumn, Kind
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import HistoryRequiredError

Look = Callable[[TransactionModel], Awaitable[TransactionModel]]
"""Gives a transaction the history that it would have now, and adds nothing; without history where that is away."""

TYPED, LOOKED_UP, OF_A_FIRST = "typed in", "looked up", "as for a first one"

NEVER_BELOW_0 = frozenset({Kind.COUNT, Kind.DISTINCT, Kind.SPREAD, Kind.SINCE_LAST, Kind.SEEN})

LOOKS = "what the history has now"
"""What a column is that is left empty."""


class KnownColumn(NamedTuple):
    """A column of history: its value as text, and where that is from."""

    name: str
    value: str
    source: str


class Known(NamedTuple):
    """A transaction with what is known of its history, which is nothing where it still lacks it."""

    transaction: TransactionModel
    columns: list[KnownColumn]


def history_inputs_of(transaction_class: type[TransactionModel]) -> list[FormField]:
    """The form's fields for columns of history; none for a class without."""
    history = history_of(transaction_class)
    columns = () if history is None else history.columns
    fields = declared(transaction_class).columns
    return [_input(column, fields[column.name]) for column in columns]


def wrong_numbers(inputs: list[FormField], typed: Mapping[str, str]) -> list[tuple[str, str]]:
    """The columns that what was typed in is no number of, and what they should be."""
    return [
        (each.name, f"Input should be a {'whole ' if each.kind == 'integer' else ''}number")
        for each in inputs
        if not _is_number(each, _typed(each, typed))
    ]


def _is_number(field: FormField, value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= LARGEST_KEPT
    return value is None or (isinstance(value, float) and (field.kind == "number" or value.is_integer()))


def _typed(field: FormField, typed: Mapping[str, str]) -> Any:
    return value_of(field, typed[field.name]) if typed[field.name].strip() else None


async def with_history(
    transaction: TransactionModel, inputs: list[FormField], typed: Mapping[str, str], look: Look | None
) -> Known:
    """The transaction with the columns that were typed in, and the others as they are now.

    Raises:
        pydantic.ValidationError: the class cannot compute its columns with these.
    """
    history = history_of(type(transaction))
    if history is None:
        return Known(transaction, [])
    given = {each.name: value for each in inputs if (value := _typed(each, typed)) is not None}
    found = await _looked_up(transaction, look) if len(given) < len(inputs) else {}
    if not given and not found:
        return Known(transaction, [])
    values = {**dict(zip(history.names, history.empty, strict=True)), **found, **given}
    made = transaction.with_history([values[name] for name in history.names])
    sources = {**dict.fromkeys(found, LOOKED_UP), **dict.fromkeys(given, TYPED)}
    return Known(
        made,
        [KnownColumn(name, written(value), sources.get(name, OF_A_FIRST)) for name, value in _shown(made).items()],
    )


def _shown(transaction: TransactionModel) -> dict[str, float]:
    return {name: round(value, 6) for name, value in transaction.history_values().items()}


async def _looked_up(transaction: TransactionModel, look: Look | None) -> dict[str, float]:
    """The columns that it would have now; none where the history is away."""
    if look is None:
        return {}
    try:
        return (await look(transaction)).history_values()
    except HistoryRequiredError:
        return {}


def _input(column: HistoryColumn, field: FieldInfo) -> FormField:
    is_flag = column.kind is Kind.SEEN
    return FormField(
        name=column.name,
        about=field.description or "",
        kind="integer" if column.whole else "number",
        least=min(0.0, column.empty) if column.kind in NEVER_BELOW_0 else None,
        most=1 if is_flag else None,
        range="",
        choices=(),
        values=(),
        is_open=False,
        is_needed=False,
        may_be_null=False,
        is_code=is_flag or says(field, Nominal),
        step=Fraction(1) if column.whole else None,
        left_out=LOOKS,
        example="",
    )
