"""The sweeper: once a second, beside the jobs, it renews leases, recovers claims, swaps models and watches batches."""

import faulthandler
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.model.serving import Serving
from riskline.shared.outage import Outage
from riskline.shared.process.jobs import Tickets
from riskline.shared.store.callbacks import CallbackRecords
from riskline.shared.store.interfaces import TransactionQueue
from riskline.shared.store.sharding.sharded_queue import ShardHealth
from riskline.worker.scoring.drain import LEASE_SECONDS
from riskline.worker.scoring.pulse import Pulse

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0

TURN_SECONDS = 1.5
"""The time a worker keeps the turn to sweep: it renews it every second, and another takes over soon if it dies."""

HANGS_ROUNDS = 30
"""Rounds with the same batch at work after which it counts as hanging: 256 rows take milliseconds, and a slow
class of a team's own a few seconds. Rounds, not seconds: a process that was stopped, and goes on, does not hang."""


class Rounds:
    """A thread that runs one round a second; an outage of Redis is waited out."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.outage = Outage(log, failing="Redis is away", back="Redis is back")
        self._sign: Callable[[], None] = lambda: None

    def start(self, sign: Callable[[], None] = lambda: None) -> None:
        """Starts the thread; it calls `sign` after each round that ends, also after one that failed."""
        self._sign = sign
        self._thread.start()

    def end_soon(self) -> None:
        """Lets the thread end after its round."""
        self._stop.set()

    def stop(self) -> None:
        """Ends the thread."""
        self.end_soon()
        self._thread.join()

    def round(self) -> None:
        """Runs once a second.

        Raises:
            StoreUnavailableError: Redis failed; the next round tries again.
        """
        raise NotImplementedError

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
                self.outage.over()
            except StoreUnavailableError as error:
                self.outage.failed(error)
            except Exception:
                # the thread must outlive a bug: it recovers lost claims
                log.exception("a sweeper round failed")
            self._show_life()
            self._stop.wait(INTERVAL_SECONDS)

    def _show_life(self) -> None:
        try:
            self._sign()
        except OSError as error:
            # the health check reports it
            log.debug("the alive file could not be touched", problem=error.strerror)


class SideBySide(Rounds):
    """Several rounds in threads of their own; they show life together, so not where one of them hangs."""

    def __init__(self, rounds: Sequence[Rounds]) -> None:
        super().__init__("none")
        self._rounds = tuple(rounds)
        self._showing = threading.Lock()
        self._unseen = set(range(len(self._rounds)))

    def start(self, sign: Callable[[], None] = lambda: None) -> None:
        """Starts all threads; `sign` is called once each of them has ended a round since the last call."""
        self._sign = sign
        for number, each in enumerate(self._rounds):
            each.start(partial(self._seen, number))

    def _seen(self, number: int) -> None:
        """Notes the end of a round; shows life once all have ended one since the last time."""
        with self._showing:
            self._unseen.discard(number)
            if self._unseen:
                return
            self._unseen.update(range(len(self._rounds)))
        self._sign()

    def end_soon(self) -> None:
        """Lets all threads end after their rounds."""
        for each in self._rounds:
            each.end_soon()

    def stop(self) -> None:
        """Ends all threads; several that wait for Redis wait at the same time."""
        self.end_soon()
        for each in self._rounds:
            each.stop()


class CallbackSweeper(Rounds):
    """Enqueues a ticket where a callback is due."""

    def __init__(
        self, callbacks: CallbackRecords, tickets: Tickets, *, tell: Callable[[], None] = lambda: None
    ) -> None:
        """`tell` is called once a second and at the end, and raises nothing."""
        super().__init__("sweeper")
        self._callbacks = callbacks
        self._tickets = tickets
        self._tell = tell

    def stop(self) -> None:
        """Ends the thread."""
        super().stop()
        self._tell()

    def round(self) -> None:
        """See Rounds."""
        self._tell()
        if self._callbacks.overdue():
            self._tickets.ensure()


class ShardSweeper(Rounds):
    """Gives back lost workers' claims in one shard of several, and notices when the shard works again."""

    def __init__(
        self, shard: int, *, worker: str, queue: TransactionQueue, tickets: Tickets, health: ShardHealth
    ) -> None:
        super().__init__(f"sweeper {shard}")
        self.outage = Outage(log, failing=f"shard {shard} is away", back=f"shard {shard} is back")
        self._shard = shard
        self._worker = worker
        self._queue = queue
        self._tickets = tickets
        self._health = health

    def round(self) -> None:
        """See Rounds."""
        try:
            # a lost worker is lost in each shard: logged once, and where its claims are retried
            waiting = _swept(self._queue, self._worker, tells_of_none=self._shard == 0)
        except StoreUnavailableError as error:
            self._health.failed(self._shard, error)
            raise
        self._health.works(self._shard)
        if waiting:
            self._tickets.ensure()


