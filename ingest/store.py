"""The store as an API process uses it: on one Redis, or on a shard for each part of the transactions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from redis import Redis as SyncRedis
from redis.asyncio import Redis

from riskline.ingest.long_polls.feed_reads import BLOCK_SECONDS
from riskline.shared.process.jobs import SCORING_QUEUE_KEY, Tickets
from riskline.shared.settings import Settings
from riskline.shared.store.connect.connection import (
    connect,
    connect_anywhere_async,
    connect_async,
    connect_store,
    connect_store_async,
    redis_faults_named,
)
from riskline.shared.store.console import ConsoleStore
from riskline.shared.store.feed import Cursor, Decisions, FeedPosition, RedisDecisions
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.keys import Keys
from riskline.shared.store.listing import Listings
from riskline.shared.store.operations import AllCallbacks, AllFailures, undecided_of
from riskline.shared.store.redis_queue import RedisIntake
from riskline.shared.store.search import DecisionSearch, search_of
from riskline.shared.store.sharding.sharded_feed import ShardedCursor, ShardedDecisions
from riskline.shared.store.sharding.sharded_store import ShardedIntake
from riskline.shared.store.sharding.shards import all_keys, first_shard, shard_of, share
from riskline.shared.store.status.identity import AsyncIdentity, ShardMemory, Witness, memory_of
from riskline.shared.store.status.redis_safety import ServerFacts, facts_of
from riskline.shared.webhooks.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class StoreOperations:
    """The store for operators' reads and repairs, which are rare and run in threads beside the event loop."""

    first: SyncRedis
    """The client of the first shard, which has the keys of the store as a whole."""
    undecided: Listings
    failures: AllFailures
    callbacks: AllCallbacks
    redis_facts: Callable[[], ServerFacts]

    @classmethod
    def over(cls, shards: Sequence[SyncRedis]) -> Self:
        """The operations over the clients of the shards."""
        first = shards[first_shard(len(shards))]
        return cls(
            first=first,
            undecided=undecided_of(shards),
            failures=AllFailures(shards),
            callbacks=AllCallbacks(shards),
            redis_facts=partial(facts_of, first),
        )


@dataclass(frozen=True, kw_only=True)
class ApiStore:
    """The parts of Redis that an API process uses; none connects before its first call."""

    intake: TransactionIntake
    warm: Sequence[RedisIntake]
    """The intakes of the shards."""
    decisions: Decisions
    parse_cursor: Callable[[str], FeedPosition | None]
    channels: Sequence[str]
    clients: Sequence[Redis]
    """The clients of the shards, each once."""
    first: Redis
    """The client of the first shard, which has the keys of the store as a whole."""
    subscriber: Redis
    watched: Sequence[tuple[AsyncIdentity, Witness]]
    """Each shard's identity, and the number of transactions that its answers said it had accepted."""
    memory: ShardMemory | None
    """The file in which this installation remembers the store."""
    console: ConsoleStore
    search: DecisionSearch
    operations: StoreOperations
    ensure_ticket: Callable[[], Awaitable[None]]
    """Enqueues a ticket for the scoring workers where there is none."""
    connections: Sequence[Redis] = ()
    sync_connections: Sequence[SyncRedis] = ()

    async def close(self) -> None:
        """Closes the connections; those of the feed close with the feed."""
        for redis in dict.fromkeys(self.connections):
            await redis.aclose()
        for sync_redis in dict.fromkeys(self.sync_connections):
            sync_redis.close()


def open_store(settings: Settings) -> ApiStore:
    """The store that the settings name."""
    url, shards, timeout_seconds = settings.required_store_url, settings.shards, settings.redis_timeout
    clients = connect_store_async(url, shards=shards, timeout_seconds=timeout_seconds)
    keys = all_keys(shards)
    intakes = [_intake(redis, mine, settings) for redis, mine in zip(clients, keys, strict=True)]
    intake = intakes[0] if shards == 1 else ShardedIntake(intakes, route=partial(shard_of, shards=shards))
    decisions, parse_cursor = _feed(clients, intake, settings)
    subscriber = clients[0] if shards == 1 else connect_anywhere_async(url, timeout_seconds=timeout_seconds)
    first = clients[first_shard(shards)]
    queue_url = settings.required_redis_url
    queue = first if url == queue_url else connect_async(queue_url, timeout_seconds=timeout_seconds)
    sync_queue = connect(queue_url, timeout_seconds=timeout_seconds, retries=1)
    sync_clients = connect_store(url, shards=shards, timeout_seconds=timeout_seconds, retries=1)
    return ApiStore(
        intake=intake,
        warm=intakes,
        decisions=decisions,
        parse_cursor=parse_cursor,
        channels=[each.decided_channel for each in keys],
        clients=tuple(dict.fromkeys(clients)),
        first=first,
        subscriber=subscriber,
        watched=[
            (AsyncIdentity(redis, keys=mine), each.witness)
            for redis, mine, each in zip(clients, keys, intakes, strict=True)
        ],
        memory=memory_of(settings.data, url),
        console=ConsoleStore(first),
        search=search_of(clients),
        operations=StoreOperations.over(sync_clients),
        ensure_ticket=partial(_ensure_ticket, queue, Tickets(sync_queue)),
        connections=(*clients, subscriber, queue),
        sync_connections=(*sync_clients, sync_queue),
    )


def _feed(
    clients: Sequence[Redis], intake: RedisIntake | ShardedIntake, settings: Settings
) -> tuple[Decisions, Callable[[str], FeedPosition | None]]:
    """The feed, and how it reads a cursor."""
    shards, timeout_seconds = settings.shards, settings.redis_timeout + BLOCK_SECONDS
    blocking = connect_store_async(settings.required_store_url, shards=shards, timeout_seconds=timeout_seconds)
    feeds = [
        RedisDecisions(redis, blocking=its_blocking, keys=keys)
        for redis, its_blocking, keys in zip(clients, blocking, all_keys(shards), strict=True)
    ]
    if isinstance(intake, RedisIntake):
        return feeds[0], Cursor.parse
    return (
        ShardedDecisions(feeds, is_away=lambda number: number in intake.away),
        partial(ShardedCursor.parse, shards=shards),
    )


async def _ensure_ticket(queue: Redis, tickets: Tickets) -> None:
    with redis_faults_named():
        if await queue.llen(SCORING_QUEUE_KEY) == 0:
            await asyncio.to_thread(tickets.ensure)


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
