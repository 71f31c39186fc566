"""The store's twin in memory: the same operations, for tests and for reading what the Lua does."""

import asyncio
import time
from collections.abc import Callable, Sequence

import orjson

from shared.errors import StoreUnavailableError
from shared.store.decisions import OLDEST, Cursor, Page
from shared.store.records import Outcome, Record, Submission
from shared.store.transactions import ACCEPTED, NO_ROOM, Claimed

LOOK_AGAIN_SECONDS = 0.001
"""How soon the twin sees a decision that it waits for: an append to a list wakes nobody."""


class MemoryStore:
    """TransactionIntake, TransactionQueue and Decisions in memory; `away` makes it fail like an absent Redis.

    Records are kept without an end: their TTL is Redis's own affair.
    """

    def __init__(self, *, queue_limit: int = 1_000_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.away = False
        self.records: dict[str, bytes] = {}
        self.undecided: set[str] = set()
        self.waiting: list[str] = []
        self.claimed: dict[str, list[str]] = {}
        self.claimers: dict[str, float] = {}
        self.feed: list[bytes] = []
        self.feed_trimmed = 0
        self._queue_limit = queue_limit
        self._clock = clock

    async def accept(self, submissions: Sequence[Submission]) -> list[Record]:
        """See TransactionIntake."""
        self._reach()
        return [self._accept(submission) for submission in submissions]

    def _accept(self, submission: Submission) -> Record:
        known = self.records.get(submission.transaction_id)
        if known is not None:
            record: Record = orjson.loads(known)
            return record
        if len(self.undecided) >= self._queue_limit:
            return NO_ROOM
        self.records[submission.transaction_id] = submission.record
        self.undecided.add(submission.transaction_id)
        self.waiting.append(submission.transaction_id)
        return ACCEPTED

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See TransactionIntake."""
        self._reach()
        return [self._load(transaction_id) for transaction_id in transaction_ids]

    async def record(self, outcomes: Sequence[Outcome]) -> int:
        """See TransactionIntake."""
        self._reach()
        new = 0
        for outcome in outcomes:
            if outcome.transaction_id not in self.records:
                self.records[outcome.transaction_id] = outcome.record
                self.feed.append(outcome.decision)
                new += 1
        return new

    def claim(self, claimer: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claimed:
        """See TransactionQueue; never waits."""
        del wait_seconds
        self._reach()
        self.claimers[claimer] = self._clock() + lease_seconds
        mine = self.claimed.setdefault(claimer, [])
        room = max(0, count - len(mine))
        mine += self.waiting[:room]
        del self.waiting[:room]
        return [(transaction_id, self._load(transaction_id)) for transaction_id in mine]

    def decide(self, claimer: str, outcomes: Sequence[Outcome]) -> int:
        """See TransactionQueue."""
        self._reach()
        decided = 0
        mine = self.claimed.get(claimer, [])
        for outcome in outcomes:
            if outcome.transaction_id in mine:
                mine.remove(outcome.transaction_id)
            if outcome.transaction_id in self.undecided:
                self.undecided.remove(outcome.transaction_id)
                decided += 1
                if outcome.record:
                    self.records[outcome.transaction_id] = outcome.record
                if outcome.decision:
                    self.feed.append(outcome.decision)
        return decided

    def decide_and_claim(
        self, claimer: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claimed]:
        """See TransactionQueue."""
        return self.decide(claimer, outcomes), self.claim(claimer, count=count, lease_seconds=lease_seconds)

    def sweep(self) -> tuple[int, int]:
        """See TransactionQueue."""
        self._reach()
        gone = [claimer for claimer, lease_end in self.claimers.items() if lease_end <= self._clock()]
        given_back = sum(self.leave(claimer) for claimer in gone)
        return given_back, len(self.waiting)

    def leave(self, claimer: str) -> int:
        """See TransactionQueue."""
        self._reach()
        self.claimers.pop(claimer, None)
        mine = self.claimed.pop(claimer, [])
        self.waiting[:0] = mine
        return len(mine)

    async def page(self, after: Cursor, *, limit: int) -> Page | None:
        """See Decisions; an entry's id is its number from 1, and `feed_trimmed` says how many have left the feed."""
        self._reach()
        seen = 0 if after == OLDEST else after.milliseconds - self.feed_trimmed
        if after != OLDEST and not (after.sequence == 0 and 0 < seen <= len(self.feed)):
            return None
        decisions = self.feed[seen : seen + limit]
        end = Cursor(self.feed_trimmed + seen + len(decisions), 0)
        return Page(decisions, end if decisions else after)

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
        record = self.records.get(transaction_id)
        return None if record is None else orjson.loads(record)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("Redis: away")
