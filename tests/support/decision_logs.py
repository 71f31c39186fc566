"""Feeds in memory and in Redis for tests: what is added to them, what befalls them, and what a page of them has."""

from collections.abc import Callable
from typing import Any

import fakeredis
import orjson

from riskline.shared.store.feed import Page, RedisDecisions
from riskline.shared.store.keys import Keys
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import Outcome
from riskline.shared.store.redis_queue import RedisIntake
from tests.integration.stores import a_decision


def shown_decision(name: str) -> bytes:
    """The decision of a transaction of this id, as clients see it."""
    return orjson.dumps(a_decision(name).to_dict())


class MemoryLog:
    """A feed in memory, and what may befall it."""

    def __init__(self) -> None:
        self.store = self.decisions = MemoryStore()

    async def add(self, *names: str) -> None:
        await self.store.record([Outcome(name, b"{}", shown_decision(name)) for name in names])

    async def trim(self, length: int) -> None:
        gone = len(self.store.feed) - length
        del self.store.feed[:gone]
        self.store.feed_trimmed += gone

    def lose_connection(self) -> None:
        self.store.away = True

    async def close(self) -> None:
        await self.decisions.close()


class RedisLog:
    """A feed in a Redis, and what may befall it."""

    def __init__(self, redis: Any, blocking: Any, *, lose_connection: Callable[[], None]) -> None:
        self._redis = redis
        self._intake = RedisIntake(redis, result_ttl_seconds=60, feed_length=100_000, queue_limit=1)
        self.decisions = RedisDecisions(redis, blocking=blocking)
        self.lose_connection = lose_connection

    async def add(self, *names: str) -> None:
        await self._intake.record([Outcome(name, b"{}", shown_decision(name)) for name in names])

    async def trim(self, length: int) -> None:
        await self._redis.xtrim(Keys().feed, maxlen=length, approximate=False)

    async def add_foreign_entry(self, field: str = "other", text: bytes = b"x") -> None:
        await self._redis.xadd(Keys().feed, {field: text})

    async def close(self) -> None:
        await self.decisions.close()
        await self._redis.aclose()


def fake_log() -> RedisLog:
    server = fakeredis.FakeServer()

    def lose_connection() -> None:
        server.connected = False

    redis, blocking = (fakeredis.FakeAsyncRedis(server=server) for _ in range(2))
    return RedisLog(redis, blocking, lose_connection=lose_connection)


def names_in(page: Page | None) -> list[str]:
    assert page is not None
    loaded = orjson.loads(page.json)
    assert loaded["next"] == str(page.next)
    return [each["transaction_id"] for each in loaded["decisions"]]
