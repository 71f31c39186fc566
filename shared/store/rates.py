"""The used part of API keys' rates, over all API processes."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import Keys


class RateUse(NamedTuple):
    """One process's share of one account."""

    account: str
    units: float
    per_second: float
    """The units that become free in a second."""


class RedisRates:
    """The accounts in Redis; each expires once it is empty."""

    def __init__(self, redis: Redis, keys: Keys | None = None) -> None:
        self._redis = redis
        self._keys = Keys() if keys is None else keys

    async def spend(self, spent: Sequence[RateUse]) -> list[float]:
        """Adds the spent units; returns the level of each account over all processes.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        accounts = [self._keys.rate(each.account) for each in spent]
        numbers: list[scripts.Arg] = [repr(number) for each in spent for number in (each.units, each.per_second)]
        with redis_faults_named():
            levels = await scripts.run_async(self._redis, "spend", accounts, numbers)
        return [float(level) for level in levels]
