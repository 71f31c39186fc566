"""The store for an operator, over all shards: failures, callbacks and consistency."""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from redis import Redis

from riskline.shared.store.callbacks import CallbackRecords, PausedReceiver
from riskline.shared.store.failures import BATCH, Failure, Failures, ReplayResult
from riskline.shared.store.listing import Entry, Listing, Listings
from riskline.shared.store.sharding.shards import all_keys, by_shard, shard_of
from riskline.shared.store.status.consistency import Audit
from riskline.shared.store.status.counts import Counts


class AllFailures:
    """Failures over those of all shards, by their number."""

    def __init__(self, store: Sequence[Redis]) -> None:
        self._route = partial(shard_of, shards=len(store))
        shards = list(zip(store, all_keys(len(store)), strict=True))
        self._parts = [Failures(redis, keys=keys) for redis, keys in shards]
        self.listing = Listings([Listing(redis, keys.failed) for redis, keys in shards])
        """By time of failure, in s."""

    def count(self) -> int:
        """The number of failures; a few of them may have expired since."""
        return self.listing.count()

    def newest(self, limit: int) -> list[Failure]:
        """The latest failures, newest first."""
        return [failure for failure in self.read(self.listing.back(None, limit)) if failure is not None]

    def read(self, entries: Sequence[Entry]) -> list[Failure | None]:
        """See Failures; in the order of the entries."""
        kept = {
            each.transaction_id: each
            for number, mine in by_shard(entries, lambda entry: self._route(entry.transaction_id)).items()
            for each in self._parts[number].read(mine)
            if each is not None
        }
        return [kept.get(entry.transaction_id) for entry in entries]

    def ids(self) -> list[str]:
        """All failed transactions, of each shard oldest first."""
        return [each for part in self._parts for each in part.ids()]

    def replay(self, transaction_ids: Sequence[str]) -> ReplayResult:
        """Queues the failed ones among these transactions again, in batches."""
        done = ReplayResult([], [])
        for number, mine in by_shard(transaction_ids, self._route).items():
            for start in range(0, len(mine), BATCH):
                replayed = self._parts[number].replay(mine[start : start + BATCH])
                done.replayed.extend(replayed.replayed)
                done.not_failed.extend(replayed.not_failed)
        return done


def undecided_of(store: Sequence[Redis]) -> Listings:
    """The undecided transactions of all shards, by time of acceptance."""
    shards = zip(store, all_keys(len(store)), strict=True)
    return Listings([Listing(redis, keys.undecided) for redis, keys in shards])


class AllCallbacks:
    """CallbackRecords over those of the shards, by their number."""

    def __init__(self, store: Sequence[Redis]) -> None:
        self._route = partial(shard_of, shards=len(store))
        shards = list(zip(store, all_keys(len(store)), strict=True))
        self._parts = [CallbackRecords(redis, keys=keys) for redis, keys in shards]
        self.pending_listing = Listings([Listing(redis, keys.callbacks) for redis, keys in shards])
        """By the time of their event, or of the last resend, in ms."""
        self.dead_listing = Listings([Listing(redis, keys.callbacks_dead) for redis, keys in shards])
        """By the time they were given up, in ms."""

    def counts(self) -> tuple[int, int]:
        """See CallbackRecords."""
        counts = [part.counts() for part in self._parts]
        return sum(pending for pending, _ in counts), sum(dead for _, dead in counts)

    def paused(self) -> list[PausedReceiver]:
        """The paused receivers, those with the most waiting callbacks first."""
        hosts: dict[str, PausedReceiver] = {}
        for each in (each for part in self._parts for each in part.paused()):
            other = hosts.get(each.host)
            hosts[each.host] = each if other is None else _of_both(each, other)
        return sorted(hosts.values(), key=lambda each: (-each.waiting, each.host))

    def pending(self, limit: int) -> list[str]:
        """See CallbackRecords."""
        oldest = heapq.merge(*(part.pending(limit) for part in self._parts))
        return [transaction_id for _, transaction_id in islice(oldest, limit)]

    def dead(self, limit: int) -> list[str]:
        """The transactions with a dead callback, newest first; a few may have expired since."""
        return [entry.transaction_id for entry in self.dead_listing.back(None, limit)]

    def all_dead(self) -> list[str]:
        """All transactions with a dead callback, of each shard oldest first."""
        return [each for part in self._parts for each in part.all_dead()]

    def read(self, transaction_ids: Sequence[str]) -> Iterator[tuple[str, Mapping[bytes, bytes]]]:
        """See CallbackRecords; in the order of the ids."""
        kept = dict(
            each
            for number, mine in by_shard(transaction_ids, self._route).items()
            for each in self._parts[number].read(mine)
        )
        return ((each, kept[each]) for each in transaction_ids if each in kept)

    def tried(self, transaction_ids: Sequence[str]) -> list[str]:
        """See CallbackRecords."""
        return [
            each
            for number, mine in by_shard(transaction_ids, self._route).items()
            for each in self._parts[number].tried(mine)
        ]

    def resend(self, transaction_ids: Sequence[str]) -> list[str]:
        """See CallbackRecords."""
        return [
            each
            for number, mine in by_shard(transaction_ids, self._route).items()
            for each in self._parts[number].resend(mine)
        ]


def _of_both(one: PausedReceiver, other: PausedReceiver) -> PausedReceiver:
    """One receiver out of two shards' accounts of it."""
    return PausedReceiver(
        one.host,
        max(one.failures, other.failures),
        one.waiting + other.waiting,
        min(one.next_attempt_ms, other.next_attempt_ms),
    )


class AllAudits:
    """Audit over those of the shards, by their number."""

    def __init__(self, store: Sequence[Redis], *, pause: Callable[[float], None] = time.sleep) -> None:
        self._route = partial(shard_of, shards=len(store))
        keys = all_keys(len(store))
        self._parts = [Audit(redis, keys=mine, pause=pause) for redis, mine in zip(store, keys, strict=True)]

    def counts(self) -> list[Counts]:
        """The journal of each shard, at one moment each."""
        return [part.counts() for part in self._parts]

    def out_of_line(self) -> set[str]:
        """See Audit."""
        return set().union(*(part.out_of_line() for part in self._parts))

    def without_record(self) -> set[str]:
        """See Audit."""
        return set().union(*(part.without_record() for part in self._parts))

    def callbacks_out_of_line(self) -> set[str]:
        """See Audit."""
        return set().union(*(part.callbacks_out_of_line() for part in self._parts))

    def callbacks_without_record(self) -> set[str]:
        """See Audit."""
        return set().union(*(part.callbacks_without_record() for part in self._parts))

    def put_in_line(self, transaction_ids: set[str]) -> None:
        """See Audit."""
        for number, mine in by_shard(transaction_ids, self._route).items():
            self._parts[number].put_in_line(set(mine))
