"""How long the workers' batches took, by their size: measured by them, told now and then, best effort."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.domain.capacity import BatchTimes
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import Keys

KEPT_BATCHES = 500
"""Of each size: four seconds of a worker that is never idle; enough to be steady, and soon a new model's own."""

MICROSECONDS = 1_000_000


class Measured(NamedTuple):
    """What the workers have measured; none of it where none has decided anything yet."""

    timed: dict[int, BatchTimes]
    """The batches by size class, the older ones counting for less."""
    busy_seconds: float
    """What all workers have ever spent on batches."""


class Paces:
    """The measurements in Redis, for a worker and for commands."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = Keys()

    def add(self, timed: Mapping[int, BatchTimes]) -> None:
        """Adds what a worker has measured.

        Raises:
            StoreUnavailableError: Redis failed; it is not known whether it was added.
        """
        args: list[scripts.Arg] = [KEPT_BATCHES, _microseconds(sum(each.seconds for each in timed.values()))]
        for size, each in timed.items():
            args += (size, each.batches, each.transactions, _microseconds(each.seconds))
        with redis_faults_named():
            scripts.run(self._redis, "pace", [self._keys.paces], args)

    def read(self) -> Measured:
        """What the workers have measured.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            return _measured(self._redis.hgetall(self._keys.paces))


class AsyncPaces:
    """The same, to be read by the event loop of an API process."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = Keys()

    async def read(self) -> Measured:
        """What the workers have measured.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            return _measured(await self._redis.hgetall(self._keys.paces))


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def _measured(found: Any) -> Measured:
    busy, timed = 0, dict[int, BatchTimes]()
    for size, numbers in found.items():
        # what is none of ours somebody else has written
        with suppress(ValueError):
            if size == b"busy":
                busy = int(numbers)
                continue
            batches, transactions, microseconds = map(int, numbers.split())
            timed[int(size)] = BatchTimes(batches, transactions, microseconds / MICROSECONDS)
    return Measured(timed, busy / MICROSECONDS)
