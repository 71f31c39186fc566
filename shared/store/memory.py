"""The store in memory: the same operations, for tests and as a readable version of the Lua scripts."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from itertools import takewhile

import orjson

from riskline.shared.domain.lifecycle import CallbackStatus, Status
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.failures import ReplayResult
from riskline.shared.store.feed import OLDEST, Cursor, Page, named
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
from riskline.shared.store.records import Outcome, Record, Submission, decoded, erased, readable, replayed
from riskline.shared.store.status.counts import TOTALS, Counts

LOOK_AGAIN_SECONDS = 0.001
"""The poll interval of a wait for a decision."""


class MemoryStore:
    """TransactionIntake, TransactionQueue and Decisions in memory; `away` makes every call fail like an absent Redis.

    Records never expire.
    """

    def __init__(self, *, queue_limit: int = 1_000_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.away = False
        self.records: dict[str, bytes] = {}
        self.undecided: set[str] = set()
        self.waiting: list[str] = []
        self.suspects: list[str] = []
        self.losses: dict[str, int] = {}
        self.lost_until = -math.inf
        self.claimed: dict[str, list[str]] = {}
        self.workers: dict[str, float] = {}
        self.sweeper: tuple[str, float] | None = None
        self.failed: set[str] = set()
        self.totals = dict.fromkeys(TOTALS, 0)
        self.callbacks: dict[str, dict[bytes, bytes]] = {}
        """Announced and never delivered: this store has no delivery worker."""
        self.feed: list[bytes] = []
        self.feed_trimmed = 0
        self._queue_limit = queue_limit
        self._clock = clock

    async def accept(self, submissions: Sequence[Submission]) -> list[Stored]:
        """See TransactionIntake."""
        self._reach()
        return [self._accept(submission) for submission in submissions]

    def _accept(self, submission: Submission) -> Stored:
        known = self.records.get(submission.transaction_id)
        if known is not None:
            record: Record = orjson.loads(known)
            return record
        if len(self.undecided) >= self._queue_limit:
            return NO_ROOM
        self.records[submission.transaction_id] = submission.record
        self.undecided.add(submission.transaction_id)
        self.waiting.append(submission.transaction_id)
        self.totals["accepted"] += 1
        return ACCEPTED

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See TransactionIntake."""
        self._reach()
        return [self._load(transaction_id) for transaction_id in transaction_ids]

    async def callback(self, transaction_id: str) -> dict[bytes, bytes] | None:
        """See TransactionIntake."""
        self._reach()
        return self.callbacks.get(transaction_id)

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Stored]:
        """See TransactionIntake."""
        self._reach()
        return [self._record(outcome, wanted=wanted) for outcome in outcomes]

    def _record(self, outcome: Outcome, *, wanted: bool) -> Stored:
        known = self._load(outcome.transaction_id)
        if known is not None:
            return known if wanted else NO_ROOM
        self.records[outcome.transaction_id] = outcome.record
        self.feed.append(outcome.decision)
        self.totals["recorded"] += 1
        return ACCEPTED

    async def decide_queued(self, outcome: Outcome) -> bool:
        """See TransactionIntake."""
        return self.decide(NOBODY, [outcome]) == 1

    async def erase(self, transaction_id: str, *, erased_at: str) -> Erasure:
        """See TransactionIntake."""
        self._reach()
        record = self._load(transaction_id)
        if record is None or record["status"] == Status.QUEUED:
            return Erasure.UNKNOWN if record is None else Erasure.QUEUED
        self.records[transaction_id] = erased(record, erased_at=erased_at)
        self.callbacks.pop(transaction_id, None)
        self.failed.discard(transaction_id)
        mine = named(transaction_id)
        self.feed = [b"" if mine in decision else decision for decision in self.feed]
        return Erasure.DONE

    async def count(self) -> Counts:
        """See TransactionIntake."""
        self._reach()
        return Counts(
            **self.totals,
            undecided=len(self.undecided),
            waiting=len(self.waiting),
            suspects=len(self.suspects),
            claimed=sum(len(self.claimed.get(worker, ())) for worker in self.workers),
            failed_now=len(self.failed),
            fed=self.feed_trimmed + len(self.feed),
            workers=sum(lease_end > self._clock() for lease_end in self.workers.values()),
            oldest_ms=0 if self.undecided else None,
            callbacks_pending=len(self.callbacks),
        )

    def claim(self, worker: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claim:
        """See TransactionQueue; never waits."""
        del wait_seconds
        self._reach()
        self.workers[worker] = self._clock() + lease_seconds
        mine = self.claimed.setdefault(worker, [])
        if not mine:
            mine += self._next_suspects(count)
        losses = self.losses.get(mine[0], 0) if mine else 0
        if not losses:
            room = max(0, count - len(mine))
            mine += self.waiting[:room]
            del self.waiting[:room]
        rows = [(each, decoded(self.records.get(each))) for each in mine]
        return Claim(rows, losses, lost_of_late=not losses and self._clock() < self.lost_until)

    def _next_suspects(self, count: int) -> list[str]:
        losses = [self.losses.get(each, 0) for each in self.suspects[: max(1, count)]]
        if not losses or losses[0] == 0:
            number = len(losses[:1])
        elif losses[0] > 1:
            number = int(int(self._clock()) % 2 == 0 or not self.waiting)
        else:
            number = len(list(takewhile(lambda lost: lost == 1, losses)))
        taken = self.suspects[:number]
        del self.suspects[:number]
        return taken

    def decide(self, worker: str, outcomes: Sequence[Outcome]) -> int:
        """See TransactionQueue."""
        self._reach()
        decided = 0
        mine = self.claimed.get(worker, [])
        for outcome in outcomes:
            if outcome.transaction_id in mine:
                mine.remove(outcome.transaction_id)
            if outcome.transaction_id in self.undecided and not self._comes_late(outcome):
                self.undecided.remove(outcome.transaction_id)
                self.losses.pop(outcome.transaction_id, None)
                self._decide(outcome)
                decided += 1
        return decided

    def _comes_late(self, outcome: Outcome) -> bool:
        """True where the outcome is of an earlier try; the later try has its own place in the queue."""
        now = decoded(self.records.get(outcome.transaction_id)) or {}
        if outcome.decision or not outcome.record:
            return not outcome.decision and now.get("status") == Status.QUEUED
        return bool(now) and bool(now.get("replays", 0) != orjson.loads(outcome.record).get("replays", 0))

    def _decide(self, outcome: Outcome) -> None:
        if outcome.record:
            self.records[outcome.transaction_id] = outcome.record
        if outcome.decision:
            self.feed.append(outcome.decision)
            self.totals["decided"] += 1
        elif outcome.record:
            self.failed.add(outcome.transaction_id)
            self.totals["failed"] += 1
        else:
            self.totals["unreadable"] += 1
        if outcome.callback is not None:
            self.totals["callbacks_superseded"] += outcome.transaction_id in self.callbacks
            self.totals["callbacks_announced"] += 1
            host, message_id, event = outcome.callback
            self.callbacks[outcome.transaction_id] = {
                b"id": message_id.encode(),
                b"host": host.encode(),
                b"event": event,
                b"status": CallbackStatus.PENDING.encode(),
            }

    def decide_and_claim(
        self, worker: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claim]:
        """See TransactionQueue."""
        return self.decide(worker, outcomes), self.claim(worker, count=count, lease_seconds=lease_seconds)

    def sweep(self, worker: str, *, lease_seconds: float, turn_seconds: float) -> SweepResult:
        """See TransactionQueue."""
        self._reach()
        now = self._clock()
        self.workers[worker] = now + lease_seconds
        if self.sweeper is not None:
            whose, at = self.sweeper
            if whose != worker and now - at < turn_seconds:
                return SweepResult(0, {})
            if now - at > 2 * turn_seconds:
                overdue = [name for name, lease_end in self.workers.items() if lease_end <= now]
                self.workers.update(dict.fromkeys(overdue, now + lease_seconds / 2))
        self.sweeper = (worker, now)
        lost = sorted((lease_end, name) for name, lease_end in self.workers.items() if lease_end <= now)
        gone = {name: self._lose(name) for _, name in lost}
        return SweepResult(len(self.waiting) + len(self.suspects), gone)

    def _lose(self, worker: str) -> int:
        del self.workers[worker]
        held = [each for each in self.claimed.pop(worker, []) if each in self.undecided]
        for transaction_id in reversed(held):
            self.losses[transaction_id] = self.losses.get(transaction_id, 0) + 1
            self.suspects.insert(0 if self.losses[transaction_id] == 1 else len(self.suspects), transaction_id)
        if held:
            self.lost_until = self._clock() + LOST_OF_LATE_SECONDS
        return len(held)

    def leave(self, worker: str, *, ends: bool = False, last: bool = False) -> int:
        """See TransactionQueue."""
        self._reach()
        mine = self.claimed.pop(worker, [])
        for transaction_id in mine if last else reversed(mine):
            line = self.suspects if transaction_id in self.losses and not last else self.waiting
            line.insert(len(line) if last else 0, transaction_id)
        if ends:
            self.workers.pop(worker, None)
        return len(mine)

    def replay(self, transaction_ids: Sequence[str]) -> ReplayResult:
        """See Failures."""
        self._reach()
        done: list[str] = []
        for transaction_id in dict.fromkeys(transaction_ids):
            record = self._load(transaction_id)
            if record is not None and record["status"] == Status.FAILED:
                self.records[transaction_id] = replayed(record)
                self.undecided.add(transaction_id)
                self.waiting.append(transaction_id)
                self.failed.remove(transaction_id)
                self.totals["replayed"] += 1
                done.append(transaction_id)
        return ReplayResult(done, [each for each in dict.fromkeys(transaction_ids) if each not in done])

    async def page(self, after: Cursor, *, limit: int) -> Page | None:
        """See Decisions; an entry's id is its number from 1, and `feed_trimmed` says how many have left the feed."""
        self._reach()
        seen = 0 if after == OLDEST else after.milliseconds - self.feed_trimmed
        if after != OLDEST and not (after.sequence == 0 and 0 < seen <= len(self.feed)):
            return None
        decisions = self.feed[seen : seen + limit]
        end = Cursor(self.feed_trimmed + seen + len(decisions), 0)
        return Page([each for each in decisions if each], end if decisions else after)

    async def newest(self) -> Cursor:
        """See Decisions."""
        self._reach()
        return Cursor(self.feed_trimmed + len(self.feed), 0) if self.feed else OLDEST

    async def wait_for_more(self, after: Cursor, *, timeout_seconds: float) -> bool:
        """See Decisions."""
        deadline = time.monotonic() + timeout_seconds
        while await self.newest() <= after and time.monotonic() < deadline:  # noqa: ASYNC110  # see LOOK_AGAIN_SECONDS
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return await self.newest() > after

    async def close(self) -> None:
        """See Decisions; there is nothing to let go of."""

    def _load(self, transaction_id: str) -> Record | None:
        return readable(self.records.get(transaction_id))

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("Redis: away")
