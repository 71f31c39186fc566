"""What a soak measures, and the line through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, linear_regression

from tests.bench.memory import MEGABYTE
from tests.bench.results import number

FLAT_SHARE, FLAT_MB, FLAT_COUNT = 0.02, 2.0, 4.0
"""What a line through the figures may rise by in the whole run; of memory the larger of the first two."""

JUDGED_MB = ("API MB", "worker MB", "Redis used MB")
JUDGED_COUNTS = ("API descriptors", "worker descriptors", "Redis clients")

Figures = dict[str, float]


@dataclass(frozen=True)
class Line:
    """A figure from the warm-up to the end, the line through it, and what that may rise by; None where it may."""

    name: str
    first: float
    last: float
    largest: float
    per_hour: float
    rise: float
    allowed: float | None

    @classmethod
    def through(cls, name: str, samples: Sequence[Figures], *, seconds: float) -> "Line":
        """The least squares, and the rise in so many seconds."""
        values = [each[name] for each in samples]
        slope = linear_regression([each["at"] for each in samples], values).slope
        allowed = FLAT_COUNT if name in JUDGED_COUNTS else None
        if name in JUDGED_MB:
            allowed = max(FLAT_SHARE * fmean(values), FLAT_MB)
        return cls(name, values[0], values[-1], max(values), slope * 3600, slope * seconds, allowed)

    @property
    def verdict(self) -> str:
        """In a word."""
        return "" if self.allowed is None else "flat" if self.rise < self.allowed else "**rises**"

    def cells(self) -> list[str]:
        """For the table."""
        figures = (self.first, self.last, self.largest, self.per_hour, self.rise)
        return [self.name, *map(number, figures), "" if self.allowed is None else number(self.allowed), self.verdict]


def private_mb(pid: int) -> float:
    """What a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / MEGABYTE
