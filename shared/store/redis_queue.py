"""The transactions in Redis: accept, claim, decide and sweep, each one atomic call a batch."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.domain.lifecycle import Status
from riskline.shared.errors import OutcomeUnknownError
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.feed import named
from riskline.shared.store.interfaces import (
    ACCEPTED,
    LOST_OF_LATE_SECONDS,
    NO_ROOM,
    NOBODY,
    Claim,
    Erasure,
    Stored,
    SweepResult,
)
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.records import Outcome, Record, Submission, decoded, erased, id_of, raw_id, readable
from riskline.shared.store.status.counts import Counts, count_call, counted
from riskline.shared.store.status.identity import Witness

ACCEPT_BATCH = 512
ACCEPT_BYTES = 1024 * 1024
"""Transactions, and bytes of them, in one accept call: no call holds up Redis for more than a few milliseconds."""
CLAIM_BYTES = 1024 * 1024
"""A claim ends at this many bytes of records: bounds a worker's memory."""


ERASE_BATCH = 1000
"""Feed entries in one read of an erasure."""
CLOCKS_DIFFER_SECONDS = 3600
"""The most that a deciding process's clock may be ahead of Redis's, by which the feed is ordered."""


class RedisIntake:
    """TransactionIntake over Redis; `warm` connects before the first request."""

    def __init__(
        self,
        redis: AsyncRedis,
        *,
        result_ttl_seconds: int,
        feed_length: int,
        queue_limit: int,
        callback_wait_seconds: float = 0.0,
        keys: Keys = FIRST,
        replicas: int = 0,
        replicas_seconds: float = 1.0,
    ) -> None:
        """A callback is first tried `callback_wait_seconds` after its event.

        Accepted transactions must be on this many `replicas` within `replicas_seconds`.
        """
        self._callback_wait_seconds = callback_wait_seconds
        self._redis = redis
        self._keys = keys
        self._result_ttl_seconds = result_ttl_seconds
        self._feed_length = feed_length
        self._queue_limit = queue_limit
        self._replicas = replicas
        self._replicas_seconds = replicas_seconds
        self.witness = Witness()

    async def warm(self) -> None:
        """Connects, and gives Redis the scripts.

        Raises:
            StoreUnavailableError: Redis failed; the first call makes up for it.
        """
        with redis_faults_named():
            await scripts.load_async(self._redis, "accept", "record")

    async def accept(self, submissions: Sequence[Submission]) -> list[Stored]:
        """See TransactionIntake."""
        args: list[scripts.Arg] = [self._keys.transaction_prefix, self._queue_limit]
        for submission in submissions:
            args += (submission.transaction_id, submission.record)
        names = [self._keys.undecided, self._keys.waiting, self._keys.totals]
        answers = await self._kept(("accept", names, args))
        if len(answers) > len(submissions):
            *answers, accepted, new = answers
            self.witness.saw(accepted, new=new)
        return [_accept_answer(answer) for answer in answers]

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See TransactionIntake."""
        with redis_faults_named():
            found = await self._redis.mget([self._keys.transaction(each) for each in transaction_ids])
        return [readable(record) for record in found]

    async def callback(self, transaction_id: str) -> dict[bytes, bytes] | None:
        """See TransactionIntake."""
        with redis_faults_named():
            kept: Any = await self._redis.hgetall(self._keys.callback(transaction_id))
        return kept or None

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Stored]:
        """See TransactionIntake."""
        args: list[scripts.Arg] = [
            self._keys.transaction_prefix,
            self._result_ttl_seconds,
            self._feed_length,
            int(wanted),
        ]
        for outcome in outcomes:
            args += (outcome.transaction_id, outcome.record, outcome.decision)
        call: scripts.Call = ("record", [self._keys.feed, self._keys.totals], args)
        if wanted:
            answers = await self._kept(call)
        else:
            # best effort: no client waits for it
            with redis_faults_named():
                answers = await scripts.run_async(self._redis, *call)
        return [_accept_answer(answer) for answer in answers]

    async def _kept(self, call: scripts.Call) -> Any:
        """A script's answer, once enough replicas have its writes.

        Raises:
            OutcomeUnknownError: too few replicas confirmed in time: it is written, and a failover may lose it.
        """
        with redis_faults_named():
            if not self._replicas:
                return await scripts.run_async(self._redis, *call)
            answer, acknowledged = await scripts.run_acknowledged_async(
                self._redis, call, mark=self._keys.replicated, replicas=self._replicas, seconds=self._replicas_seconds
            )
        if acknowledged < self._replicas:
            raise OutcomeUnknownError(
                f"Redis: {acknowledged} of the {self._replicas} replicas that RISKLINE_REPLICAS asks for had it within "
                f"{self._replicas_seconds:g} s"
            )
        return answer

    async def decide_queued(self, outcome: Outcome) -> bool:
        """See TransactionIntake."""
        # as a worker that holds nothing; where it is in line or claimed it is skipped from now on
        call = decide_call(
            self._keys,
            NOBODY,
            [outcome],
            result_ttl_seconds=self._result_ttl_seconds,
            failed_ttl_seconds=self._result_ttl_seconds,
            feed_length=self._feed_length,
            callback_wait_seconds=self._callback_wait_seconds,
        )
        return bool(await self._kept(call))

    async def erase(self, transaction_id: str, *, erased_at: str) -> Erasure:
        """See TransactionIntake; reads the feed from shortly before the decision on."""
        [record] = await self.get([transaction_id])
        if record is None or record["status"] == Status.QUEUED:
            return Erasure.UNKNOWN if record is None else Erasure.QUEUED
        keys = self._keys
        names = [keys.feed, keys.feed_gaps, keys.failed, keys.callbacks, keys.callbacks_dead]
        args: list[scripts.Arg] = [keys.transaction_prefix, keys.callback_prefix, keys.callback_host_prefix]
        args += [transaction_id, erased(record, erased_at=erased_at), self._result_ttl_seconds]
        args += [entry async for entry in self._feed_entries(transaction_id, record)]
        with redis_faults_named():
            return Erasure((await scripts.run_async(self._redis, "erase", names, args)).decode())

    async def _feed_entries(self, transaction_id: str, record: Record) -> AsyncIterator[bytes]:
        decision = record.get("decision")
        if decision is None:
            return
        after, mine = _shortly_before(decision), named(transaction_id)
        while True:
            with redis_faults_named():
                entries: Any = await self._redis.xrange(self._keys.feed, after, "+", count=ERASE_BATCH)
            for entry, fields in entries:
                if any(mine in value for value in fields.values()):
                    yield entry
            if len(entries) < ERASE_BATCH:
                return
            after = f"({entries[-1][0].decode()}"

    async def count(self) -> Counts:
        """See TransactionIntake."""
        with redis_faults_named():
            return counted(await scripts.run_async(self._redis, *count_call(self._keys)))


class RedisQueue:
    """TransactionQueue over Redis."""

    def __init__(
        self,
        redis: Redis,
        *,
        result_ttl_seconds: int,
        failed_ttl_seconds: int,
        feed_length: int,
        callback_wait_seconds: float = 0.0,
        keys: Keys = FIRST,
    ) -> None:
        """A callback is first tried `callback_wait_seconds` after its event."""
        self._callback_wait_seconds = callback_wait_seconds
        self._redis = redis
        self._keys = keys
        self._result_ttl_seconds = result_ttl_seconds
        self._failed_ttl_seconds = failed_ttl_seconds
        self._feed_length = feed_length

    def claim(self, worker: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claim:
        """See TransactionQueue."""
        call = self._claim(worker, count, lease_seconds)
        with redis_faults_named():
            if wait_seconds == 0:
                return _claimed(scripts.run(self._redis, *call))
            # from the list to its own same end: it only wakes us, so that nothing is taken outside a claim and its
            # lease; the claim goes with it, so that both and what woke us share one round trip and one write to disk
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.blmove(self._keys.waiting, self._keys.waiting, wait_seconds, "LEFT", "LEFT")  # type: ignore[arg-type]  # fractions of a second, which the stubs don't know
                return _claimed(scripts.run_all(pipeline, [call])[0])

    def wait(self, seconds: float) -> bool:
        """Returns True as soon as a transaction waits, False when this time is over.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            found = self._redis.blmove(self._keys.waiting, self._keys.waiting, seconds, "LEFT", "LEFT")  # type: ignore[arg-type]  # as above
        return found is not None

    def _claim(self, worker: str, count: int, lease_seconds: float) -> scripts.Call:
        keys = self._keys
        names = [keys.waiting, keys.claimed(worker), keys.workers, keys.suspects, keys.losses, keys.lost]
        return "claim", names, [keys.transaction_prefix, worker, count, int(lease_seconds * 1000), CLAIM_BYTES]

    def decide(self, worker: str, outcomes: Sequence[Outcome]) -> int:
        """See TransactionQueue."""
        with redis_faults_named():
            return int(scripts.run(self._redis, *self._decide(worker, outcomes)))

    def _decide(self, worker: str, outcomes: Sequence[Outcome]) -> scripts.Call:
        return decide_call(
            self._keys,
            worker,
            outcomes,
            result_ttl_seconds=self._result_ttl_seconds,
            failed_ttl_seconds=self._failed_ttl_seconds,
            feed_length=self._feed_length,
            callback_wait_seconds=self._callback_wait_seconds,
        )

    def decide_and_claim(
        self, worker: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claim]:
        """See TransactionQueue."""
        calls = [self._decide(worker, outcomes), self._claim(worker, count, lease_seconds)]
        with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
            decided, flat = scripts.run_all(pipeline, calls)
        return int(decided), _claimed(flat)

    def sweep(self, worker: str, *, lease_seconds: float, turn_seconds: float) -> SweepResult:
        """See TransactionQueue."""
        keys = self._keys
        names = [keys.workers, keys.waiting, keys.suspects, keys.undecided, keys.losses, keys.sweeper, keys.lost]
        args: list[scripts.Arg] = [keys.claimed_prefix, worker, int(lease_seconds * 1000), int(turn_seconds * 1000)]
        args.append(LOST_OF_LATE_SECONDS)
        with redis_faults_named():
            waiting, *gone = scripts.run(self._redis, "sweep", names, args)
        return SweepResult(int(waiting), {id_of(gone[i]): int(gone[i + 1]) for i in range(0, len(gone), 2)})

    def leave(self, worker: str, *, ends: bool = False, last: bool = False) -> int:
        """See TransactionQueue."""
        keys = self._keys
        names = [keys.workers, keys.claimed(worker), keys.waiting, keys.suspects, keys.losses]
        with redis_faults_named():
            return int(scripts.run(self._redis, "leave", names, [worker, int(ends), int(last)]))


