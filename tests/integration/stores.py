"""The store in memory, as Lua on fakeredis and as Lua on a real Redis, behind one face for the tests they share."""

import asyncio
from typing import Any

import fakeredis
import orjson
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.domain.decision import Decision
from riskline.shared.domain.policy import Action
from riskline.shared.store.feed import RedisDecisions
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.operations import AllFailures
from riskline.shared.store.records import Outcome, Submission, decided, decided_at_once, failed, queued_record
from riskline.shared.store.redis_queue import RedisIntake, RedisQueue
from riskline.shared.store.sharding.sharded_queue import ShardedQueue, ShardHealth
from riskline.shared.store.sharding.sharded_store import ShardedIntake
from riskline.shared.store.sharding.shards import all_keys, first_shard
from riskline.shared.store.status.counts import Counts
from tests.support.factories import a_transaction

NOW = "2026-11-24T03:15:07.123Z"
QUEUE_LIMIT = 5
TTL = {"result_ttl_seconds": 60, "feed_length": 1000}
LIMITS = {**TTL, "failed_ttl_seconds": 600}


class Store:
    """All sides of a store, its asynchronous one behind a loop of its own."""

    def __init__(self, *, intake: Any, queue: Any, failures: Any, redis: Any = None) -> None:
        self.intake = intake
        self.queue = queue
        self.failures = failures
        self.redis = redis
        self.asynchronous: Any = getattr(intake, "_redis", None)
        self._loop = asyncio.new_event_loop()

    def accept(self, *submissions: Submission) -> list[Any]:
        return self._loop.run_until_complete(self.intake.accept(submissions))

    def get(self, transaction_id: str) -> Any:
        return self._loop.run_until_complete(self.intake.get([transaction_id]))[0]

    def record(self, *outcomes: Any, wanted: bool = False) -> list[Any]:
        return self._loop.run_until_complete(self.intake.record(outcomes, wanted=wanted))

    def erase(self, transaction_id: str) -> Any:
        return self._loop.run_until_complete(self.intake.erase(transaction_id, erased_at=NOW))

    def page(self, after: Any, limit: int = 100) -> Any:
        feed = self.intake if self.redis is None else RedisDecisions(self.asynchronous, blocking=self.asynchronous)
        return self._loop.run_until_complete(feed.page(after, limit=limit))

    def counts(self) -> Counts:
        return self._loop.run_until_complete(self.intake.count())

    def claim(self, worker: str = "w1", count: int = 10, lease_seconds: float = 60) -> list[str]:
        return [each[0] for each in self.queue.claim(worker, count=count, lease_seconds=lease_seconds).rows]

    def decide(self, *transaction_ids: str, worker: str = "w1") -> int:
        return self.queue.decide(worker, [outcome_of(self, each) for each in transaction_ids])

    def fail(self, transaction_id: str, reason: str = "it raised ValueError", worker: str = "w1") -> int:
        return self.queue.decide(worker, [failed(transaction_id, self.get(transaction_id), reason)])

    def sweep(self, worker: str = "sweeping", *, lease_seconds: float = 60, turn_seconds: float = 60) -> Any:
        return self.queue.sweep(worker, lease_seconds=lease_seconds, turn_seconds=turn_seconds)

    def close(self) -> None:
        if self.redis is not None:
            self._loop.run_until_complete(self.asynchronous.aclose())
        self._loop.close()


def memory_store(queue_limit: int = QUEUE_LIMIT) -> Store:
    both = MemoryStore(queue_limit=queue_limit)
    return Store(intake=both, queue=both, failures=both)


def fake_store(queue_limit: int = QUEUE_LIMIT) -> Store:
    server = fakeredis.FakeServer()
    return on_redis(fakeredis.FakeRedis(server=server), fakeredis.FakeAsyncRedis(server=server), queue_limit)


def real_store(url: str, queue_limit: int = QUEUE_LIMIT) -> Store:
    redis = Redis.from_url(url)
    redis.flushall()
    return on_redis(redis, AsyncRedis.from_url(url), queue_limit)


def sharded_store(url: str, queue_limit: int = QUEUE_LIMIT) -> Store:
    """A store of three shards, of which one has all that is submitted: to who asks it is as any other."""
    shards = 3
    only = first_shard(shards)
    redis, asynchronous = Redis.from_url(url), AsyncRedis.from_url(url)
    redis.flushall()
    intakes = [RedisIntake(asynchronous, keys=keys, queue_limit=queue_limit, **TTL) for keys in all_keys(shards)]
    queues = [RedisQueue(redis, keys=keys, **LIMITS) for keys in all_keys(shards)]
    store = Store(
        intake=ShardedIntake(intakes, route=lambda _: only),
        queue=ShardedQueue(queues, route=lambda _: only, health=ShardHealth()),
        failures=AllFailures([redis]),
        redis=redis,
    )
    store.asynchronous = asynchronous
    return store


def on_redis(redis: Any, asynchronous: Any, queue_limit: int) -> Store:
    intake = RedisIntake(asynchronous, queue_limit=queue_limit, **TTL)
    return Store(intake=intake, queue=RedisQueue(redis, **LIMITS), failures=AllFailures([redis]), redis=redis)


def a_submission(transaction_id: str = "a", *, callback_url: str | None = None, **changes: Any) -> Submission:
    transaction = a_transaction(transaction_id=transaction_id, **changes)
    return queued_record(transaction, submitted_at=NOW, callback_url=callback_url)


def a_decision(transaction_id: str = "a", probability: float = 0.1) -> Decision:
    return Decision(transaction_id, probability, Action.APPROVE, "v1", NOW)


def at_once(transaction_id: str) -> Outcome:
    shown = orjson.dumps(a_decision(transaction_id).to_dict())
    transaction = a_transaction(transaction_id=transaction_id).to_json()
    return decided_at_once(transaction_id, transaction=transaction, scored_at=NOW, shown=shown)


def outcome_of(store: Store, transaction_id: str = "a", probability: float = 0.1) -> Any:
    return decided(store.get(transaction_id), a_decision(transaction_id, probability))
