"""Loading a team's transaction class, and its promise: a transaction, wherever it is built, makes the same row."""

from collections.abc import Iterable, Sequence
from struct import pack
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import PydanticSerializationError, from_json, to_json

from riskline.shared.domain.class_rules import problem_of
from riskline.shared.domain.columns import raised_in
from riskline.shared.domain.features import Columns, first_example
from riskline.shared.domain.former_names import import_with_former_names
from riskline.shared.domain.history.declared import declared
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.transaction import BESIDE, TransactionModel
from riskline.shared.errors import SettingsError


def load_transaction_class(path: str) -> type[TransactionModel]:
    """The transaction class that `package.module:Class` names.

    Raises:
        SettingsError: there is no such class, or it is not a TransactionModel with valid columns, or makes other
            columns of its own examples the second time.
    """
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(import_with_former_names(module_name), class_name)
    except Exception as error:  # a team's own module may raise anything
        raise SettingsError(
            f"RISKLINE_TRANSACTION={path!r} cannot be imported ({_first_line(error)}); "
            "write it as package.module:Class (default riskline:Transaction)"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TransactionModel)):
        raise SettingsError(f"RISKLINE_TRANSACTION={path!r} is not a subclass of riskline.TransactionModel")
    problem = _unfinished(found) or problem_of(found, found.ID_FIELD)
    if BESIDE in found.model_fields:
        problem = f"the name {BESIDE} is taken: it says where a decision is to be sent"
    if problem is not None:
        raise SettingsError(f"RISKLINE_TRANSACTION={path!r}: {problem}")
    example = of_examples(found)
    if example is not None:
        require_pure([example])
    return found


def check_class(transaction_class: type[TransactionModel], examples: Iterable[dict[str, Any]]) -> None:
    """Checks a class and examples of its JSON for what Riskline relies on; for a team's own tests.

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


def require_pure(transactions: Sequence[TransactionModel]) -> None:
    """Rebuilds each transaction from its JSON as a worker does, last to first: every column must keep its bits.

    Raises:
        SettingsError: a column changes; the message names it.
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
        vectors = zip(first.feature_names(), _judged(first, first), _judged(again, first), strict=True)
        for name, before, after in vectors:
            if pack("d", before) != pack("d", after):
                raise SettingsError(
                    f"{type(first).__name__}: the feature {name} depends on something else than the transaction, e.g. "
                    "the clock or a random number: for the same transaction it gave two numbers"
                )


def _judged(transaction: TransactionModel, first: TransactionModel) -> Columns:
    """The columns with the history of the first, which is empty where it lacks one."""
    history = history_of(type(transaction))
    if history is None:
        return transaction.features()
    known = first.history_values()
    values = [known.get(column.name, column.empty) for column in history.columns]
    try:
        return transaction.with_history(values).features()
    except ValidationError as error:
        named = ", ".join(f"{each.name}={value:g}" for each, value in zip(history.columns, values, strict=True))
        raise SettingsError(
            f"{type(transaction).__name__} refuses a transaction {'with this' if known else 'without a'} past "
            f"({named}): {_reasons(error)}"
        ) from error


def of_examples(transaction_class: type[TransactionModel]) -> TransactionModel | None:
    """A transaction of the fields' first examples; None where they do not make a valid one.

    Raises:
        SettingsError: a derived feature uses history, and its code does not show it.
    """
    fields = transaction_class.model_fields.items()
    example = {name: found for name, field in fields if (found := first_example(field)) is not None}
    try:
        return transaction_class.parse(to_json(example))
    except ValidationError as error:
        _require_seen(transaction_class, error)
        return None


def _require_seen(cls: type[TransactionModel], error: ValidationError) -> None:
    for raised in raised_in(error):
        missing = next((name for name in declared(cls).columns if f"'{name}'" in str(raised)), None)
        if missing is not None and isinstance(raised, AttributeError):
            raise SettingsError(
                f"{cls.__name__}: {_reasons(error)}: it uses {missing} before history is known. Only a @feature may "
                f"use it, and must name it in its code: self.{missing}"
            )


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _reasons(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'row'}: {each['msg']}" for each in details)


def _unfinished(cls: type[TransactionModel]) -> str | None:
    """Completes a class that names types defined after it; the error names those that are missing."""
    try:
        cls.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        return f"names the type {error.name}, which its module does not have when it runs: import it there"
    except PydanticUserError as error:
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    said = _line(error)
    return said if isinstance(error, ImportError | AttributeError | ValueError) else f"{type(error).__name__}: {said}"