def _swept(queue: TransactionQueue, worker: str, *, tells_of_none: bool = True) -> int:
    """Gives back lost workers' claims; returns the number of waiting transactions, 0 where it was another's turn."""
    swept = queue.sweep(worker, lease_seconds=LEASE_SECONDS, turn_seconds=TURN_SECONDS)
    for name, held in swept.gone.items():
        if held or tells_of_none:
            log.warning("a worker was lost; its claims are retried", worker=name, transactions=held)
    return swept.waiting


class Steps(NamedTuple):
    """The steps beside the sweeps."""

    first: Callable[[], None] = lambda: None
    """Done once Redis is reached; it may raise StoreUnavailableError, and is then done again in the next round."""
    each: Callable[[], None] = lambda: None
    """Done in each round; it raises nothing."""
    last: Callable[[], None] = lambda: None
    """Done at the end; it raises nothing."""


NO_STEPS = Steps()


class Sweeper(Rounds):
    """Makes sure that every accepted transaction is decided where a worker, a ticket or Redis is lost."""

    def __init__(
        self,
        *,
        worker: str,
        queue: TransactionQueue,
        tickets: Tickets,
        serving: Serving,
        pulse: Pulse,
        steps: Steps = NO_STEPS,
        shards: Sequence[ShardSweeper] = (),
    ) -> None:
        """Each of several `shards` is swept in a thread of its own: a slow one must not cost the others a lease."""
        super().__init__("sweeper")
        self._worker = worker
        self._queue = queue
        self._tickets = tickets
        self._serving = serving
        self._pulse = pulse
        self._steps = steps
        self._is_first = True
        self._shards = tuple(shards)
        self._batch = self._rounds = 0

    def start(self, sign: Callable[[], None] = lambda: None) -> None:
        """Starts the thread, and those of the shards."""
        super().start(sign)
        for shard in self._shards:
            shard.start()

    def stop(self) -> None:
        """Ends all threads at the same time, and unregisters the worker."""
        for shard in self._shards:
            shard.end_soon()
        super().stop()
        for shard in self._shards:
            shard.stop()
        try:
            self._queue.leave(self._worker, ends=True)
            self._steps.last()
        except StoreUnavailableError as error:
            self.outage.failed(error)

    def round(self) -> None:
        """See Rounds."""
        self.watch()
        try:
            self._serving.refresh()
        except Exception:
            log.exception("following the active model failed")
        try:
            self.sweep()
        finally:
            # the tickets may fail alone, as they may be on another Redis
            self._steps.each()
        if self._is_first:
            self._steps.first()
            self._is_first = False

    def sweep(self) -> None:
        """Gives back lost workers' claims, and enqueues a ticket where transactions wait.

        Raises:
            StoreUnavailableError: Redis failed; the next round tries again.
        """
        waiting = 0 if self._shards else _swept(self._queue, self._worker)
        if self._pulse.left_behind and not self._pulse.drains and not self._stop.is_set():
            # the lease of a live worker is renewed: no other worker would take its claims
            self._pulse.give_back(lambda: self._queue.leave(self._worker))
        if waiting:
            self._tickets.ensure()

    def watch(self) -> None:
        """Ends the process where a batch hangs: its transactions are then retried elsewhere, one by one."""
        batch = self._pulse.batch
        self._rounds = self._rounds + 1 if batch and batch == self._batch else 0
        self._batch = batch
        if self._rounds >= HANGS_ROUNDS:
            log.critical("a batch hangs; ending this worker", worker=self._worker, rounds=self._rounds)
            faulthandler.dump_traceback()
            self._pulse.end()
