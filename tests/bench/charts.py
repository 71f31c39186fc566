"""Draws the charts; run by the peers' environment, which has matplotlib: RESULTS.json OUT."""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws without a display
from matplotlib import pyplot as plt

from tests.bench.results import Results, Rounds, number

OURS, OTHERS = ("#0b5fa5", "#5b9bd5", "#b8d4ee"), ("#7a7a7a", "#ababab", "#d5d5d5")
BAR_INCHES = 0.26


@dataclass(frozen=True)
class Chart:
    """Bars of one section: for each case one bar a variant and figure, in this order."""

    file: str
    section: str
    title: str
    bars: tuple[tuple[str, str, str], ...]
    """Variant, figure, and how the bar is called."""
    logarithmic: bool = True


CHARTS = (
    Chart(
        "sync-rate",
        "sync",
        "POST /score-transaction: requests a second (logarithmic)",
        tuple((each, "per_second", each) for each in ("1 connection", "32 connections", "512 connections")),
    ),
    Chart(
        "sync-times",
        "sync",
        "POST /score-transaction at 32 connections: milliseconds (logarithmic)",
        (("32 connections", "p50_ms", "p50"), ("32 connections", "p99_ms", "p99")),
    ),
    Chart(
        "async",
        "async",
        "Accepting into the queue: transactions a second",
        tuple(
            (each, "per_second", each)
            for each in (
                "decided by the API, recorded afterwards",
                "nothing works on them yet",
                "one worker decides them meanwhile",
            )
        ),
        logarithmic=False,
    ),
    Chart(
        "drain",
        "drain",
        "One worker: transactions a second (logarithmic)",
        tuple(
            (each, "per_second", each)
            for each in ("reasons for what it declines", "reasons for all", "Riskline's engine", "scikit-learn")
        ),
    ),
    Chart(
        "latency",
        "latency",
        "Submission to decision through the queue: milliseconds",
        tuple(
            (rate, f"{name}_ms", f"{rate}, {name}")
            for rate in ("2 a second", "200 a second", "1,000 a second")
            for name in ("p50", "p99")
        ),
        logarithmic=False,
    ),
)


def main(results: str, out: str) -> None:
    """Draws what was measured."""
    measured = Results(Path(results))
    for chart in CHARTS:
        if chart.section in measured.sections:
            draw(chart, measured, Path(out) / f"{chart.file}.png")


def draw(chart: Chart, measured: Results, path: Path) -> None:
    """One chart: median, with a line from least to largest."""
    bars = _bars(chart, measured)
    figure, axes = plt.subplots(figsize=(9, 1.1 + BAR_INCHES * len(bars)), layout="constrained")
    for place, (_, rounds, colour) in enumerate(bars):
        if not rounds:
            continue
        median = statistics.median(rounds)
        axes.barh(place, median, color=colour, height=0.8)
        axes.plot([min(rounds), max(rounds)], [place, place], color="black", linewidth=1)
        axes.annotate(number(median), (max(rounds), place), (4, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars], size=8)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_title(chart.title, size=10, loc="left")
    if chart.logarithmic:
        axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(chart: Chart, measured: Results) -> list[tuple[str, Rounds, str]]:
    """The name, the rounds and the colour of each bar; an empty one between two cases."""
    bars: list[tuple[str, Rounds, str]] = []
    names = list(dict.fromkeys(figure for _, figure, _ in chart.bars))
    for label in measured.sections[chart.section].figures:
        colours = OURS if label.startswith(("Riskline", "POST")) else OTHERS
        found = [
            (name, rounds, names.index(figure) if len(names) > 1 else shade)
            for shade, (variant, figure, name) in enumerate(chart.bars)
            if (rounds := measured.get(chart.section, label, variant, figure))
        ]
        for i, (name, rounds, shade) in enumerate(found):
            bars.append((f"{label}: {name}" if i == 0 else name, rounds, colours[shade % len(colours)]))
        bars.append(("", [], ""))
    return bars[:-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
