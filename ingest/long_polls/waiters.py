"""Long-polls: one future for each client that waits for a decision."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from riskline.ingest.long_polls.shared_reads import Read, SharedReads, in_batches
from riskline.shared.domain.lifecycle import Status
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.records import Record
from riskline.shared.store.sharding.sharded_store import Route, ShardedIntake
from riskline.shared.store.sharding.shards import by_shard

log = get_logger(__name__)


class WaitSlots:
    """The bound on clients that wait at a time, at all doors of a process. One more is answered at once."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    @property
    def full(self) -> bool:
        """True where no other client may wait."""
        return self._free <= 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for as long as this lasts."""
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class DecisionWaiters:
    """Reads transactions for clients, and wakes those that wait for a decision."""

    def __init__(self, intake: TransactionIntake, places: WaitSlots) -> None:
        self.places = places
        parts = intake.parts if isinstance(intake, ShardedIntake) else (intake,)
        self._reads = [SharedReads(part) for part in parts]
        self._route: Route = intake.route if isinstance(intake, ShardedIntake) else _the_only_one
        self._rechecks: dict[int, asyncio.Task[None]] = {}
        self._heard_meanwhile: defaultdict[int, set[str]] = defaultdict(set)
        self._waiters: defaultdict[str, set[Read]] = defaultdict(set)
        self._ending = False

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
        """A future of the decided record; None where the server stops. It must be made before the decision can be."""
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
        record: Record | None = None
        if self._ending or self.places.full:
            timeout_seconds = 0
        with suppress(TimeoutError), self.places.one():
            record = await asyncio.wait_for(decided, timeout_seconds)
        return await self.read(transaction_id) if record is None else record

    def end_waits(self) -> None:
        """Answers all clients that wait, and lets none wait any more: the server stops, and would cut them off."""
        self._ending = True
        for waiters in self._waiters.values():
            for decided in waiters:
                if not decided.done():
                    decided.set_result(None)

    async def read(self, transaction_id: str) -> Record | None:
        """The record as it is; None where there is none.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        return await self._reads[self._route(transaction_id)].read(transaction_id)

    @property
    def has_waiters(self) -> bool:
        """True where a client waits for this decision."""
        return bool(self._waiters)

    async def wake(self, transaction_ids: Collection[str]) -> None:
        """Gives those who wait for any of these their records, where they are decided.

        Raises:
            StoreUnavailableError: Redis failed; they go on waiting.
        """
        for shard, ids in self._by_shard(transaction_ids).items():
            await self._wake(shard, ids)

    def _by_shard(self, transaction_ids: Collection[str]) -> Mapping[int, list[str]]:
        return by_shard((each for each in transaction_ids if each in self._waiters), self._route)

    async def _wake(self, shard: int, transaction_ids: Sequence[str]) -> None:
        for ids in in_batches(transaction_ids):
            self.deliver(dict(zip(ids, await self._reads[shard].intake.get(ids), strict=True)))

    def deliver(self, records: Mapping[str, Record | None]) -> None:
        """Gives those who wait for any of these their records, where they are decided.

        A missing record is no reason to stop: a client that submits waits from before the commit on.
        """
        for transaction_id, record in records.items():
            if record is not None and record["status"] != Status.QUEUED:
                for decided in self._waiters.get(transaction_id, ()):
                    if not decided.done():
                        decided.set_result(record)

    async def receive(self, decided: dict[str, Record] | list[str]) -> None:
        """Takes the records that came with the message, or reads them where the message has ids alone."""
        if isinstance(decided, dict):
            self.deliver(decided)
        elif len(self._reads) == 1:
            await self.wake(decided)
        else:
            self._look_at(self._by_shard(decided))

    async def recheck(self) -> None:
        """Wakes clients whose transaction was decided without a wake-up.

        Raises:
            StoreUnavailableError: Redis failed, which is all that there is.
        """
        if len(self._reads) == 1:
            await self.wake(list(self._waiters))
            return
        self._look_at(self._by_shard(self._waiters))

    def _look_at(self, wanted: Mapping[int, Sequence[str]]) -> None:
        """A shard that is slow or away must not hold up the subscription to the others."""
        for shard, ids in wanted.items():
            if shard in self._rechecks:
                self._heard_meanwhile[shard].update(ids)
            else:
                self._rechecks[shard] = asyncio.create_task(self._recheck(shard, ids))

    async def _recheck(self, shard: int, transaction_ids: Sequence[str]) -> None:
        try:
            with suppress(StoreUnavailableError):
                await self._wake(shard, transaction_ids)
                while meanwhile := self._heard_meanwhile.pop(shard, None):
                    await self._wake(shard, [each for each in meanwhile if each in self._waiters])
        except Exception:
            log.exception("reading the records that clients wait for failed")
        finally:
            # where it failed, the next look at all comes in a second
            self._heard_meanwhile.pop(shard, None)
            del self._rechecks[shard]


def _the_only_one(_transaction_id: str) -> int:
    return 0
