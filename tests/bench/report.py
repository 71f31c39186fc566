"""The report: a Markdown page, with charts that the peers' environment draws."""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.environments import run
from tests.bench.goals import goals
from tests.bench.results import Results, Section, spread
from tests.bench.scenarios import Scenario, sync
from tests.bench.scenarios.listed import SCENARIOS
from tests.bench.workspace import ROOT

HEAD = """# Benchmarks

Riskline and what it can be compared with, measured side by side in one run: the same forest (RandomForest, 100 trees,
depth 10), the same rows, the same machine, everything on it at once, the load generator (wrk, in C) included. Each
figure is the median of its rounds, with the least and the largest behind it; in every round all take turns, and ratios
are taken round by round. Other machines give other figures; ratios carry over better. The rows are simulated, not bank
data.

To repeat it (about half an hour; it installs the peers into `.riskline/bench`):

    make bench                            # or a part of it: riskline bench --only sync,drain --rounds 5
"""


def write(results: Results, out: Path, *, python: Path) -> None:
    """Writes `README.md` and the charts into the directory.

    Raises:
        BenchError: the charts cannot be drawn.
    """
    out.mkdir(parents=True, exist_ok=True)
    run([python, "-m", "tests.bench.charts", results.path, out], {"PYTHONPATH": str(ROOT)})
    (out / "README.md").write_text("\n".join(page(results, charts={each.stem for each in out.glob("*.png")})) + "\n")


def page(results: Results, *, charts: set[str]) -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    yield from _table(["", "this run"], [[name, value] for name, value in results.about.items()])
    yield "\n## What it must show\n"
    yield from _goals(results)
    for name, scenario in SCENARIOS.items():
        if name in results.sections:
            yield from _section(scenario, results.sections[name], charts)


def _goals(results: Results) -> Iterator[str]:
    rows = []
    for goal in goals():
        rounds = goal.rounds(results)
        reached = [f"{spread(rounds)} {goal.unit}", goal.verdict(rounds)] if rounds else ["not measured", ""]
        rows.append([goal.what, goal.asked(), *reached])
    yield from _table(["what", "asked", "reached", "kept"], rows)


def _section(scenario: Scenario, section: Section, charts: set[str]) -> Iterator[str]:
    yield f"\n## {scenario.title}\n\n{scenario.note}\n"
    rounds = f"{section.rounds} round{'s' if section.rounds != 1 else ''}"
    quick = "; **a quick run: its figures say only that everything works**" if section.quick else ""
    yield f"{section.date}, commit {section.commit}, {rounds}, {section.seconds:g} s of load{quick}.\n"
    for chart in sorted(charts):
        if chart.partition("-")[0] == scenario.name:
            yield f"![{scenario.title}]({chart}.png)\n"
    rows = [
        [label, variant, *(spread(figures[name]) if name in figures else "" for name in scenario.columns)]
        for label, variants in section.figures.items()
        for variant, figures in variants.items()
    ]
    yield from _table(["", "", *scenario.columns.values()], rows)
    if scenario is sync.SCENARIO and sync.GUIDE not in {*section.figures, *section.failed}:
        yield "\nThe guide's own app was not there to be measured (`--guide DIRECTORY`)."
    for label, reason in section.failed.items():
        yield f"\n**{label} could not be measured:** {reason}"


def _table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A table without the columns that say nothing."""
    said = [i for i in range(len(heads)) if i == 0 or any(row[i] for row in rows)]
    heads, rows = [heads[i] for i in said], [[row[i] for i in said] for row in rows]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
