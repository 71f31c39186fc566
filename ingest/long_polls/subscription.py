"""The subscription by which a process learns of the decisions that its clients wait for."""

import asyncio
from collections.abc import Sequence

import orjson
from redis.asyncio import Redis

from riskline.ingest.background.every import every
from riskline.ingest.long_polls.waiters import DecisionWaiters
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.connect.connection import redis_faults_named

log = get_logger(__name__)

RECHECK_SECONDS = 1.0
"""The interval at which the records of all waited-for transactions are read: a wake-up may be lost with Redis."""

SILENCE_SECONDS = 4.0
"""The silence after which a server counts as lost; it gets a ping at each read."""


class Subscription:
    """Listens on the channels, one for each shard of the store, and wakes the clients that wait."""

    def __init__(self, waiting: DecisionWaiters, redis: Redis, *, channels: Sequence[str]) -> None:
        self._waiting = waiting
        self._redis = redis
        self._channels = channels
        self._outage = Outage(log, failing="the subscription is lost", back="the subscription works again")

    async def run(self) -> None:
        """Listens until cancelled; an outage of Redis is waited out."""

        async def listen() -> None:
            with redis_faults_named():
                await self._listen()

        await every(RECHECK_SECONDS, listen, log=log, failed="subscription failed", outage=self._outage.failed)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(*self._channels)
            await self._waiting.recheck()
            self._outage.over()
            time = asyncio.get_running_loop().time
            next_recheck = time() + RECHECK_SECONDS
            heard_at = time()
            while True:
                message = await subscription.get_message(timeout=RECHECK_SECONDS)
                if message is not None:
                    heard_at = time()
                    if self._waiting.has_waiters and message["type"] == "message":
                        await self._waiting.receive(orjson.loads(message["data"]))
                if time() >= next_recheck:
                    await self._waiting.recheck()
                    if len(self._channels) > 1:
                        # records are read from other servers: only a ping shows that this one lives
                        if time() - heard_at > SILENCE_SECONDS:
                            raise StoreUnavailableError("Redis: the subscription is silent")
                        await subscription.ping()
                    next_recheck = time() + RECHECK_SECONDS
