"""Bursts, a queue and an autoscaler in steps of time: a fluid model of the workers, with the rules of KEDA and HPA."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from riskline.shared.domain.capacity import BATCH, Load, Pace, Target, workers_needed

STEP_SECONDS = 0.5

WINDOW_SECONDS = 10.0
"""Over which the API counts arrivals (ingest/background/worker_need.py)."""

SYNC_SECONDS = 15.0
"""How often an HPA looks (--horizontal-pod-autoscaler-sync-period of kube-controller-manager); it asks KEDA, which asks
the API. KEDA's own polling interval only counts between none and one worker."""

TOLERANCE = 0.1
"""An HPA leaves alone what is within a tenth of what it wants (--horizontal-pod-autoscaler-tolerance)."""

STABLE_SECONDS = 300.0
"""For which an HPA remembers the most workers that were wanted before it takes any away."""


class Rules(NamedTuple):
    """The scaler: deploy/kubernetes/components/keda/scaled-object.yaml."""

    least: int = 1
    most: int = 1_000
    pods_up: int = 4
    percent_up: float = 1.0
    percent_down: float = 0.5
    down_period_seconds: float = 60.0
    start_seconds: float = 10.0
    """From the wish for a pod to its first transaction."""


class Redis(NamedTuple):
    """What a transaction costs a Redis, in seconds of the one thread that runs commands."""

    accept_seconds: float
    decide_seconds: float

    @property
    def most_per_second(self) -> float:
        """What it can take through the queue in a steady state."""
        return 1.0 / (self.accept_seconds + self.decide_seconds)

    def decides(self, arrivals: float, shards: float, seconds: float) -> float:
        """How many it can decide in a time in which so many arrive."""
        return max(0.0, (seconds * shards - arrivals * self.accept_seconds) / self.decide_seconds)


UNLIMITED = Redis(0.0, 1e-12)


class Moment(NamedTuple):
    """One step: what came, what was decided, what was left, and who was there to do it."""

    arrived: float
    decided: float
    backlog: float
    ready: int
    wanted: int
    busy: float
    """Workers that were busy, on average over the step."""


class Run(NamedTuple):
    """What happened."""

    moments: list[Moment]
    step_seconds: float

    @property
    def peak_backlog(self) -> float:
        """The most that waited."""
        return max(each.backlog for each in self.moments)

    @property
    def peak_workers(self) -> int:
        """The most workers that were ready."""
        return max(each.ready for each in self.moments)

    def drained_after(self, burst_at: float) -> float | None:
        """Seconds from the begin of the burst until nothing waited any more; None where that was not seen."""
        start = round(burst_at / self.step_seconds)
        late = [number for number, each in enumerate(self.moments) if each.backlog > 0.5]
        if not late:
            return 0.0
        if late[-1] == len(self.moments) - 1:
            return None
        return (late[-1] + 1 - start) * self.step_seconds

    def waits(self) -> list[float]:
        """How long those of each step waited that were decided, first come first served."""
        arrived = [0.0, *accumulate(each.arrived for each in self.moments)]
        decided = [0.0, *accumulate(each.decided for each in self.moments)]
        waits: list[float] = []
        at = 0
        for number, (before, after) in enumerate(pairwise(arrived)):
            middle = (before + after) / 2
            while at < len(decided) - 1 and decided[at + 1] < middle:
                at += 1
            if after > before and at < len(decided) - 1:
                share = (middle - decided[at]) / (decided[at + 1] - decided[at])
                waits.append(max(0.0, (at + share - number - 0.5)) * self.step_seconds)
        return waits


def burst(
    base: float, *, factor: float, at: float, ramp_seconds: float, lasts_seconds: float
) -> Callable[[float], float]:
    """A load that grows to so many times of it in a few seconds, stays so for a while, and is what it was again."""

    def per_second(now: float) -> float:
        if now < at or now >= at + ramp_seconds + lasts_seconds:
            return base
        return base * (1 + (factor - 1) * min(1.0, (now - at) / ramp_seconds))

    return per_second


