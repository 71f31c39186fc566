"""Histograms as whole numbers that Redis can add up: the count of each bucket, and the sum."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Buckets of a client's waits: from one score to the longest wait that a request may ask for."""

LONG_SECONDS = (*SECONDS[3:], 60, 120, 300, 600, 1800, 3600)
"""Buckets of the time in the queue, where transactions may wait until a worker is started."""

SUM = "sum"
INFINITE = "+Inf"


class Measure(NamedTuple):
    """A histogram: its inclusive upper bounds, and the parts of a unit in which its sum is counted."""

    bounds: tuple[float, ...]
    parts: int

    def counted(self, values: Iterable[float]) -> Counter[str]:
        """The increments for these values: one count for each upper bound, and the sum."""
        values = list(values)
        found = Counter(map(partial(bisect_left, self.bounds), values))
        counts = Counter({self._bound(place): number for place, number in found.items()})
        counts[SUM] = round(sum(values) * self.parts)
        return counts

    def shown(self, counts: Mapping[str, int]) -> tuple[list[tuple[str, float]], float]:
        """The form of Prometheus: the number of values at or below each bound, and the sum in units.

        Counts of another release's bounds go to the next bound above. Whatever is no bound is left
        out.
        """
        bounds = [*self.bounds, float("inf")]
        numbers = [0] * len(bounds)
        for part, number in counts.items():
            bound = _as_bound(part)
            if not math.isnan(bound):
                numbers[bisect_left(bounds, bound)] += number
        below, buckets = 0, []
        for place, number in enumerate(numbers):
            below += number
            buckets.append((self._bound(place), float(below)))
        return buckets, counts.get(SUM, 0) / self.parts

    def _bound(self, place: int) -> str:
        return str(float(self.bounds[place])) if place < len(self.bounds) else INFINITE


def _as_bound(part: str) -> float:
    """NaN where it is none: the sum, or what another release counts."""
    try:
        return float(part)
    except ValueError:
        return math.nan


PROBABILITY = Measure(tuple(step / 20 for step in range(1, 21)), 10_000)
"""Fraud probabilities, which have four decimals."""

BATCH = Measure((1, 2, 4, 8, 16, 32, 64, 128, 256), 1)
"""Transactions that a worker assessed together; it claims 256 at the most."""

QUEUE_SECONDS = Measure(LONG_SECONDS, 1_000_000)
"""From a transaction's acceptance to its decision, by the clocks of the API and the worker."""

ATTEMPT_SECONDS = Measure(SECONDS, 1_000_000)
"""An attempt to deliver a callback."""
