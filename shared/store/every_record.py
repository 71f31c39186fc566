"""Reads the records of all transactions, in no order, also while the store is in use."""

from collections.abc import Iterator, Sequence
from typing import Any

from redis import Redis

from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import Keys
from riskline.shared.store.records import Record, id_of, readable
from riskline.shared.store.sharding.shards import all_keys

PAGE = 512
"""Keys that one call looks at, and records that one reads: some hundred kilobytes."""


def every_record(store: Sequence[Redis]) -> Iterator[tuple[str, Record]]:
    """Each transaction's id and record; those that are there all the time are read at least once.

    Raises:
        StoreUnavailableError: Redis fails.
    """
    for redis, keys in zip(store, all_keys(len(store)), strict=True):
        yield from _of_shard(redis, keys)


def _of_shard(redis: Redis, keys: Keys) -> Iterator[tuple[str, Record]]:
    prefix, cursor = keys.transaction_prefix.encode(), 0
    while True:
        with redis_faults_named():
            answer: Any = redis.scan(cursor, match=prefix + b"*", count=PAGE)
            cursor, names = answer
            found: Any = redis.mget(names) if names else []
        for name, kept in zip(names, found, strict=True):
            record = readable(kept)
            if record is not None:
                yield id_of(name[len(prefix) :]), record
        if cursor == 0:
            return
