"""A bounded rate of all that clients do, from a thread with an event loop of its own."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from tests.chaos.answers import BadAnswerError
from tests.chaos.clients import Clients
from tests.chaos.ledger import Ledger
from tests.chaos.receiver import Destinations

AT_ONCE = 64
"""Requests under way and clients that wait to repeat one; where all do, nobody new comes."""

ROWS_A_BATCH = 60
"""Transactions that a batch has on average."""

GRACE_SECONDS = 15.0
"""How long clients go on repeating after the end of the faults; far more than should be needed."""

FOLLOW_SECONDS = 30.0

Action = Callable[[Clients, random.Random], Awaitable[None]]

ACTIONS: tuple[tuple[float, float, Action], ...] = (
    # share of the actions, transactions in one
    (0.58, 1, lambda clients, rng: clients.submit_new(waiting=rng.random() < 0.3, twice=rng.random() < 0.1)),
    (0.02, ROWS_A_BATCH, lambda clients, _: clients.submit_new_batch()),
    (0.12, 1, lambda clients, _: clients.repeat()),
    (0.04, 1, lambda clients, _: clients.contradict()),
    (0.08, 0, lambda clients, _: clients.read()),
    (0.16, 1, lambda clients, rng: clients.score(known=rng.random() < 0.2)),
)

PER_ACTION = sum(share * transactions for share, transactions, _ in ACTIONS)


class Traffic:
    """Clients at work until they are told to stop, then until each has its answer."""

    def __init__(self, urls: list[str], destinations: Destinations, *, seed: int, per_second: float) -> None:
        self.ledger = Ledger()
        self.followed: list[str] = []
        self.under_way = 0
        self._urls = urls
        self._destinations = destinations
        self._rng = random.Random(seed)
        self._pause_seconds = PER_ACTION / per_second
        self._stop = threading.Event()
        self._decided = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Nobody new comes; who has no answer yet goes on asking for a while."""
        self._stop.set()

    @property
    def idle(self) -> bool:
        """Whether every client has its answer or has given up."""
        return self._idle.is_set()

    def finish(self) -> None:
        """Everything is decided: the follower reads to the end of the feed; returns when all is over."""
        self._decided.set()
        self._thread.join(FOLLOW_SECONDS + GRACE_SECONDS)
        if self._thread.is_alive():
            self.ledger.violate("the clients came to no end")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        clients = Clients(self._urls, self._destinations, self.ledger, self._rng)
        over = asyncio.Event()
        follower = asyncio.create_task(self._guarded(clients.follow(self.followed, over=over)))
        tasks: set[asyncio.Task[None]] = set()
        next_at = time.monotonic()
        while not self._stop.is_set():
            next_at = max(next_at + self._pause_seconds * self._rng.uniform(0.5, 1.5), time.monotonic() - 0.5)
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            if len(tasks) < AT_ONCE:
                task = asyncio.create_task(self._guarded(self._choose()(clients, self._rng)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            self.under_way = len(tasks)
        clients.give_up_at = time.monotonic() + GRACE_SECONDS
        while tasks:
            await asyncio.wait(tasks)
            self.under_way = len(tasks)
        self._idle.set()
        clients.give_up_at = float("inf")
        await asyncio.to_thread(self._decided.wait)
        clients.give_up_at = time.monotonic() + FOLLOW_SECONDS
        over.set()
        await follower
        await clients.close()

    def _choose(self) -> Action:
        shares = [share for share, _, _ in ACTIONS]
        return self._rng.choices([action for _, _, action in ACTIONS], shares)[0]

    async def _guarded(self, work: Awaitable[None] | Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BadAnswerError as error:
            self.ledger.violate(str(error))
        except Exception as error:  # noqa: BLE001  # a client that met what nobody thought of ends, and is reported
            self.ledger.violate(f"a client failed: {error!r}")
