"""What something else than Riskline may have written into Redis: records, ids, counts and callbacks of all kinds."""

import random
from collections.abc import Iterator
from typing import Any

import orjson

from tests.integration.stores import NOW
from tests.support.factories import transaction_json

DEEP = b'{"a":' * 400 + b"1" + b"}" * 400
"""JSON that is read, and cannot be written again."""

VALUES: list[Any] = [None, True, 0, -1, 5, 1.5, 2**63, "", "x", "\x00", "ä" * 300, [], [1], {}, {"a": [None]}]
HOSTILE_URLS = ["http://[", "http://[::1", "//", "https://\ud7ff/", "http://a:b:c/", "https://x/\r\n", "a" * 5000]


def a_record(transaction_id: str, **changes: Any) -> dict[str, Any]:
    """A queued record as a door writes it, with changes; of `...` nothing is left."""
    record = {
        "v": 1,
        "status": "queued",
        "submitted_at": NOW,
        "transaction": transaction_json(transaction_id=transaction_id),
        **changes,
    }
    return {name: value for name, value in record.items() if value is not ...}


def records(transaction_id: str) -> Iterator[bytes]:
    """Records that no door has written, under the id of a transaction that waits."""
    yield from (b"", b"{", b"[]", b"5", b"null", b'"queued"', b"\xff\xfe", b"{}", b'{"status":"queued"}', DEEP)
    names = ["status", "submitted_at", "transaction", "callback_url", "default_callback_url", "request_id"]
    names += [
        "traceparent",
        "explain",
        "replays",
        "decision",
        "error",
        "erased_at",
        "history",
        "history_of",
        "history_order",
    ]
    for name in names:
        yield from (orjson.dumps(a_record(transaction_id, **{name: value})) for value in [..., *VALUES])
    for url in HOSTILE_URLS:
        yield orjson.dumps(a_record(transaction_id, callback_url=url))
        yield orjson.dumps(a_record(transaction_id, callback_url=url, submitted_at=...))
    for name in names[2:]:
        yield orjson.dumps(a_record(transaction_id, **{name: "DEEP"})).replace(b'"DEEP"', DEEP)
    # the number and the missing time that stopped a queue, and what would decide another transaction
    yield orjson.dumps(a_record(transaction_id, callback_url=5, submitted_at=...))
    yield orjson.dumps(a_record(transaction_id, transaction=transaction_json(transaction_id="good-0")))
    for name, value in transaction_json().items():
        yield orjson.dumps(a_record(transaction_id, transaction=transaction_json(**{name: [value]})))


def mangled(chance: random.Random, record: bytes) -> bytes:
    """The record with some of its bytes changed, left out or doubled."""
    changed = bytearray(record)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed))
        change = chance.randrange(3)
        if change == 0:
            changed[at] = chance.randrange(256)
        elif change == 1:
            del changed[at : at + chance.randint(1, 8)]
        else:
            changed[at:at] = changed[at : at + chance.randint(1, 20)]
        if not changed:
            break
    return bytes(changed)
