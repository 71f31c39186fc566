"""A store of several shards, for a worker: it claims from one shard at a time, in turn, and skips failed ones."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.interfaces import NOTHING, Claim, SweepResult
from riskline.shared.store.records import Outcome
from riskline.shared.store.redis_queue import RedisQueue
from riskline.shared.store.sharding.sharded_store import Route
from riskline.shared.store.sharding.shards import by_shard

TURN_BATCHES = 4
"""Claims from one shard in a row while transactions wait in another: several, since a claim after a decision shares its
round trip and its write to disk; and few, as 256 transactions take some ten milliseconds."""

WATCH_SECONDS = 1.0
"""The length of one blocking wait on a shard: below a client's timeout, beyond which an answer is an error."""

LOOK_SECONDS = 1.0

DOWN_PAUSE_SECONDS = 0.1
"""The pause between two checks of a failed shard."""


class ShardHealth:
    """The failed shards: each is skipped until a sweep or a watch has an answer from it."""

    def __init__(self) -> None:
        self._down: dict[int, str] = {}

    def failed(self, shard: int, problem: object) -> None:
        """The shard has failed."""
        self._down[shard] = str(problem)

    def works(self, shard: int) -> None:
        """The shard has answered."""
        self._down.pop(shard, None)

    def problem(self, shard: int) -> str | None:
        """The error of a failed shard; None where it works."""
        return self._down.get(shard)


