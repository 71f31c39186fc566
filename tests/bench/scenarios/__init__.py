"""What is measured: each scenario is a list of cases, which take turns in every round."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.bench.results import Figures
from tests.bench.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """Somebody to measure: each run starts and stops it, and gives figures for one or more variants of the load."""

    label: str
    run: Callable[[], Iterator[tuple[str, Figures]]]
    once: bool = False
    """Whether one round is enough, because only the memory it takes is of interest."""


@dataclass(frozen=True)
class Scenario:
    """A section of the report."""

    name: str
    title: str
    note: str
    columns: Mapping[str, str]
    """The figures shown, by their heading."""
    cases: Callable[[Workspace], list[Case]]
