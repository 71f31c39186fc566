"""A transaction, whatever it is in the caller's program, as the JSON that is sent."""

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol, runtime_checkable
from uuid import UUID


@runtime_checkable
class Dumps(Protocol):
    """A pydantic model, or an object like one."""

    def model_dump(self) -> dict[str, Any]:
        """Its fields."""


Transaction = Mapping[str, Any] | Dumps | bytes | Any
"""A mapping, a dataclass, whatever has `model_dump()`, or bytes that are its JSON already."""


def encoded(transaction: Transaction, **beside: Any) -> bytes:
    """One line of JSON, with what is to stand beside the transaction's own fields.

    A Decimal becomes the double that is nearest, as it would from its digits in JSON; dates, times and UUIDs become
    text, members of an Enum their values.

    Raises:
        TypeError: it is no transaction, or a value has no JSON.
        ValueError: a value is NaN or infinite, or a text is not Unicode.
    """
    if isinstance(transaction, bytes):
        if not beside:
            return transaction
        transaction = json.loads(transaction)
    return json.dumps({**_fields(transaction), **beside}, default=_plain, allow_nan=False).encode()


def encoded_line(transaction: Transaction) -> bytes:
    """The same without a line break, which JSON that came as bytes may have.

    Raises:
        TypeError, ValueError: as `encoded`; ValueError for blank bytes, too: the service would not count such a line.
    """
    line = encoded(transaction)
    if not line or line.isspace():
        raise ValueError("it is blank")
    return encoded(json.loads(line)) if b"\n" in line or b"\r" in line else line


def _fields(transaction: Transaction) -> Mapping[str, Any]:
    if isinstance(transaction, Mapping):
        return transaction
    if isinstance(transaction, Dumps):
        return transaction.model_dump()
    if is_dataclass(transaction) and not isinstance(transaction, type):
        return asdict(transaction)
    raise TypeError(
        f"a transaction is a mapping, a dataclass or has model_dump(), and {type(transaction).__name__} is none of them"
    )


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"a {type(value).__name__} has no JSON")
