"""The failed transactions: listed with their reasons, and queued again."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis import Redis

from riskline.shared.domain.lifecycle import Status
from riskline.shared.errors import LifecycleError
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.listing import Entry
from riskline.shared.store.records import Record, readable, replayed

BATCH = 256
"""Transactions in one call: no call holds up Redis for more than a few milliseconds."""


class Failure(NamedTuple):
    """A failed transaction, its time of failure in seconds since 1970, and its record."""

    transaction_id: str
    failed_at: float
    record: Record

    @property
    def reason(self) -> str:
        """The reason for the failure."""
        return str(self.record.get("error", "unknown"))


class ReplayResult(NamedTuple):
    """The outcome of a replay."""

    replayed: list[str]
    not_failed: list[str]
    """Ids that are not failed now, or whose record has expired or is malformed."""


class Failures:
    """The failed transactions in Redis; every method raises StoreUnavailableError where Redis fails."""

    def __init__(self, redis: Redis, *, keys: Keys = FIRST) -> None:
        self._redis = redis
        self._keys = keys

    def read(self, entries: Sequence[Entry]) -> Iterator[Failure | None]:
        """The failure of each transaction; None where its record has expired or it is not failed now."""
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            records = map(readable, self._read([transaction_id for _, transaction_id in part]))
            for (failed_at, transaction_id), record in zip(part, records, strict=True):
                if record is None or record.get("status") != Status.FAILED:
                    yield None
                else:
                    yield Failure(transaction_id, failed_at, record)

    def ids(self) -> list[str]:
        """All failed transactions, oldest first."""
        with redis_faults_named():
            found: Any = self._redis.zrange(self._keys.failed, 0, -1)
        return [each.decode(errors="replace") for each in found]

    def replay(self, transaction_ids: Sequence[str]) -> ReplayResult:
        """Queues the failed ones among up to BATCH transactions again."""
        before = dict(zip(transaction_ids, self._read(transaction_ids), strict=True))
        args: list[scripts.Arg] = [self._keys.transaction_prefix]
        wanted: dict[str, bytes] = {}
        for transaction_id, raw in before.items():
            record = readable(raw)
            if raw is not None and record is not None and record.get("status") == Status.FAILED:
                # one that cannot be written is reported as not replayed; the others are replayed
                with suppress(LifecycleError):
                    wanted[transaction_id] = replayed(record)
                    args += (transaction_id, raw, wanted[transaction_id])
        names = [self._keys.undecided, self._keys.waiting, self._keys.failed, self._keys.totals]
        with redis_faults_named():
            answers = scripts.run(self._redis, "replay", names, args)
        done = [transaction_id for transaction_id, answer in zip(wanted, answers, strict=True) if answer]
        if len(done) < len(wanted):
            # a call whose answer was lost is repeated, and then finds its own work
            now = dict(zip(wanted, self._read(list(wanted)), strict=True))
            done = [each for each in wanted if each in set(done) or now[each] == wanted[each]]
        return ReplayResult(done, [each for each in before if each not in set(done)])

    def _read(self, transaction_ids: Sequence[str]) -> list[bytes | None]:
        if not transaction_ids:
            return []
        with redis_faults_named():
            found: Any = self._redis.mget([self._keys.transaction(each) for each in transaction_ids])
        return list(found)
