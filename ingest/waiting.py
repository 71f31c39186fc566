"""Long-polls: one subscription for the whole process, one future for each client that waits."""

import asyncio
from collections import defaultdict
from contextlib import suppress

import orjson
from redis.asyncio import Redis

from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.store.connection import redis_faults_named
from shared.store.keys import Keys
from shared.store.records import Record
from shared.store.transactions import TransactionIntake

log = get_logger(__name__)

RECHECK_SECONDS = 1.0
"""How often the records of all waited-for transactions are looked at in one call: a wake-up may be lost with Redis."""


class Waiting:
    """Wakes clients when the transactions that they wait for are decided."""

    def __init__(self, intake: TransactionIntake) -> None:
        self._intake = intake
        self._waiters: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    async def for_decision(self, transaction_id: str, *, timeout_seconds: float) -> Record | None:
        """The record as soon as it is decided, or as it is when the time is over; None where there is none.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        woken = asyncio.get_running_loop().create_future()
        self._waiters[transaction_id].add(woken)
        try:
            record = (await self._intake.get([transaction_id]))[0]
            if record is None or record["status"] != "queued" or timeout_seconds <= 0:
                return record
            with suppress(TimeoutError):
                await asyncio.wait_for(woken, timeout_seconds)
            return (await self._intake.get([transaction_id]))[0]
        finally:
            waiters = self._waiters[transaction_id]
            waiters.discard(woken)
            if not waiters:
                del self._waiters[transaction_id]

    def wake(self, transaction_ids: list[str]) -> None:
        """Wakes who waits for any of these."""
        for transaction_id in transaction_ids:
            for woken in self._waiters.get(transaction_id, ()):
                if not woken.done():
                    woken.set_result(None)

    async def listen(self, redis: Redis) -> None:
        """Hears of decisions until cancelled; an outage of Redis is waited out."""
        while True:
            try:
                with redis_faults_named():
                    await self._hear(redis)
            except StoreUnavailableError as error:
                log.warning("subscription lost", problem=str(error))
            except Exception:
                # whatever somebody else publishes there must not leave every client waiting
                log.exception("subscription failed")
            await asyncio.sleep(RECHECK_SECONDS)

    async def _hear(self, redis: Redis) -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(Keys().decided_channel)
            await self.recheck()
            next_recheck = asyncio.get_running_loop().time() + RECHECK_SECONDS
            while True:
                message = await subscription.get_message(timeout=RECHECK_SECONDS)
                if message is not None:
                    self.wake(orjson.loads(message["data"]))
                if asyncio.get_running_loop().time() >= next_recheck:
                    await self.recheck()
                    next_recheck = asyncio.get_running_loop().time() + RECHECK_SECONDS

    async def recheck(self) -> None:
        """Wakes who waits for a transaction that was decided unheard."""
        waited_for = list(self._waiters)
        if not waited_for:
            return
        records = await self._intake.get(waited_for)
        self.wake(
            [
                transaction_id
                for transaction_id, record in zip(waited_for, records, strict=True)
                if record is None or record["status"] != "queued"
            ]
        )
