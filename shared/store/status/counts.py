"""The counts of transactions, now and in total, at one moment, and the rules between them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from riskline.shared.store import scripts
from riskline.shared.store.keys import Keys

MOST_FAILURES = 10
"""Failed attempts in a row after which a host is paused."""

OVERDUE_MS = 30_000


class Counts(NamedTuple):
    """Totals of what became of transactions, and the current state of the undecided ones."""

    accepted: int = 0
    replayed: int = 0
    """Failed transactions that were queued again."""
    decided: int = 0
    failed: int = 0
    unreadable: int = 0
    """Undecided transactions whose record was missing or malformed when a worker claimed them."""
    recorded: int = 0
    """Recorded decisions of the synchronous door."""
    undecided: int = 0
    waiting: int = 0
    suspects: int = 0
    claimed: int = 0
    failed_now: int = 0
    fed: int | None = None
    """Decisions ever put into the feed; None where this Redis does not say."""
    workers: int = 0
    oldest_ms: int | None = None
    """The wait of the oldest undecided transaction, in ms; None where there is none."""

    callbacks_announced: int = 0
    callbacks_attempted: int = 0
    callbacks_delivered: int = 0
    callbacks_dead: int = 0
    """Callbacks ever given up."""
    callbacks_resent: int = 0
    """Delivered or dead callbacks that were sent again."""
    callbacks_superseded: int = 0
    """Pending callbacks that a later event's callback replaced."""
    callbacks_pending: int = 0
    callbacks_dead_now: int = 0
    callbacks_overdue_ms: int = 0
    """The time that a callback has been due without any delivery worker taking one, in ms."""
    receivers_paused: int = 0
    """Receivers that are paused, with one attempt now and then, because MOST_FAILURES in a row failed."""
    callbacks_held: int = 0
    """Callbacks that wait for the paused receivers."""

    @property
    def whole(self) -> bool:
        """True where the numbers cover the whole store."""
        return True

    @property
    def arrived(self) -> int:
        """Transactions ever queued for a decision."""
        return self.accepted + self.replayed

    @property
    def nobody_delivers(self) -> bool:
        """True where a callback has been due for longer than a lost worker's lease, and no worker has taken any."""
        return self.callbacks_overdue_ms > OVERDUE_MS

    def problems(self) -> list[str]:
        """Each rule that the numbers break, in words; empty where nothing was lost."""
        problems: list[str] = []
        if self.accepted + self.replayed != self.decided + self.failed + self.unreadable + self.undecided:
            problems.append(
                f"{self.accepted} accepted and {self.replayed} replayed are not {self.decided} decided, {self.failed} "
                f"failed, {self.unreadable} unreadable and {self.undecided} undecided"
            )
        if self.undecided > self.waiting + self.suspects + self.claimed:
            problems.append(
                f"of {self.undecided} undecided transactions only {self.waiting} wait, {self.suspects} are suspects "
                f"and {self.claimed} are claimed"
            )
        # fewer: the feed was deleted, or its count was not kept by the Redis 6.2 that wrote the file
        if self.fed is not None and self.fed > self.decided + self.recorded:
            problems.append(
                f"the feed was given {self.fed} decisions, not {self.decided} from the queue and {self.recorded} from "
                "the synchronous door"
            )
        ended = self.callbacks_delivered + self.callbacks_dead + self.callbacks_superseded
        if self.callbacks_announced + self.callbacks_resent != ended + self.callbacks_pending:
            problems.append(
                f"{self.callbacks_announced} callbacks and {self.callbacks_resent} resent ones are not "
                f"{self.callbacks_delivered} delivered, {self.callbacks_dead} dead, "
                f"{self.callbacks_superseded} superseded and {self.callbacks_pending} pending"
            )
        if self.unreadable:
            problems.append(
                f"when a worker came to {self.unreadable} accepted transactions, their records were gone: "
                "its log names them; submit them again, and see what else writes to this Redis, or evicts"
            )
        return problems


class PartialCounts(Counts):
    """The counts of a store with a shard that was never counted: its totals are unknown yet."""

    @property
    def whole(self) -> bool:
        """See Counts."""
        return False


def last_seen(counts: Counts) -> Counts:
    """The counts of a shard that is away: its workers and waiting times are unknown."""
    return counts._replace(workers=0, oldest_ms=None, callbacks_overdue_ms=0)


def together(shards: Sequence[Counts]) -> Counts:
    """The counts of the whole store, from those of its shards; each worker has a lease in each shard."""
    if len(shards) == 1:
        return shards[0]
    summed: dict[str, Any] = {
        name: sum(getattr(each, name) for each in shards) for name in Counts._fields if name not in NO_SUMS
    }
    ages = [each.oldest_ms for each in shards if each.oldest_ms is not None]
    fed = [each.fed for each in shards if each.fed is not None]
    return Counts(
        **summed,
        fed=sum(fed) if len(fed) == len(shards) else None,
        workers=max(each.workers for each in shards),
        oldest_ms=max(ages, default=None),
        callbacks_overdue_ms=max(each.callbacks_overdue_ms for each in shards),
        # each shard counts a receiver by itself, and most receivers have callbacks in all shards
        receivers_paused=max(each.receivers_paused for each in shards),
    )


NO_SUMS = {"fed", "workers", "oldest_ms", "callbacks_overdue_ms", "receivers_paused"}

TRANSACTION_TOTALS = ("accepted", "replayed", "decided", "failed", "unreadable", "recorded")
CALLBACK_TOTALS = (
    *("callbacks_announced", "callbacks_attempted", "callbacks_delivered"),
    *("callbacks_dead", "callbacks_resent", "callbacks_superseded"),
)
TOTALS = (*TRANSACTION_TOTALS, *CALLBACK_TOTALS)


def count_call(keys: Keys) -> scripts.Call:
    """The script call whose answer `counted` reads."""
    names = [keys.totals, keys.undecided, keys.waiting, keys.suspects, keys.workers, keys.failed, keys.feed]
    names += [keys.callbacks, keys.callbacks_dead, keys.callback_hosts, keys.callback_taken, keys.callback_gates]
    return "count", names, [keys.claimed_prefix, keys.callback_host_prefix, MOST_FAILURES]


def counted(answer: list[Any]) -> Counts:
    """The counts in the script's answer."""
    flat, *numbers = answer
    totals = {flat[i].decode(errors="replace"): _number(flat[i + 1]) for i in range(0, len(flat), 2)}
    undecided, waiting, suspects, claimed, failed_now, fed, workers, oldest_ms = (int(number) for number in numbers[:8])
    pending, dead_now, overdue_ms, paused, held = (int(number) for number in numbers[8:])
    return Counts(
        **{name: totals.get(name, 0) for name in TOTALS},
        undecided=undecided,
        waiting=waiting,
        suspects=suspects,
        claimed=claimed,
        failed_now=failed_now,
        fed=None if fed < 0 else fed,
        workers=workers,
        oldest_ms=None if oldest_ms < 0 else oldest_ms,
        callbacks_pending=pending,
        callbacks_dead_now=dead_now,
        callbacks_overdue_ms=overdue_ms,
        receivers_paused=paused,
        callbacks_held=held,
    )


def _number(raw: bytes) -> int:
    """The number of a field; 0 where another program wrote something else."""
    try:
        return int(raw)
    except ValueError:
        return 0
