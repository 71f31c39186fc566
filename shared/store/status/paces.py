"""The durations of the workers' batches by size; workers add them about once a second, best effort."""

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
"""Batches remembered of each size: four seconds of a busy worker, so it is steady and soon reflects a new model."""

MICROSECONDS = 1_000_000


class BatchMeasurements(NamedTuple):
    """The workers' measurements; empty before the first decision."""

    timed: dict[int, BatchTimes]
    """The batches by size class, the older ones counting for less."""
    busy_seconds: float
    """The total time of all workers' batches."""


class Paces:
    """The measurements in Redis, for a worker and for commands."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = Keys()

    def add(self, timed: Mapping[int, BatchTimes]) -> None:
        """Adds a worker's measurements.

        Raises:
            StoreUnavailableError: Redis failed; the measurements may have been added.
        """
        args: list[scripts.Arg] = [KEPT_BATCHES, _microseconds(sum(each.seconds for each in timed.values()))]
        for size, each in timed.items():
            args += (size, each.batches, each.transactions, _microseconds(each.seconds))
        with redis_faults_named():
            scripts.run(self._redis, "pace", [self._keys.paces], args)

    def read(self) -> BatchMeasurements:
        """The workers' measurements.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            return _measured(self._redis.hgetall(self._keys.paces))


class AsyncPaces:
    """The measurements, for an API process's event loop."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = Keys()

    async def read(self) -> BatchMeasurements:
        """The workers' measurements.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            return _measured(await self._redis.hgetall(self._keys.paces))


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def _measured(found: Any) -> BatchMeasurements:
    busy, timed = 0, dict[int, BatchTimes]()
    for size, numbers in found.items():
        # skips fields that another program wrote
        with suppress(ValueError):
            if size == b"busy":
                busy = int(numbers)
                continue
            batches, transactions, microseconds = map(int, numbers.split())
            timed[int(size)] = BatchTimes(batches, transactions, microseconds / MICROSECONDS)
    return BatchMeasurements(timed, busy / MICROSECONDS)
