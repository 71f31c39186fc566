"""Whether a transaction class keeps its promise: the same transaction, wherever it is built, is the same row."""

from collections.abc import Iterable, Sequence
from struct import pack
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from riskline.shared.domain.class_rules import problem_of
from riskline.shared.domain.features import first_example
from riskline.shared.errors import SettingsError

if TYPE_CHECKING:
    # which checks a class when it loads it
    from riskline.shared.domain.transaction import TransactionModel


def check_class(transaction_class: "type[TransactionModel]", examples: Iterable[dict[str, Any]]) -> None:
    """Holds a class and examples of its JSON to what Riskline relies on; for a team's own tests.

    Raises:
        SettingsError: the class cannot be used, refuses an example, or makes other columns of it the second time.
    """
    problem = problem_of(transaction_class, transaction_class.ID_FIELD)
    if problem is not None:
        raise SettingsError(f"{transaction_class.__name__}: {problem}")
    built = []
    for number, example in enumerate(examples, start=1):
        try:
            built.append(transaction_class.from_row(example))
        except ValidationError as error:
            raise SettingsError(f"{transaction_class.__name__} refuses example {number}: {_reasons(error)}") from error
    require_pure(built)


def require_pure(transactions: "Sequence[TransactionModel]") -> None:
    """Builds each anew from its JSON as a worker does, from the last to the first: every column must keep its bits.

    Raises:
        SettingsError: one does not; it names the column.
    """
    for first in reversed(transactions):
        try:
            again = type(first).from_row(from_json(first.to_json()))
        except PydanticSerializationError as error:
            raise SettingsError(
                f"{type(first).__name__} takes a transaction, and no JSON can be made of it: {_line(error)}"
            ) from error
        except ValidationError as error:
            raise SettingsError(
                f"{type(first).__name__} takes a transaction once, and refuses the JSON that it makes of it: "
                f"{_reasons(error)}"
            ) from error
        for name, before, after in zip(first.feature_names(), first.features(), again.features(), strict=True):
            if pack("d", before) != pack("d", after):
                raise SettingsError(
                    f"{type(first).__name__}: the feature {name} depends on something else than the transaction, e.g. "
                    "the clock or a random number: for the same transaction it gave two numbers"
                )


def of_examples(transaction_class: "type[TransactionModel]") -> "TransactionModel | None":
    """A transaction of the fields' first examples; None where they do not make a valid one."""
    fields = transaction_class.model_fields.items()
    example = {name: found for name, field in fields if (found := first_example(field)) is not None}
    try:
        return transaction_class.parse(to_json(example))
    except ValidationError:
        return None


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _reasons(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'row'}: {each['msg']}" for each in details)
