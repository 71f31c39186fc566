"""The store as an API process uses it: on one Redis, or on a shard for each part of the transactions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from riskline.ingest.long_polls.feed_reads import BLOCK_SECONDS
from riskline.shared.settings import Settings
from riskline.shared.store.connect.connection import connect_anywhere_async, connect_store_async
from riskline.shared.store.feed import Cursor, Decisions, FeedPosition, RedisDecisions
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.keys import Keys
from riskline.shared.store.redis_queue import RedisIntake
from riskline.shared.store.sharding.sharded_feed import ShardedCursor, ShardedDecisions
from riskline.shared.store.sharding.sharded_store import ShardedIntake
from riskline.shared.store.sharding.shards import all_keys, first_shard, shard_of, share
from riskline.shared.store.status.identity import AsyncIdentity, Witness
from riskline.shared.webhooks.schedule import Schedule


@dataclass(frozen=True)
class ApiStore:
    """What an API process has of the store; nothing connects before its first call."""

    intake: TransactionIntake
    warm: Sequence[RedisIntake]
    """The intakes of the shards."""
    decisions: Decisions
    parse_cursor: Callable[[str], FeedPosition | None]
    channels: Sequence[str]
    shards: Sequence[Redis]
    """The client of each shard, by its number."""
    clients: Sequence[Redis]
    """Of the shards, each once."""
    first: Redis
    """Of the shard that has what belongs to the store as a whole."""
    subscriber: Redis
    watched: Sequence[tuple[AsyncIdentity, Witness]]
    """Each shard's identity, and what its answers said that it had accepted."""

    async def close(self) -> None:
        """Lets go of its connections; those of the feed go with the feed."""
        for redis in dict.fromkeys((*self.clients, self.subscriber)):
            await redis.aclose()


def open_store(settings: Settings) -> ApiStore:
    """The store that the settings name."""
    url, shards, timeout_seconds = settings.required_store_url, settings.shards, settings.redis_timeout
    clients = connect_store_async(url, shards=shards, timeout_seconds=timeout_seconds)
    blocking = connect_store_async(url, shards=shards, timeout_seconds=timeout_seconds + BLOCK_SECONDS)
    keys = all_keys(shards)
    intakes = [_intake(redis, mine, settings) for redis, mine in zip(clients, keys, strict=True)]
    feeds = [
        RedisDecisions(redis, blocking=its_blocking, keys=mine)
        for redis, its_blocking, mine in zip(clients, blocking, keys, strict=True)
    ]
    intake: TransactionIntake = intakes[0]
    decisions: Decisions = feeds[0]
    parse_cursor: Callable[[str], FeedPosition | None] = Cursor.parse
    subscriber = clients[0]
    if shards > 1:
        intake = sharded = ShardedIntake(intakes, route=partial(shard_of, shards=shards))
        decisions = ShardedDecisions(feeds, is_away=lambda number: number in sharded.away)
        parse_cursor = partial(ShardedCursor.parse, shards=shards)
        subscriber = connect_anywhere_async(url, timeout_seconds=timeout_seconds)
    return ApiStore(
        intake=intake,
        warm=intakes,
        decisions=decisions,
        parse_cursor=parse_cursor,
        channels=[each.decided_channel for each in keys],
        shards=clients,
        clients=tuple(dict.fromkeys(clients)),
        first=clients[first_shard(shards)],
        subscriber=subscriber,
        watched=[
            (AsyncIdentity(redis, keys=mine), each.witness)
            for redis, mine, each in zip(clients, keys, intakes, strict=True)
        ],
    )


def _intake(redis: Redis, keys: Keys, settings: Settings) -> RedisIntake:
    return RedisIntake(
        redis,
        keys=keys,
        result_ttl_seconds=settings.result_ttl,
        feed_length=share(settings.feed_length, settings.shards),
        queue_limit=share(settings.queue_limit, settings.shards),
        replicas=settings.replicas,
        replicas_seconds=settings.redis_timeout / 2,
        callback_wait_seconds=Schedule.parse(settings.callback_schedule).seconds[0],
    )