def decide_call(
    keys: Keys,
    worker: str,
    outcomes: Sequence[Outcome],
    *,
    result_ttl_seconds: int,
    failed_ttl_seconds: int,
    feed_length: int,
    callback_wait_seconds: float,
) -> scripts.Call:
    """The script call that writes outcomes; its answer is the number of decided transactions."""
    names = [keys.undecided, keys.claimed(worker), keys.feed, keys.failed, keys.losses, keys.totals]
    names += [keys.callbacks, keys.callbacks_dead, keys.callback_hosts, keys.callback_wake]
    args: list[scripts.Arg] = [
        keys.transaction_prefix,
        keys.callback_prefix,
        keys.callback_host_prefix,
        result_ttl_seconds,
        failed_ttl_seconds,
        feed_length,
        keys.decided_channel,
        int(callback_wait_seconds * 1000),
        len(outcomes),
    ]
    for outcome in outcomes:
        args += (raw_id(outcome.transaction_id), outcome.record, outcome.decision)
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.callback is not None:
            args += (number, outcome.callback.host, outcome.callback.message_id, outcome.callback.event)
    return "decide", names, args


def _claimed(flat: list[bytes]) -> Claim:
    # each id has its record behind it; what is over then are the losses of suspects, or 0 where one was lost of late
    rows = [(id_of(flat[i]), decoded(flat[i + 1])) for i in range(0, len(flat) - 1, 2)]
    losses = int(flat[-1]) if len(flat) % 2 else None
    return Claim(rows, losses or 0, lost_of_late=losses == 0)


def _shortly_before(decision: Record) -> str:
    """The cursor shortly before a decision in the feed; the feed's beginning where its time is unknown."""
    try:
        scored_at = datetime.fromisoformat(decision["scored_at"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return "0"
    return str(max(0, int((scored_at - CLOCKS_DIFFER_SECONDS) * 1000)))


def _accept_answer(answer: bytes) -> Stored:
    if answer == b"":
        return ACCEPTED
    if answer == b"!":
        return NO_ROOM
    record = readable(answer)
    # an unreadable record equals no submission: a conflict
    return {"transaction": None} if record is None else record
