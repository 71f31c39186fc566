"""What a transaction costs, in counts that hardly vary: calls, commands, bytes. Times are the benchmark's affair.

The bounds are what docs/explanation/performance.md and docs/reference/redis.md say.
"""

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from redis import Redis

from riskline.shared.domain.policy import Action
from riskline.shared.domain.transaction import Transaction
from riskline.shared.store.connect.connection import connect_async
from riskline.shared.store.records import Queueing, decided_at_once
from riskline.shared.store.redis_queue import RedisIntake, RedisQueue
from riskline.worker.scoring import drain as draining
from riskline.worker.scoring.pulse import Pulse
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, eventually
from tests.support.api import Api
from tests.support.factories import AmountModel, a_transaction, transaction_json
from tests.support.wire import request, serving

pytestmark = pytest.mark.integration

COUNT = 5120
TTL = {"result_ttl_seconds": 86_400, "feed_length": 1_000_000}
LIMITS = {**TTL, "failed_ttl_seconds": 604_800}
NOW = "2026-11-24T03:15:07.123Z"


@pytest.fixture
def client(redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    monkeypatch.setattr(draining, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(draining, "HOT_WAITS", 1)
    with Redis.from_url(redis.url) as opened:
        yield opened


def transactions() -> list[Transaction]:
    return [a_transaction(transaction_id=f"TXN-{i:08d}", amount=10 + i / 100) for i in range(COUNT)]


def accept(url: str, *, explain: bool = False, batch: int = 256) -> None:
    async def run() -> None:
        redis = connect_async(url, timeout_seconds=5)
        intake = RedisIntake(redis, queue_limit=1_000_000, **TTL)
        queueing = Queueing(submitted_at=NOW, explain=explain, request_id="0690187fef76-1f4c")
        submissions = [queueing.submission(each) for each in transactions()]
        for start in range(0, COUNT, batch):
            await intake.accept(submissions[start : start + batch])
        await redis.aclose()

    asyncio.run(run())


def drain(client: Redis) -> int:
    return draining.drain(
        RedisQueue(client, **LIMITS),
        worker="w1",
        pulse=Pulse(),
        model=AmountModel,
        transaction_class=Transaction,
        time_is_over=lambda: False,
    )


def record(url: str) -> None:
    decision = {"fraud_probability": 0.0012, "action": Action.APPROVE, "model_version": AmountModel().version}

    async def run() -> None:
        redis = connect_async(url, timeout_seconds=5)
        intake = RedisIntake(redis, queue_limit=1_000_000, **TTL)
        outcomes = [
            decided_at_once(
                each.transaction_id,
                transaction=each.to_json(),
                scored_at=NOW,
                shown=orjson.dumps({"transaction_id": each.transaction_id, **decision, "scored_at": NOW}),
            )
            for each in transactions()
        ]
        for start in range(0, COUNT, 64):
            await intake.record(outcomes[start : start + 64])
        await redis.aclose()

    asyncio.run(run())


def counts(client: Redis) -> dict[str, float]:
    stats: dict[str, Any] = client.info("commandstats")
    return {
        "script calls": stats.get("cmdstat_evalsha", {"calls": 0})["calls"],
        "commands": client.info("stats")["total_commands_processed"],
        "bytes": client.info("memory")["used_memory"],
    }


def per_transaction(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: (after[name] - before[name]) / COUNT for name in after}


def test_accepting_costs_a_command_a_transaction_and_a_call_a_batch(client: Redis, redis: OwnRedis) -> None:
    before = counts(client)

    accept(redis.url)

    cost = per_transaction(before, counts(client))
    assert cost["script calls"] <= 1.1 / 256
    assert cost["commands"] <= 1.1


def test_draining_costs_two_commands_a_transaction_and_two_calls_a_batch_in_one_round_trip(
    client: Redis, redis: OwnRedis
) -> None:
    accept(redis.url)
    before = counts(client)

    assert drain(client) == COUNT

    cost = per_transaction(before, counts(client))
    assert cost["script calls"] <= 2.3 / 256
    assert cost["commands"] <= 2.3


def test_a_worker_that_waits_is_woken_and_takes_what_came_in_one_round_trip(client: Redis, redis: OwnRedis) -> None:
    queue = RedisQueue(client, **LIMITS)
    queue.claim("w1", count=1, lease_seconds=5)
    before = counts(client)

    with ThreadPoolExecutor(1) as worker:
        claim = worker.submit(queue.claim, "w1", count=256, lease_seconds=5, wait_seconds=30)
        eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        accept(redis.url, batch=512)
        claimed = claim.result(PATIENCE_SECONDS)

    # of the 512 that came with the call that woke it
    assert len(claimed.rows) == 256
    assert counts(client)["script calls"] - before["script calls"] <= COUNT / 512 + 1


@pytest.mark.parametrize(("explain", "most"), [(False, 1000), (True, 1300)])
def test_a_decided_transaction_takes_less_than_a_kilobyte(
    client: Redis, redis: OwnRedis, *, explain: bool, most: int
) -> None:
    before = counts(client)

    accept(redis.url, explain=explain)
    drain(client)

    took = per_transaction(before, counts(client))["bytes"]
    assert took <= most


def test_a_recorded_decision_costs_two_commands_and_less_than_a_kilobyte(client: Redis, redis: OwnRedis) -> None:
    before = counts(client)

    record(redis.url)

    cost = per_transaction(before, counts(client))
    assert cost["script calls"] <= 1.1 / 64
    assert cost["commands"] <= 2.2
    assert cost["bytes"] <= 1000


@pytest.mark.parametrize(("path", "most"), [("/score-transaction", 60), ("/transactions", 60)])
async def test_a_plain_request_costs_few_calls_in_the_api(path: str, most: int) -> None:
    """Counted by the interpreter: Python functions and those in C, from the bytes that came to those that go."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    async with serving(Api(queue_limit=1000).app) as server:
        wire = server.connect(fast=True)
        for number in range(3):
            body = orjson.dumps(transaction_json(transaction_id=f"warm-{number}", amount=1))
            await wire.send(request(path, body)).answers(number + 1)
        data = request(path, orjson.dumps(transaction_json(transaction_id="warm-9", amount=1)))
        sys.setprofile(count)
        wire.send(data)
        sys.setprofile(None)
        await wire.answers(4)

    assert calls <= most


@pytest.mark.parametrize(("count", "with_records"), [(1, True), (8, True), (9, False)])
def test_who_waits_is_told_the_records_where_few_are_decided(
    client: Redis, redis: OwnRedis, *, count: int, with_records: bool
) -> None:
    accept(redis.url, batch=512)
    queue = RedisQueue(client, **LIMITS)
    claimed = queue.claim("w1", count=count, lease_seconds=5)

    with client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe("riskline:{0}:decided")
        done = draining.outcomes(claimed, model=AmountModel(), transaction_class=Transaction)
        queue.decide("w1", done)
        message = eventually(subscription.get_message)

    told = orjson.loads(message["data"])
    ids = [transaction_id for transaction_id, _ in claimed.rows]
    assert told == ({each.transaction_id: orjson.loads(each.record) for each in done} if with_records else ids)
