"""Applies a plan of faults to a fleet, in real time, and tends the fleet meanwhile."""

import heapq
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.faults import DELIVERIES, Fault
from tests.chaos.fleet import CHILDREN, HOSTS, PEERS, WORKERS, Fleet

TICK_SECONDS = 0.02

TARGET_SECONDS = 8.0
"""How long a fault waits for its target to run, where an earlier one has ended it."""

SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "stop": signal.SIGSTOP}


@dataclass
class Injected:
    """What was done, by the clock that Redis has, too."""

    windows: list[tuple[float, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[Fault] = field(default_factory=list)

    @property
    def healed_at(self) -> float:
        """When the last fault was over."""
        return max((end for _, end in self.windows), default=time.time())


class Injector:
    """Runs a plan to its end, after which everything works or is about to."""

    def __init__(self, fleet: Fleet, *, tend: Callable[[], None], say: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._tend = tend
        self._say = say
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = itertools.count()
        self.done = Injected()

    def run(self, faults: list[Fault], *, seconds: float) -> None:
        """Returns when the plan's time is over."""
        begin = time.monotonic()
        for fault in faults:
            self._at(begin + fault.at_seconds, lambda fault=fault: self._begin(fault, time.monotonic()))
        while self._agenda or time.monotonic() < begin + seconds:
            while self._agenda and self._agenda[0][0] <= time.monotonic():
                heapq.heappop(self._agenda)[2]()
            self._tend()
            time.sleep(TICK_SECONDS)
        self._fleet.proxy.heal()
        self._fleet.receiver.heal()
        self._fleet.start_redis()

    def _at(self, when: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._turn), work))

    def _begin(self, fault: Fault, wanted_at: float) -> None:
        end = self._apply(fault)
        if end is None:
            if time.monotonic() < wanted_at + TARGET_SECONDS:
                self._at(time.monotonic() + TICK_SECONDS, lambda: self._begin(fault, wanted_at))
            else:
                self._say(f"skipped, there is none: {fault}")
                self.done.skipped.append(fault)
            return
        began = time.time()
        self._say(str(fault))
        self.done.counts[fault.label] += 1
        if not fault.seconds:
            end()
            self.done.windows.append((began, time.time()))
            return

        def over() -> None:
            end()
            self._say(f"over: {fault.kind} {fault.target}")
            self.done.windows.append((began, time.time()))

        self._at(time.monotonic() + fault.seconds, over)

    def _apply(self, fault: Fault) -> Callable[[], None] | None:
        """Lets it happen; what ends it, or None where there is nothing that it could happen to."""
        if fault.target == "network":
            return self._apply_to_network(fault)
        if fault.target == "receiver":
            return self._apply_to_receiver(fault)
        if fault.target == "everything":
            return self._kill_everything()
        targets = (*WORKERS, *DELIVERIES) if fault.target == "all workers" else (fault.target,)
        if not any(self._fleet.pid(target) for target in targets):
            return None
        pids = [pid for target in (*targets, *_peers(targets)) if (pid := self._fleet.pid(target))]
        send(SIGNALS[fault.kind], *pids)
        if fault.target == "redis" and fault.kind == "kill":
            self._fleet.redis.kill()
            return self._fleet.start_redis
        return lambda: send(signal.SIGCONT, *pids) if fault.kind == "stop" else None

    def _apply_to_network(self, fault: Fault) -> Callable[[], None]:
        proxy = self._fleet.proxy
        if fault.kind == "delay":
            proxy.delay(fault.delay_seconds)
            return lambda: proxy.delay(None)
        if fault.kind == "freeze":
            proxy.freeze()
            return proxy.thaw
        if fault.kind == "refuse":
            proxy.refuse_connections()
            return proxy.accept_connections
        if fault.kind.startswith("lose"):
            lost = ("down",) if fault.kind == "lose answers" else ("up", "down")
            proxy.swallow(*lost, by=fault.kind)
            return lambda: proxy.swallow(by=fault.kind)
        if fault.kind == "cut":
            proxy.cut()
        else:
            proxy.half_close(fault.kind.removeprefix("half-close "))
        return lambda: None

    def _apply_to_receiver(self, fault: Fault) -> Callable[[], None]:
        receiver = self._fleet.receiver
        if fault.kind == "away":
            receiver.go_away()
            return receiver.come_back
        receiver.freeze()
        return receiver.thaw

    def _kill_everything(self) -> Callable[[], None]:
        for name in (*HOSTS, *PEERS.values()):
            if name in self._fleet.services:
                self._fleet.services[name].kill()
        self._fleet.redis.kill()
        return self._fleet.start_redis


def _peers(targets: Sequence[str]) -> list[str]:
    suffering = CHILDREN if "up" in targets else targets
    return [PEERS[target] for target in suffering if target in PEERS]


def send(wanted: signal.Signals, *pids: int) -> None:
    """Sends a signal to processes, of which some may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, wanted)
