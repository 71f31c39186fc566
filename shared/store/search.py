"""Search in the stored decisions, newest first and page by page, with their transactions."""

import asyncio
import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from redis.asyncio import Redis

from riskline.shared.domain.decision import decision_in
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.feed import FIELD, Cursor, as_received
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.records import Record, readable
from riskline.shared.store.sharding.sharded_store import spread
from riskline.shared.store.sharding.shards import all_keys, shard_of

NEWEST = Cursor(2**64 - 1, 2**64 - 1)
"""After the newest entry."""


class FoundDecision(NamedTuple):
    """A decision of the feed, as clients saw it, and its position."""

    place: Cursor
    decision: dict[str, Any]


class SearchPage(NamedTuple):
    """Decisions, newest first, and the position of the next page; None at the feed's beginning."""

    found: Sequence[FoundDecision]
    before: Cursor | None


class DecisionSearch(Protocol):
    """The searchable feed; every method raises StoreUnavailableError where Redis fails."""

    async def oldest_ms(self) -> int | None:
        """The time of the oldest stored decision, in ms since 1970; None where there is none."""

    async def back(self, before: Cursor, *, not_before_ms: int, limit: int) -> SearchPage:
        """Up to `limit` decisions older than a position, and no older than a time in ms since 1970."""

    async def transactions(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """The transactions' records; None where one has expired or was erased."""


class RedisSearch:
    """DecisionSearch over the feed of one shard in Redis."""

    def __init__(self, redis: Redis, keys: Keys = FIRST) -> None:
        self._redis = Redis(connection_pool=redis.connection_pool)
        self._redis.set_response_callback("XREVRANGE", as_received)
        self._keys = keys

    async def oldest_ms(self) -> int | None:
        """See DecisionSearch."""
        with redis_faults_named():
            entries: Any = await self._redis.xrange(self._keys.feed, count=1)
        return Cursor.of(entries[0][0]).milliseconds if entries else None

    async def back(self, before: Cursor, *, not_before_ms: int, limit: int) -> SearchPage:
        """See DecisionSearch."""
        start = "+" if before == NEWEST else f"({before}"
        with redis_faults_named():
            entries: Any = await self._redis.execute_command(  # type: ignore[no-untyped-call]  # redis-py has no types
                "XREVRANGE", self._keys.feed, start, f"{not_before_ms}-0", "COUNT", limit
            )
        found = [
            FoundDecision(Cursor.of(stream_id), decision)
            for stream_id, fields in entries
            if fields[0] == FIELD and (decision := decision_in(fields[1])) is not None
        ]
        return SearchPage(found, Cursor.of(entries[-1][0]) if len(entries) == limit else None)

    async def transactions(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See DecisionSearch."""
        if not transaction_ids:
            return []
        with redis_faults_named():
            found: Any = await self._redis.mget([self._keys.transaction(each) for each in transaction_ids])
        return [readable(each) for each in found]


class ShardedSearch:
    """DecisionSearch over several shards, by their number; ordered by the time each decision was recorded."""

    def __init__(self, parts: Sequence[DecisionSearch]) -> None:
        self._parts = parts

    async def oldest_ms(self) -> int | None:
        """See DecisionSearch."""
        found = await asyncio.gather(*(part.oldest_ms() for part in self._parts))
        return min((each for each in found if each is not None), default=None)

    async def back(self, before: Cursor, *, not_before_ms: int, limit: int) -> SearchPage:
        """See DecisionSearch; includes all decisions at the last position, of every shard."""
        each = (part.back(before, not_before_ms=not_before_ms, limit=limit) for part in self._parts)
        parts = await asyncio.gather(*each)
        # below the highest position at which a shard ended, that shard may have more, too
        end = max((part.before for part in parts if part.before is not None), default=None)
        found = heapq.merge(*(part.found for part in parts), key=lambda found: found.place, reverse=True)
        return SearchPage([each for each in found if end is None or each.place >= end], end)

    async def transactions(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See DecisionSearch."""
        return await spread(
            transaction_ids,
            lambda each: shard_of(each, len(self._parts)),
            lambda shard, mine: self._parts[shard].transactions(mine),
        )


def search_of(shards: Sequence[Redis]) -> DecisionSearch:
    """The search over a store, by the clients of its shards."""
    parts = [RedisSearch(redis, keys) for redis, keys in zip(shards, all_keys(len(shards)), strict=True)]
    return ShardedSearch(parts)
