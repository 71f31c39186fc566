"""The store's twin in memory: the same operations, for tests and for reading what the Lua does."""

import time
from collections.abc import Callable, Sequence

import orjson

from shared.errors import StoreUnavailableError
from shared.store.records import Outcome, Record, Submission
from shared.store.transactions import ACCEPTED, NO_ROOM


class MemoryStore:
    """TransactionIntake and TransactionQueue in one process's memory; `away` makes it fail like an absent Redis.

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

    def claim(self, claimer: str, *, count: int, lease_seconds: float) -> list[tuple[str, Record | None]]:
        """See TransactionQueue."""
        self._reach()
        self.claimers[claimer] = self._clock() + lease_seconds
        mine = self.claimed.setdefault(claimer, [])
        room = max(0, count - len(mine))
        mine += self.waiting[:room]
        del self.waiting[:room]
        return [(transaction_id, self._load(transaction_id)) for transaction_id in mine]

    def wait(self, *, timeout_seconds: float) -> bool:
        """See TransactionQueue; never blocks."""
        del timeout_seconds
        self._reach()
        return bool(self.waiting)

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

    def _load(self, transaction_id: str) -> Record | None:
        record = self.records.get(transaction_id)
        return None if record is None else orjson.loads(record)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("Redis: away")