class _Ready:
    """A queue of shards with waiting transactions, each once."""

    def __init__(self) -> None:
        self._shards: dict[int, None] = {}
        self._changed = threading.Condition()

    def __contains__(self, shard: int) -> bool:
        return shard in self._shards

    @property
    def empty(self) -> bool:
        """True where no shard is queued."""
        return not self._shards

    def put(self, shard: int) -> None:
        """Appends the shard unless it is queued already."""
        with self._changed:
            self._shards.setdefault(shard)
            self._changed.notify()

    def take(self, *, wait_seconds: float = 0.0) -> int | None:
        """The next shard; None where there is none in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._shards, wait_seconds):
                return None
            shard = next(iter(self._shards))
            del self._shards[shard]
            return shard


class _Watch:
    """A thread that waits for transactions in a shard. Once it has seen one, it rests until armed again."""

    def __init__(self, shard: int, queue: RedisQueue, *, health: ShardHealth, ready: _Ready) -> None:
        self.armed = threading.Event()
        self._shard = shard
        self._queue = queue
        self._health = health
        self._ready = ready
        self._thread = threading.Thread(target=self._run, name=f"watch {shard}", daemon=True)

    def arm(self) -> None:
        """Starts the watch, or resumes it."""
        if not self._thread.is_alive():
            self._thread.start()
        self.armed.set()

    def _run(self) -> None:
        while True:
            self.armed.wait()
            if self._health.problem(self._shard) is not None:
                time.sleep(DOWN_PAUSE_SECONDS)
                continue
            try:
                found = self._queue.wait(WATCH_SECONDS)
            except StoreUnavailableError as error:
                self._health.failed(self._shard, error)
                continue
            if found and self.armed.is_set():
                self.armed.clear()
                self._ready.put(self._shard)


class ShardedQueue:
    """TransactionQueue over all shards, by their number; for one thread."""

    def __init__(
        self, parts: Sequence[RedisQueue], *, route: Route, health: ShardHealth, claims_elsewhere: bool = False
    ) -> None:
        """`claims_elsewhere`: the worker claims through another ShardedQueue, so any shard may have its claims."""
        self._parts = tuple(parts)
        self._route = route
        self._health = health
        self._ready = _Ready()
        self._watches = [
            _Watch(number, part, health=health, ready=self._ready) for number, part in enumerate(self._parts)
        ]
        self._claims_elsewhere = claims_elsewhere
        self._holding: set[int] = set()
        """Shards that may have claims of this worker."""
        self._claimed_from = 0
        self._watching = False
        self._looked_at = time.monotonic()
        self._batches = 0

    def claim(self, worker: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claim:
        """See TransactionQueue; a claim is of one shard. Raises where every shard fails."""
        if wait_seconds > 0:
            claimed = self._wait(worker, count, lease_seconds, time.monotonic() + wait_seconds)
        else:
            for shard in range(len(self._parts)):
                self._ready.put(shard)
            claimed = self._next(worker, count, lease_seconds)
        problems = [self._health.problem(shard) for shard in range(len(self._parts))]
        if not claimed.rows and None not in problems:
            raise StoreUnavailableError(str(problems[0]))
        return claimed

    def _wait(self, worker: str, count: int, lease_seconds: float, deadline: float) -> Claim:
        self._watching = True
        for shard, watch in enumerate(self._watches):
            if shard not in self._ready:
                watch.arm()
        while (left := deadline - time.monotonic()) > 0:
            self._look_at_all()
            ready = self._ready.take(wait_seconds=left)
            if ready is not None:
                claimed = self._claim(ready, worker, count, lease_seconds)
                if claimed.rows:
                    return claimed
        return NOTHING

    def _look_at_all(self) -> None:
        """Queues every shard once a second, for what no watch sees: suspects, and this worker's own claims."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            for shard in range(len(self._parts)):
                self._ready.put(shard)

    def decide(self, worker: str, outcomes: Sequence[Outcome]) -> int:
        """See TransactionQueue."""
        mine = by_shard(outcomes, lambda outcome: self._route(outcome.transaction_id))
        return sum(self._parts[number].decide(worker, part) for number, part in mine.items())

    def decide_and_claim(
        self, worker: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claim]:
        """See TransactionQueue; the outcomes are those of a claim, and so of one shard.

        Where the shard fails, its claims are decided when it is back, and the others go on.
        """
        self._look_at_all()
        shard = self._route(outcomes[0].transaction_id)
        stays = self._batches < TURN_BATCHES or self._ready.empty
        decided, claimed = 0, NOTHING
        try:
            if stays:
                decided, claimed = self._parts[shard].decide_and_claim(
                    worker, outcomes, count=count, lease_seconds=lease_seconds
                )
            else:
                decided = self._parts[shard].decide(worker, outcomes)
        except StoreUnavailableError as error:
            self._health.failed(shard, error)
            self._watch_again(shard)
        else:
            if claimed.rows:
                self._batches += 1
                return decided, claimed
            self._holding.discard(shard)
            if stays:
                self._watch_again(shard)
            else:
                self._ready.put(shard)
        return decided, self._next(worker, count, lease_seconds)

    def sweep(self, worker: str, *, lease_seconds: float, turn_seconds: float) -> SweepResult:
        """See TransactionQueue; one shard after the other. A worker uses one thread for each shard instead."""
        waiting, gone = 0, defaultdict[str, int](int)
        for part in self._parts:
            swept = part.sweep(worker, lease_seconds=lease_seconds, turn_seconds=turn_seconds)
            waiting += swept.waiting
            for name, held in swept.gone.items():
                gone[name] += held
        return SweepResult(waiting, dict(gone))

    def leave(self, worker: str, *, ends: bool = False, last: bool = False) -> int:
        """See TransactionQueue; skips a failed shard, and raises where the worker has claims there.

        `last` applies to the last claim, and so to one shard.
        """
        if last:
            return self._give_back_last(worker)
        self._watching = False
        for watch in self._watches:
            watch.armed.clear()
        given_back, fault = 0, None
        for number, part in enumerate(self._parts):
            problem = self._health.problem(number)
            try:
                if problem is not None:
                    if number in self._holding or (self._claims_elsewhere and not ends):
                        fault = StoreUnavailableError(problem)
                    continue
                given_back += part.leave(worker, ends=ends)
            except StoreUnavailableError as error:
                self._health.failed(number, error)
                fault = error
            else:
                self._holding.discard(number)
        if fault is not None:
            raise fault
        return given_back

    def _give_back_last(self, worker: str) -> int:
        shard = self._claimed_from
        try:
            given_back = self._parts[shard].leave(worker, last=True)
        except StoreUnavailableError as error:
            # its claims are given back when it is back
            self._health.failed(shard, error)
            given_back = 0
        else:
            self._holding.discard(shard)
            self._ready.put(shard)
        return given_back

    def _next(self, worker: str, count: int, lease_seconds: float) -> Claim:
        """The claim of the next queued shard."""
        while (shard := self._ready.take()) is not None:
            claimed = self._claim(shard, worker, count, lease_seconds)
            if claimed.rows:
                return claimed
        return NOTHING

    def _claim(self, shard: int, worker: str, count: int, lease_seconds: float) -> Claim:
        if self._health.problem(shard) is not None:
            return NOTHING
        self._holding.add(shard)
        try:
            claimed = self._parts[shard].claim(worker, count=count, lease_seconds=lease_seconds)
        except StoreUnavailableError as error:
            self._health.failed(shard, error)
            return NOTHING
        if claimed.rows:
            self._batches, self._claimed_from = 1, shard
        else:
            self._holding.discard(shard)
            self._watch_again(shard)
        return claimed

    def _watch_again(self, shard: int) -> None:
        """Arms the shard's watch, if it has one: a claim that does not wait needs no thread."""
        if self._watching:
            self._watches[shard].arm()
