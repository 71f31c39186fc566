"""The number of workers that a load needs, from its arrival rate and the duration of the workers' batches."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

BATCH = 256
"""Transactions that a worker claims at once: larger ones gain little throughput and hold up Redis and latency."""

REACH = 4
"""The largest extrapolation, as a multiple of the largest measured batch: one from single rows to full batches would
be ten times off by a tenth of a millisecond."""

FEW_BATCHES = 5
"""The fewest batches that say something of their size: a single one may have met a busy disk."""


class BatchTimes(NamedTuple):
    """Batches of about the same size: how many, the transactions in them, and how long they took all together."""

    batches: int
    transactions: int
    seconds: float


def size_class(transactions: int) -> int:
    """The class of a batch by its size: the power of two that it has at least."""
    return 1 << (transactions.bit_length() - 1)


class Pace(NamedTuple):
    """The transactions that one worker decides in a second when it is never idle."""

    per_second: float
    seen_batch: float
    """The size of the largest batches that were measured."""

    @property
    def measured(self) -> bool:
        """True where the pace was measured on batches of a busy worker's size, not extrapolated from smaller ones."""
        return self.seen_batch >= BATCH / 2


def pace(timed: Mapping[int, BatchTimes]) -> Pace | None:
    """The pace that follows from measured batches by size class; None where there are too few.

    A batch of n takes a + b n: the round trip and the write to disk, which all share, and each one's own time. A load
    that leaves workers idle has small batches, so what it decides a second in its busy time is far less than it could.
    """
    seen = [each for each in timed.values() if each.batches >= FEW_BATCHES and each.transactions and each.seconds]
    if not seen:
        return None
    largest = max(seen, key=lambda each: each.transactions / each.batches)
    size = largest.transactions / largest.batches
    if size >= BATCH / 2:
        return Pace(largest.transactions / largest.seconds, size)
    fixed, each_one = _line(seen)
    batch = min(BATCH, REACH * size) if len(seen) > 1 else size
    return Pace(batch / (fixed + each_one * batch), size)


def _line(seen: Iterable[BatchTimes]) -> tuple[float, float]:
    """Least squares of the relative error, neither part below 0: seconds of a batch, and of each transaction in it."""
    weight = sum_n = sum_d = sum_nn = sum_nd = 0.0
    for batches, transactions, seconds in seen:
        size, duration = transactions / batches, seconds / batches
        w = batches / duration**2
        weight += w
        sum_n += w * size
        sum_d += w * duration
        sum_nn += w * size * size
        sum_nd += w * size * duration
    spread = weight * sum_nn - sum_n * sum_n
    if spread <= 1e-9 * weight * sum_nn:
        return 0.0, sum_d / sum_n
    each_one = (weight * sum_nd - sum_n * sum_d) / spread
    fixed = (sum_d - each_one * sum_n) / weight
    if each_one < 0:
        return sum_d / weight, 0.0
    if fixed < 0:
        return 0.0, sum_nd / sum_nn
    return fixed, each_one


class Load(NamedTuple):
    """The present load of the queue."""

    per_second: float
    """Transactions arriving in a second."""
    undecided: int
    workers: int
    """Live workers."""
    pace: Pace | None


class Target(NamedTuple):
    """The target for the workers, and the bounds of their number."""

    utilisation: float = 0.7
    """The part of the time that a worker is busy: the rest is for bursts, and keeps batches small."""
    drain_seconds: float = 60.0
    """The time in which a backlog is decided, together with new arrivals."""
    least: int = 1
    most: int = 100


def workers_needed(load: Load, target: Target) -> int:
    """The number of workers that the load needs; the present number, but at least one, where the pace is unknown.

    By Little's law arrivals / pace workers are busy on average. Where each is busy for a part of the time only, it
    takes more; and so it does while a backlog is to be worked off beside what arrives.
    """
    if load.pace is None:
        return _bounded(load.workers if load.undecided else 1, target)
    steady = load.per_second / target.utilisation
    draining = load.per_second + load.undecided / target.drain_seconds
    # rounded: 1,400 / 0.7 / 1,000 is a little more than 2 to a float
    return _bounded(math.ceil(round(max(steady, draining) / load.pace.per_second, 6)), target)


def _bounded(workers: int, target: Target) -> int:
    return max(1, target.least, min(target.most, workers))


def times(load: Load, factor: float) -> Load:
    """The load with arrivals multiplied by a factor, and no backlog."""
    return load._replace(per_second=load.per_second * factor, undecided=0)
