"""The transactions in Redis: accepted, claimed, decided, swept, each operation one atomic call a batch."""

from collections.abc import Sequence
from typing import Protocol

import orjson
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.store import scripts
from shared.store.connection import redis_faults_named
from shared.store.keys import Keys
from shared.store.records import Outcome, Record, Submission

ACCEPT_BATCH = 512
ACCEPT_BYTES = 1024 * 1024
"""Transactions, and bytes of them, in one accept call: no call holds up Redis for more than a few milliseconds."""
CLAIM_BYTES = 1024 * 1024
"""Records of which a claim has enough, whatever their number: bounds a worker's memory."""

ACCEPTED: Record = {}
"""What `accept` answers for a transaction that is new: there was no record."""

NO_ROOM: Record = {"full": True}
"""What `accept` answers where the queue limit is reached."""


Claimed = list[tuple[str, Record | None]]
"""Ids in their order, and their records; None where there is none that can be read."""


class TransactionIntake(Protocol):
    """What the HTTP service asks of the store; every method raises StoreUnavailableError where Redis fails it."""

    async def accept(self, submissions: Sequence[Submission]) -> list[Record]:
        """Makes new transactions known, undecided and waiting: ACCEPTED, NO_ROOM or the record an id already has."""

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """The records; None where there is none (any more)."""

    async def record(self, outcomes: Sequence[Outcome]) -> int:
        """Keeps what the synchronous door decided; how many were new."""


class TransactionQueue(Protocol):
    """What a worker asks of the store; every method raises StoreUnavailableError where Redis fails it."""

    def claim(self, claimer: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claimed:
        """Takes up to `count` waiting transactions, after what the claimer already holds, and renews its lease.

        With `wait_seconds` it waits so long for one to come, if none waits.
        """

    def decide(self, claimer: str, outcomes: Sequence[Outcome]) -> int:
        """Writes outcomes of undecided transactions and lets go of their claims; how many this call decided."""

    def decide_and_claim(
        self, claimer: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claimed]:
        """`decide`, then `claim`, in one round trip."""

    def sweep(self) -> tuple[int, int]:
        """Gives back what claimers hold whose lease is over: how many that were, and how many wait now."""

    def leave(self, claimer: str) -> int:
        """Gives back what this claimer holds, at its end; how many that were."""


class RedisIntake:
    """TransactionIntake over Redis; `warm` spares the first client what only the first would pay."""

    def __init__(self, redis: AsyncRedis, *, result_ttl_seconds: int, feed_length: int, queue_limit: int) -> None:
        self._redis = redis
        self._keys = Keys()
        self._result_ttl_seconds = result_ttl_seconds
        self._feed_length = feed_length
        self._queue_limit = queue_limit

    async def warm(self) -> None:
        """Connects, and gives Redis the scripts.

        Raises:
            StoreUnavailableError: Redis failed; the first call makes up for it.
        """
        with redis_faults_named():
            await scripts.load_async(self._redis, "accept", "record")

    async def accept(self, submissions: Sequence[Submission]) -> list[Record]:
        """See TransactionIntake."""
        args: list[scripts.Arg] = [self._keys.transaction_prefix, self._queue_limit]
        for submission in submissions:
            args += (submission.transaction_id, submission.record)
        with redis_faults_named():
            answers = await scripts.run_async(self._redis, "accept", [self._keys.undecided, self._keys.waiting], args)
        return [_accept_answer(answer) for answer in answers]

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See TransactionIntake."""
        with redis_faults_named():
            found = await self._redis.mget([self._keys.transaction(each) for each in transaction_ids])
        return [_readable(record) for record in found]

    async def record(self, outcomes: Sequence[Outcome]) -> int:
        """See TransactionIntake."""
        args: list[scripts.Arg] = [self._keys.transaction_prefix, self._result_ttl_seconds, self._feed_length]
        for outcome in outcomes:
            args += (outcome.transaction_id, outcome.record, outcome.decision)
        with redis_faults_named():
            return int(await scripts.run_async(self._redis, "record", [self._keys.feed], args))


class RedisQueue:
    """TransactionQueue over Redis."""

    def __init__(self, redis: Redis, *, result_ttl_seconds: int, feed_length: int) -> None:
        self._redis = redis
        self._keys = Keys()
        self._result_ttl_seconds = result_ttl_seconds
        self._feed_length = feed_length

    def claim(self, claimer: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claimed:
        """See TransactionQueue."""
        call = self._claim(claimer, count, lease_seconds)
        with redis_faults_named():
            if wait_seconds == 0:
                return _claimed(scripts.run(self._redis, *call))
            # from the list to its own same end: it only wakes us, so that nothing is taken outside a claim and its
            # lease; the claim goes with it, so that both and what woke us share one round trip and one write to disk
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.blmove(self._keys.waiting, self._keys.waiting, wait_seconds, "LEFT", "LEFT")  # type: ignore[arg-type]  # fractions of a second, which the stubs don't know
                return _claimed(scripts.run_all(pipeline, [call])[0])

    def _claim(self, claimer: str, count: int, lease_seconds: float) -> scripts.Call:
        keys = [self._keys.waiting, self._keys.claimed(claimer), self._keys.claimers]
        return "claim", keys, [self._keys.transaction_prefix, claimer, count, int(lease_seconds * 1000), CLAIM_BYTES]

    def decide(self, claimer: str, outcomes: Sequence[Outcome]) -> int:
        """See TransactionQueue."""
        with redis_faults_named():
            return int(scripts.run(self._redis, *self._decide(claimer, outcomes)))

    def _decide(self, claimer: str, outcomes: Sequence[Outcome]) -> scripts.Call:
        keys = [self._keys.undecided, self._keys.claimed(claimer), self._keys.feed]
        args: list[scripts.Arg] = [
            self._keys.transaction_prefix,
            self._result_ttl_seconds,
            self._feed_length,
            self._keys.decided_channel,
        ]
        for outcome in outcomes:
            args += (outcome.transaction_id, outcome.record, outcome.decision)
        return "decide", keys, args

    def decide_and_claim(
        self, claimer: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claimed]:
        """See TransactionQueue."""
        calls = [self._decide(claimer, outcomes), self._claim(claimer, count, lease_seconds)]
        with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
            decided, flat = scripts.run_all(pipeline, calls)
        return int(decided), _claimed(flat)

    def sweep(self) -> tuple[int, int]:
        """See TransactionQueue."""
        return self._give_back()

    def leave(self, claimer: str) -> int:
        """See TransactionQueue."""
        return self._give_back(claimer)[0]

    def _give_back(self, *leaving: str) -> tuple[int, int]:
        with redis_faults_named():
            given_back, waiting = scripts.run(
                self._redis,
                "sweep",
                [self._keys.claimers, self._keys.waiting],
                [self._keys.claimed_prefix, *leaving],
            )
        return int(given_back), int(waiting)


def _claimed(flat: list[bytes]) -> Claimed:
    return [(flat[i].decode(), _readable(flat[i + 1])) for i in range(0, len(flat), 2)]


def _readable(record: bytes | str | None) -> Record | None:
    """The record; None where there is none, or nothing that can be read."""
    try:
        loaded = orjson.loads(record) if record else None
    except orjson.JSONDecodeError:
        return None
    return loaded if isinstance(loaded, dict) else None


def _accept_answer(answer: bytes) -> Record:
    if answer == b"":
        return ACCEPTED
    if answer == b"!":
        return NO_ROOM
    record = _readable(answer)
    # what cannot be read is nobody's repetition: a conflict
    return {"transaction": None} if record is None else record
