"""The interval between two snapshots: its counts, rates and quantiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from riskline.shared.domain.policy import Action
from riskline.shared.store.status.minute_counts import Snapshot
from riskline.shared.telemetry.histograms import INFINITE, PROBABILITY, QUEUE_SECONDS, SECONDS

ACTIONS = tuple(action.value for action in Action)

SYNC, QUEUE = (tuple(f"{door} {action} number" for action in ACTIONS) for door in ("sync", "queue"))
"""The numbers of what each door decided, by action."""

BOUNDS = {"sync_seconds": SECONDS, "submit_seconds": SECONDS, "queue_seconds": QUEUE_SECONDS.bounds}
"""The bounds of each histogram of times; snapshots leave empty buckets out."""


@dataclass(frozen=True)
class Interval:
    """The time between two snapshots."""

    seconds: float
    numbers: Mapping[str, float]

    def count(self, *names: str) -> float:
        """The sum of these counts in the interval."""
        return sum(self.numbers.get(name, 0) for name in names)

    def rate(self, *names: str) -> float:
        """The same a second."""
        return self.count(*names) / self.seconds

    def parts(self, measure: str) -> dict[str, float]:
        """The count of each bucket of a histogram."""
        start = f"{measure}  "
        found = {name.removeprefix(start): number for name, number in self.numbers.items() if name.startswith(start)}
        found.pop("sum", None)
        return found

    def quantile(self, measure: str, part: float) -> float | None:
        """The quantile of a histogram by Prometheus's histogram_quantile; None where nothing was measured."""
        parts = sorted((float(bound), number) for bound, number in self.parts(measure).items())
        total = sum(number for _, number in parts)
        if total <= 0:
            return None
        rank, below = part * total, 0.0
        bounds = [0.0, *BOUNDS[measure]]
        for bound, number in parts:
            if below + number >= rank and number > 0:
                if bound == float(INFINITE):
                    return bounds[-1]
                start = max((each for each in bounds if each < bound), default=0.0)
                return start + (bound - start) * (rank - below) / number
            below += number
        return bounds[-1]


def between(earlier: Snapshot, later: Snapshot) -> Interval | None:
    """The time between two snapshots; None where there is none, or Redis lost what it had counted."""
    seconds = later.at - earlier.at
    numbers = {name: number - earlier.numbers.get(name, 0) for name, number in later.numbers.items()}
    for name in ("undecided", "oldest_seconds"):
        numbers.pop(name, None)
    if seconds <= 0 or any(numbers.get(name, 0) < 0 for name in ("accepted", "decided", "recorded")):
        return None
    return Interval(seconds, {name: max(0, number) for name, number in numbers.items()})


def last(looks: Sequence[Snapshot], seconds: float) -> Interval | None:
    """The interval of the last seconds, or a shorter one where no more are known."""
    if len(looks) < 2:  # noqa: PLR2004  # a difference has two ends
        return None
    earliest = next(each for each in looks if looks[-1].at - each.at <= seconds + 0.5)
    return between(earliest, looks[-1])


def score_parts(time: Interval) -> list[float]:
    """The decisions of both doors with a probability in each twentieth."""
    found = [0.0] * len(PROBABILITY.bounds)
    for measure in ("sync_score", "queue_score"):
        for bound, number in time.parts(measure).items():
            place = min(len(found) - 1, sum(float(bound) > each for each in PROBABILITY.bounds))
            found[place] += number
    return found


def actions(time: Interval) -> dict[str, float]:
    """The decisions of both doors by action."""
    return {action: time.count(f"sync {action} number", f"queue {action} number") for action in ACTIONS}
