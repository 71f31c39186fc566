"""A value by which an entity is named from outside, as a transaction would have it."""

from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from riskline.shared.domain.history.markers import Entity, marker
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.transaction import TransactionModel


def entity_fields(transaction_class: type[TransactionModel]) -> tuple[str, ...]:
    """The fields that the class declares as entities, in its order."""
    return tuple(name for name, field in transaction_class.model_fields.items() if marker(field, Entity) is not None)


def entity_named(
    transaction_class: type[TransactionModel], observing: Observing, field: str, given: object
) -> str | None:
    """The keyed hash of the value; None where the field cannot have it. A number may also be given as text."""
    info = transaction_class.model_fields[field]
    adapter: TypeAdapter[str | int] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]  # made here
    try:
        value = adapter.validate_python(given)
    except ValidationError:
        return None
    return observing.entity([value])
