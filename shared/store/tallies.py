"""How many decisions the workers have made with each model version: counted by them, told now and then, best effort."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.decision import Decision
from shared.store import scripts
from shared.store.connection import redis_faults_named
from shared.store.keys import Keys

KEPT_VERSIONS = 20

Tallied = Counter[tuple[str, str]]
"""Decisions by model version and action."""


def tallied(decisions: Iterable[Decision]) -> Tallied:
    """The decisions, counted."""
    return Counter((decision.model_version, decision.action.value) for decision in decisions)


class Tallies:
    """The counts in Redis, for a worker."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = Keys()

    def add(self, counts: Tallied) -> None:
        """Adds what was decided.

        Raises:
            StoreUnavailableError: Redis failed; it is not known whether they were added.
        """
        flat = [each for (version, action), number in counts.items() for each in (version, action, number)]
        with redis_faults_named():
            scripts.run(self._redis, "tally", [self._keys.decided_by], [KEPT_VERSIONS, *flat])


class AsyncTallies:
    """The same, to be read by the event loop of an API process."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = Keys()

    async def read(self) -> Tallied:
        """What all workers have ever decided with the versions that are kept.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            found: dict[Any, Any] = await self._redis.hgetall(self._keys.decided_by)
        counts: Tallied = Counter()
        for field, number in found.items():
            version, _, action = field.decode().rpartition(" ")
            counts[version, action] = int(number)
        return counts
