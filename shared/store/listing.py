"""Sorted sets of transactions in pages, highest score first; a page may start at an entry that is gone."""

import heapq
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

from redis import Redis

from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.sharding.shards import by_shard, shard_of

_ENTRY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)-(.+)", re.DOTALL)


class Entry(NamedTuple):
    """A transaction in a sorted set; at equal scores the greatest id comes first, as in Redis."""

    score: float
    transaction_id: str

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return f"{self.score:.15g}-{self.transaction_id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The entry of a text; None where the text is not an entry."""
        found = _ENTRY.fullmatch(text)
        return None if found is None else cls(float(found[1]), found[2])


class Listing:
    """A sorted set of one shard; every method raises StoreUnavailableError where Redis fails."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key

    def count(self) -> int:
        """The number of entries; a few of them may have expired since."""
        with redis_faults_named():
            return int(self._redis.zcard(self._key))

    def score(self, transaction_id: str) -> float | None:
        """The score of an entry; None where it is not in the set."""
        with redis_faults_named():
            found: Any = self._redis.zscore(self._key, transaction_id)
        return None if found is None else float(found)

    def remove(self, transaction_ids: Sequence[str]) -> int:
        """Removes entries from the set only; returns how many were there."""
        with redis_faults_named():
            return int(self._redis.zrem(self._key, *transaction_ids)) if transaction_ids else 0

    def rank(self, entry: Entry) -> int:
        """The number of entries down to this one, itself included where it is still there."""
        with redis_faults_named():
            above = int(self._redis.zcount(self._key, f"({entry.score!r}", "+inf"))
            down_to = int(self._redis.zcount(self._key, repr(entry.score), "+inf"))
            # many can have one score: thousands may fail within one second
            return bisect_left(range(down_to), x=True, lo=above, key=lambda rank: self._is_below(rank, entry))

    def _is_below(self, rank: int, entry: Entry) -> bool:
        found: Any = self._redis.zrange(self._key, rank, rank, desc=True)
        return not found or found[0] < entry.transaction_id.encode()

    def back(self, before: Entry | None, limit: int) -> list[Entry]:
        """Up to `limit` entries after one, or from the first; fewer only at the end."""
        start = 0 if before is None else self.rank(before)
        with redis_faults_named():
            found: Any = self._redis.zrange(self._key, start, start + limit - 1, desc=True, withscores=True)
        return [Entry(score, each.decode(errors="replace")) for each, score in found]


class Listings:
    """The listings of all shards, by their number, as one."""

    def __init__(self, parts: Sequence[Listing]) -> None:
        self._parts = parts

    def count(self) -> int:
        """See Listing."""
        return sum(part.count() for part in self._parts)

    def score(self, transaction_id: str) -> float | None:
        """See Listing."""
        return self._parts[shard_of(transaction_id, len(self._parts))].score(transaction_id)

    def remove(self, transaction_ids: Sequence[str]) -> int:
        """See Listing."""
        mine = by_shard(transaction_ids, lambda each: shard_of(each, len(self._parts)))
        return sum(self._parts[number].remove(part) for number, part in mine.items())

    def rank(self, entry: Entry) -> int:
        """See Listing."""
        return sum(part.rank(entry) for part in self._parts)

    def back(self, before: Entry | None, limit: int) -> list[Entry]:
        """See Listing."""
        found = heapq.merge(*(part.back(before, limit) for part in self._parts), reverse=True)
        return list(islice(found, limit))
