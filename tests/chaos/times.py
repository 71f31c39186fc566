"""When faults were on, and how long somebody waited while none was."""

from collections.abc import Sequence

Windows = Sequence[tuple[float, float]]


def calm(windows: Windows) -> list[tuple[float, float]]:
    """The times in which no fault was on."""
    found, since = [], 0.0
    for begin, end in sorted(windows):
        if begin > since:
            found.append((since, begin))
        since = max(since, end)
    return [*found, (since, float("inf"))]


def longest_within(spans: Windows, begin: float, end: float) -> float:
    """The longest part of a wait that lies in one of the spans."""
    return max((min(over, end) - max(since, begin) for since, over in spans), default=0.0)
