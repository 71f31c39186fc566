"""The metrics of Redis, read every few seconds: whether it answers, and its memory."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from riskline.ingest.background.every import every
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.telemetry.metrics import REDIS_MEMORY, REDIS_MEMORY_LIMIT, REDIS_UP

log = get_logger(__name__)

INTERVAL_SECONDS = 5.0
"""Shorter than Prometheus's usual interval; what an outage costs clients is seen at once by other metrics."""


async def redis_info(redis: Redis) -> dict[str, Any]:
    """Redis's role and memory; empty where this user may not call INFO.

    Raises:
        redis.RedisError: it is not.
    """
    try:
        return {**await redis.info("replication"), **await redis.info("memory")}
    except ResponseError:
        # where INFO is not allowed it is enough that there is an answer
        await redis.ping()
        return {}


class RedisWatch:
    """The periodic read of each shard of the store. An outage costs one read; other tasks log it."""

    def __init__(self, shards: Sequence[Redis]) -> None:
        self._shards = shards

    async def run(self) -> None:
        """Reads until cancelled."""
        await every(INTERVAL_SECONDS, self.update, log=log, failed="looking at Redis failed")

    async def update(self) -> None:
        """Reads once."""
        infos = []
        try:
            with redis_faults_named():
                for redis in self._shards:
                    infos.append(await redis_info(redis))  # noqa: PERF401  # one after another, as nothing is urgent
        except StoreUnavailableError:
            REDIS_UP.set(0)
            return
        REDIS_UP.set(1)
        told = [info for info in infos if "used_memory" in info]
        if told:
            # of several servers the one that is full first
            fullest = max(told, key=_part_used)
            REDIS_MEMORY.set(fullest["used_memory"])
            REDIS_MEMORY_LIMIT.set(fullest.get("maxmemory", 0))


def _part_used(info: dict[str, Any]) -> tuple[float, float]:
    limit = info.get("maxmemory", 0)
    return (info["used_memory"] / limit if limit else 0.0, info["used_memory"])
