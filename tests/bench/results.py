"""The figures of all rounds, kept as JSON so that a partial run replaces its own sections only."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Figures = dict[str, float]
Rounds = list[float]


@dataclass
class Section:
    """One scenario: figures by case, variant and name, one for each round."""

    name: str
    date: str
    commit: str
    rounds: int
    seconds: float
    quick: bool
    figures: dict[str, dict[str, dict[str, Rounds]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, label: str, variant: str, figures: Figures) -> None:
        """Adds one round's figures."""
        kept = self.figures.setdefault(label, {}).setdefault(variant, {})
        for name, value in figures.items():
            kept.setdefault(name, []).append(value)

    def fail(self, label: str, reason: str) -> None:
        """Notes that a case could not be measured."""
        self.failed[label] = reason

    def get(self, label: str, variant: str, name: str) -> Rounds:
        """A figure's rounds; none where it was not measured."""
        return self.figures.get(label, {}).get(variant, {}).get(name, [])


class Results:
    """All sections, and the machine and versions of the last run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        self.about: dict[str, str] = kept.get("about", {})
        self.sections = {name: Section(**section) for name, section in kept.get("sections", {}).items()}

    def begin(self, name: str, *, rounds: int, seconds: float, quick: bool, commit: str) -> Section:
        """An empty section, which takes the old one's place once it is kept."""
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        return Section(name=name, date=date, commit=commit, rounds=rounds, seconds=seconds, quick=quick)

    def keep(self, section: Section) -> None:
        """Replaces a section, on disk, too."""
        self.sections[section.name] = section
        sections = {name: asdict(each) for name, each in self.sections.items()}
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"about": self.about, "sections": sections}, indent=1) + "\n")
        unfinished.replace(self.path)

    def get(self, section: str, label: str, variant: str, name: str) -> Rounds:
        """A figure's rounds; none where it was not measured."""
        return self.sections[section].get(label, variant, name) if section in self.sections else []


def ratios(figures: Sequence[float], others: Sequence[float]) -> Rounds:
    """One divided by the other, round by round: what slows a whole round down does not change it."""
    return [one / other for one, other in zip(figures, others, strict=False) if other]


def number(value: float) -> str:
    """A figure with three significant digits, or whole from a thousand on."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(rounds: Sequence[float]) -> str:
    """The median, with least and largest where they differ."""
    least, median, largest = (number(f(rounds)) for f in (min, statistics.median, max))
    return median if least == largest else f"{median} ({least} to {largest})"