class Autoscaler:
    """KEDA and the HPA that it makes, over the number that the API proposes."""

    def __init__(self, rules: Rules, target: Target, *, workers: int) -> None:
        self._rules = rules
        self._target = target._replace(least=rules.least, most=rules.most)
        self.wanted = workers
        self._starting: list[float] = []
        self.ready = workers
        self._arrivals: deque[tuple[float, float]] = deque()
        self._recommended: deque[tuple[float, int]] = deque()
        self._removed: deque[tuple[float, int]] = deque()
        self._sync_at = SYNC_SECONDS

    def step(self, now: float, seconds: float, *, arrived: float, backlog: float, pace: float) -> None:
        """Counts what arrived, starts and ends workers."""
        self._arrivals.append((now, arrived))
        while self._arrivals[0][0] <= now - WINDOW_SECONDS:
            self._arrivals.popleft()
        started = [at for at in self._starting if at <= now]
        self._starting = [at for at in self._starting if at > now]
        self.ready += len(started)
        if now < self._sync_at:
            return
        self._sync_at += SYNC_SECONDS
        rate = sum(count for _, count in self._arrivals) / (len(self._arrivals) * seconds)
        load = Load(rate, round(backlog), self.ready, Pace(pace, BATCH))
        self._set(now, self._limited(now, workers_needed(load, self._target)))

    def _limited(self, now: float, metric: int) -> int:
        current = self.wanted
        wish = current if abs(metric / current - 1) <= TOLERANCE else metric
        self._recommended.append((now, wish))
        while self._recommended[0][0] <= now - STABLE_SECONDS:
            self._recommended.popleft()
        rules = self._rules
        if wish > current:
            return min(wish, max(current + rules.pods_up, math.ceil(current * (1 + rules.percent_up))))
        while self._removed and self._removed[0][0] <= now - rules.down_period_seconds:
            self._removed.popleft()
        before = current + sum(count for _, count in self._removed)
        stable = max(each for _, each in self._recommended)
        return max(min(current, stable), math.ceil(before * (1 - rules.percent_down)))

    def _set(self, now: float, wanted: int) -> None:
        wanted = max(self._rules.least, min(self._rules.most, wanted))
        if wanted > self.wanted:
            self._starting += [now + self._rules.start_seconds] * (wanted - self.wanted)
        for _ in range(self.wanted - wanted):
            # those that have not started yet go first, as Kubernetes has it
            if self._starting:
                self._starting.pop()
            else:
                self.ready -= 1
        if wanted < self.wanted:
            self._removed.append((now, self.wanted - wanted))
        self.wanted = wanted


def simulate(
    per_second: Callable[[float], float],
    *,
    seconds: float,
    workers: int,
    pace: float,
    rules: Rules | None = None,
    target: Target = Target(),  # noqa: B008  # a tuple of numbers
    redis: Redis = UNLIMITED,
    shards: float = 1,
    step_seconds: float = STEP_SECONDS,
) -> Run:
    """A queue with so many workers, each of the pace, or with as many as the rules make of them."""
    scaler = Autoscaler(rules or Rules(), target, workers=workers)
    moments: list[Moment] = []
    backlog = 0.0
    for number in range(round(seconds / step_seconds)):
        now = number * step_seconds
        arrived = per_second(now) * step_seconds
        by_workers = scaler.ready * pace * step_seconds
        by_redis = redis.decides(arrived, shards, step_seconds)
        decided = min(backlog + arrived, by_workers, by_redis)
        backlog = max(0.0, backlog + arrived - decided)
        held_up = decided == by_redis and by_redis < by_workers
        busy = scaler.ready if held_up else decided / (pace * step_seconds)
        moments.append(Moment(arrived, decided, backlog, scaler.ready, scaler.wanted, busy))
        if rules is not None:
            # a worker that waits for Redis is busy: what it takes for a batch is what it measures
            seen = decided / (scaler.ready * step_seconds) if held_up and decided else pace
            scaler.step(now, step_seconds, arrived=arrived, backlog=backlog, pace=seen)
    return Run(moments, step_seconds)


def total(moments: Sequence[Moment], name: str) -> float:
    """The sum of a figure over all steps."""
    return float(sum(getattr(each, name) for each in moments))
