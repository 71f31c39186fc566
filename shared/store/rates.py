"""What API keys have spent of their rates, for all API processes together."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import Keys


class Spent(NamedTuple):
    """What one process has to tell of one account."""

    account: str
    units: float
    per_second: float
    """How much of it is forgiven in a second."""


class RedisRates:
    """The accounts in Redis; each ends by itself once all is forgiven."""

    def __init__(self, redis: Redis, keys: Keys | None = None) -> None:
        self._redis = redis
        self._keys = Keys() if keys is None else keys

    async def spend(self, spent: Sequence[Spent]) -> list[float]:
        """Adds what was spent; answers the level of each account, all processes together.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        accounts = [self._keys.rate(each.account) for each in spent]
        numbers: list[scripts.Arg] = [repr(number) for each in spent for number in (each.units, each.per_second)]
        with redis_faults_named():
            levels = await scripts.run_async(self._redis, "spend", accounts, numbers)
        return [float(level) for level in levels]
