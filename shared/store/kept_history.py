"""What a transaction's record says of its history: the values of the columns, or that they were away.

    "history": {"purchases_1h": 3, "mean_30d": 41.27}, "history_of": "5f0c9a1e", "history_order": [12, null]
    "history": "away", "history_of": "5f0c9a1e"

`history_of` is the fingerprint of the class's history: values of other columns are not used. `history_order` says for
each entity which of its events the transaction was: by it the values can be computed anew. Records of a class without
history have none of them.
"""

import math
from collections.abc import Mapping
from itertools import compress
from typing import Any

import orjson

from riskline.shared.domain.decision import AWAY
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel

NUMBERS, INTEGERS = frozenset({int, float}), frozenset({int})
"""The types of a column's value, and of a whole one; no others, as True is an int, too."""


def history_members(transaction: TransactionModel) -> bytes:
    """The members of a transaction's record that say its history, to stand behind another one."""
    history = history_of(type(transaction))
    if history is None:
        return b""
    if transaction.lacks_history:
        return _members({"history": AWAY, "history_of": history.fingerprint})
    values = transaction.history_values()
    said: dict[str, Any] = {"history": values, "history_of": history.fingerprint}
    if transaction.history_order:
        said["history_order"] = transaction.history_order
    try:
        return _members(said)
    except orjson.JSONEncodeError:
        # whole numbers beyond 64 bits; they were made of floats, which are as exact
        return _members({**said, "history": {name: float(value) for name, value in values.items()}})


def _members(said: Mapping[str, Any]) -> bytes:
    return b"," + orjson.dumps(said)[1:-1]


def history_in(record: Mapping[str, Any], history: History) -> tuple[float, ...] | None:
    """The values of a record in the order of the columns; None where they were away, are of others, or malformed."""
    values = record.get("history")
    if not isinstance(values, dict) or record.get("history_of") != history.fingerprint:
        return None
    found: tuple[Any, ...] = tuple(map(values.get, history.names))
    # in C throughout: a worker does this for each transaction
    if not NUMBERS.issuperset(map(type, found)) or not all(map(math.isfinite, found)):
        return None
    whole = compress(found, history.whole)
    # as they are written, but for one beyond 64 bits
    if INTEGERS.issuperset(map(type, whole)):
        return found
    return found if all(float(value).is_integer() for value in compress(found, history.whole)) else None


def order_in(record: Mapping[str, Any], history: History) -> tuple[int | None, ...] | None:
    """By entity, which of its events a record's transaction was; None where the record does not say it."""
    order = record.get("history_order")
    if not isinstance(order, list) or len(order) != len(history.entities):
        return None
    return tuple(order) if all(each is None or (type(each) is int and each > 0) for each in order) else None
