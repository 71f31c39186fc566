"""Put on a process's path by a test: makes it one of a next release, in which a record keeps its transaction otherwise.

There `v` is 2 and `transaction` is `{"fields": {…}}`. As a release should, it reads records of the one before, too.
"""

from typing import Any

import orjson

from riskline.shared.store import records

NEW = 2


def wrapped(record: Any) -> Any:
    """A record as the next release keeps it."""
    transaction = record.get("transaction") if isinstance(record, dict) else None
    if not isinstance(transaction, dict) or transaction.keys() == {"fields"}:
        return record
    return {**record, "v": NEW, "transaction": {"fields": transaction}}


def rewritten(raw: bytes) -> bytes:
    return orjson.dumps(wrapped(orjson.loads(raw)))


_decoded, _readable, _at_once = records.decoded, records.readable, records.decided_at_once


class Queueing(records.Queueing):
    def submission(self, *args: Any, **kwargs: Any) -> records.Submission:
        made = super().submission(*args, **kwargs)
        return made._replace(record=rewritten(made.record))


def decided_at_once(*args: Any, **kwargs: Any) -> records.Outcome:
    made = _at_once(*args, **kwargs)
    return made._replace(record=rewritten(made.record))


records.RECORD_VERSION = NEW
records.Queueing = Queueing
records.decided_at_once = decided_at_once
records.decoded = lambda raw: wrapped(_decoded(raw))
records.readable = lambda raw: wrapped(_readable(raw))

# imported only now, so that it takes the above
from riskline.shared.domain.transaction import TransactionModel  # noqa: E402

_from_row = TransactionModel.from_row.__func__


def from_row(cls: Any, row: Any) -> Any:
    return _from_row(cls, row["fields"] if row.keys() == {"fields"} else row)


TransactionModel.from_row = classmethod(from_row)
