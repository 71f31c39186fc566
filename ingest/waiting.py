"""Long-polls: one subscription for the whole process, one future for each client that waits."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import orjson
from redis.asyncio import Redis

from shared.errors import RisklineError, StoreUnavailableError
from shared.lifecycle import Status
from shared.log import get_logger
from shared.outage import Outage
from shared.store.connection import redis_faults_named
from shared.store.interfaces import TransactionIntake
from shared.store.keys import Keys
from shared.store.records import Record

log = get_logger(__name__)

RECHECK_SECONDS = 1.0
"""How often the records of all waited-for transactions are looked at: a wake-up may be lost with Redis."""

READ_BATCH = 512
"""Records in one read: more would hold up Redis and the event loop."""

NOT_YET: Record = {}
"""What a wait gives that ended without a decision."""

Read = asyncio.Future[Record | None]


class Places:
    """How many clients may wait at a time, at all doors of a process; who finds no place is answered at once."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    @property
    def full(self) -> bool:
        """Whether nobody else may wait."""
        return self._free <= 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for as long as this lasts."""
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Waiting:
    """Reads transactions for clients, and wakes those that wait for a decision; reads at the same time share a call."""

    def __init__(self, intake: TransactionIntake, places: Places) -> None:
        self.places = places
        self._intake = intake
        self._waiters: defaultdict[str, set[Read]] = defaultdict(set)
        self._wanted: dict[str, list[Read]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._ending = False
        self._outage = Outage(log, failing="the subscription is lost", back="the subscription works again")

    async def for_decision(self, transaction_id: str, *, timeout_seconds: float) -> Record | None:
        """The record as soon as it is decided, or as it is when the time is over; None where there is none.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with self.watching(transaction_id) as decided:
            record = await self.read(transaction_id)
            if record is None or record["status"] != Status.QUEUED or timeout_seconds <= 0:
                return record
            return await self.until(decided, transaction_id, timeout_seconds=timeout_seconds)

    @contextmanager
    def watching(self, transaction_id: str) -> Iterator[Read]:
        """A future that has the record once it is decided; to be had before the decision can be made."""
        decided: Read = asyncio.get_running_loop().create_future()
        self._waiters[transaction_id].add(decided)
        try:
            yield decided
        finally:
            waiters = self._waiters[transaction_id]
            waiters.discard(decided)
            if not waiters:
                del self._waiters[transaction_id]

    async def until(self, decided: Read, transaction_id: str, *, timeout_seconds: float) -> Record | None:
        """The record as soon as it is decided, or as it is when the time is over.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        record: Record | None = NOT_YET
        if self._ending or self.places.full:
            timeout_seconds = 0
        with suppress(TimeoutError), self.places.one():
            record = await asyncio.wait_for(decided, timeout_seconds)
        return await self.read(transaction_id) if record is NOT_YET else record

    def end_waits(self) -> None:
        """Answers all who wait, and lets nobody wait any more: the server stops, and would have to cut them off."""
        self._ending = True
        for waiters in self._waiters.values():
            for decided in waiters:
                if not decided.done():
                    decided.set_result(NOT_YET)

    async def read(self, transaction_id: str) -> Record | None:
        """The record as it is; None where there is none.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        future: Read = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(transaction_id, []).append(future)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_wanted())
        return await future

    async def _read_wanted(self) -> None:
        try:
            while self._wanted:
                await asyncio.sleep(0)
                wanted, self._wanted = self._wanted, {}
                for ids in _parts(list(wanted)):
                    await self._read_part(ids, wanted)
        finally:
            self._reading = None

    async def _read_part(self, ids: Sequence[str], wanted: dict[str, list[Read]]) -> None:
        outcomes: Sequence[Record | Exception | None]
        try:
            outcomes = await self._intake.get(ids)
        except StoreUnavailableError as error:
            # who waits behind would find Redis no better, only later
            for transaction_id, futures in self._wanted.items():
                wanted.setdefault(transaction_id, []).extend(futures)
            self._wanted = {}
            ids = list(wanted)
            outcomes = [error] * len(ids)
        except Exception:
            # many clients share the read: none may wait for ever
            log.exception("reading transactions failed")
            outcomes = [RisklineError("the read failed; the log says why")] * len(ids)
        for transaction_id, outcome in zip(ids, outcomes, strict=True):
            for future in wanted[transaction_id]:
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    # one exception each: a shared one would gather the tracebacks of all requests
                    future.set_exception(type(outcome)(*outcome.args))
                else:
                    future.set_result(outcome)

    async def wake(self, transaction_ids: Collection[str]) -> None:
        """Gives those who wait for any of these their records, where they are decided.

        Raises:
            StoreUnavailableError: Redis failed; they go on waiting.
        """
        for ids in _parts([each for each in transaction_ids if each in self._waiters]):
            self.tell(dict(zip(ids, await self._intake.get(ids), strict=True)))

    def tell(self, records: Mapping[str, Record | None]) -> None:
        """Gives those who wait for any of these their records, where they are decided.

        One that is not there is no reason to stop: who submits waits from before the commit on.
        """
        for transaction_id, record in records.items():
            if record is not None and record["status"] != Status.QUEUED:
                for decided in self._waiters.get(transaction_id, ()):
                    if not decided.done():
                        decided.set_result(record)

    async def listen(self, redis: Redis) -> None:
        """Hears of decisions until cancelled; an outage of Redis is waited out."""
        while True:
            try:
                with redis_faults_named():
                    await self._hear(redis)
            except StoreUnavailableError as error:
                self._outage.failed(error)
            except Exception:
                # whatever somebody else publishes there must not leave every client waiting
                log.exception("subscription failed")
            await asyncio.sleep(RECHECK_SECONDS)

    async def _hear(self, redis: Redis) -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(Keys().decided_channel)
            await self.recheck()
            self._outage.over()
            next_recheck = asyncio.get_running_loop().time() + RECHECK_SECONDS
            while True:
                message = await subscription.get_message(timeout=RECHECK_SECONDS)
                if message is not None and self._waiters:
                    await self._heard(orjson.loads(message["data"]))
                if asyncio.get_running_loop().time() >= next_recheck:
                    await self.recheck()
                    next_recheck = asyncio.get_running_loop().time() + RECHECK_SECONDS

    async def _heard(self, decided: dict[str, Record] | list[str]) -> None:
        """Takes the records that came with the message, or reads them where there were many."""
        if isinstance(decided, dict):
            self.tell(decided)
        else:
            await self.wake(decided)

    async def recheck(self) -> None:
        """Wakes who waits for a transaction that was decided unheard."""
        await self.wake(list(self._waiters))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + READ_BATCH] for start in range(0, len(ids), READ_BATCH))
