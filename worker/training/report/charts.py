"""The charts of a report, drawn by matplotlib and scikit-learn's own displays."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, precision_recall_curve, roc_curve

from riskline.worker.training.evaluation.measures import AtThreshold, Bin, ScoredRows
from riskline.worker.training.evaluation.thresholds import CostCurve
from riskline.worker.training.evaluation.topk import TopK
from riskline.worker.training.report.svg import BAD, CHOSEN, GOOD, GRID, INK, PERCENT, chart

HISTOGRAM_BINS = np.linspace(0, 1, 51).tolist()
SHAPES = "os^Dv"
"""Of thresholds beside each other: decline and review have one colour."""

MOST_POINTS = 2_000
"""Of a cost curve: more are narrower than the line."""


def roc(scored: ScoredRows, marked: Sequence[AtThreshold]) -> Markup:
    """Recall over the false-positive rate."""
    false, true, _ = roc_curve(scored.fraud, scored.scores)
    with chart("roc") as drawn:
        RocCurveDisplay(fpr=false, tpr=true).plot(
            ax=drawn.axes, curve_kwargs={"color": GOOD}, plot_chance_level=True, chance_level_kw={"color": INK, "lw": 1}
        )
        points = [(each.false_positive_rate.value, each.recall.value, each) for each in marked]
        _finish_curve(drawn.axes, points, x="Good ones above the threshold", y="Frauds above the threshold")
    return drawn.svg


def precision_recall(scored: ScoredRows, marked: Sequence[AtThreshold]) -> Markup:
    """Precision over recall."""
    precision, recall, _ = precision_recall_curve(scored.fraud, scored.scores, drop_intermediate=True)
    rate = scored.frauds / len(scored.fraud)
    with chart("pr") as drawn:
        PrecisionRecallDisplay(precision=precision, recall=recall, prevalence_pos_label=rate).plot(
            ax=drawn.axes, curve_kwargs={"color": GOOD}, plot_chance_level=True, chance_level_kw={"color": INK, "lw": 1}
        )
        points = [(each.recall.value, each.precision.value, each) for each in marked]
        _finish_curve(drawn.axes, points, x="Recall: frauds above the threshold", y="Precision: frauds among them")
    return drawn.svg


def _finish_curve(
    axes: Axes, points: Sequence[tuple[float | None, float | None, AtThreshold]], *, x: str, y: str
) -> None:
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="auto")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    for (right, up, each), shape in zip(points, cycle(SHAPES), strict=False):
        if right is not None and up is not None:
            label = f"{', '.join(each.why)}: {each.threshold:.4g}"
            axes.plot([right], [up], shape, ms=8, color=_colour(each), label=label, clip_on=False, zorder=4)
    if points:
        axes.legend(loc="best")


def reliability(bins: Sequence[Bin]) -> Markup:
    """The share of frauds over the mean score, with intervals, and the line where they are the same."""
    means, shares = np.array([each.mean for each in bins]), [each.fraud for each in bins]
    values = np.array([each.value for each in shares])
    ranges = np.clip([values - [each.low for each in shares], [each.high for each in shares] - values], 0, 1)
    with chart("calibration") as drawn:
        CalibrationDisplay(values, means, means, estimator_name="model").plot(ax=drawn.axes, color=GOOD, ref_line=False)
        drawn.axes.errorbar(means, values, yerr=ranges, fmt="none", ecolor=GOOD, elinewidth=1, capsize=3)
        drawn.axes.plot([0, 1], [0, 1], ":", color=INK, lw=1)
        _finish_curve(drawn.axes, [], x="Mean score", y="Frauds among those with such a score")
    return drawn.svg


def histogram(scored: ScoredRows, marked: Sequence[AtThreshold]) -> Markup:
    """Rows by score, in logarithms: the few frauds beside the many others."""
    with chart("scores") as drawn:
        axes = drawn.axes
        for fraud, colour, label in ((False, GOOD, "good"), (True, BAD, "fraud")):
            axes.hist(
                scored.scores[scored.fraud == fraud], HISTOGRAM_BINS, histtype="step", color=colour, lw=1.8, label=label
            )
        axes.set_yscale("log")
        for each in marked:
            axes.axvline(each.threshold, color=_colour(each), lw=1.2, ls="--")
        axes.set(xlabel="Score", ylabel="Transactions (logarithmic)", xlim=(-0.02, 1.02))
        axes.legend(loc="upper center", ncols=2)
    return drawn.svg


def cost(curve: CostCurve, marked: Sequence[AtThreshold]) -> Markup:
    """The cost of mistakes over the threshold, the least marked."""
    with chart("cost") as drawn:
        axes = drawn.axes
        lows, costs = _thinned(curve)
        axes.step([*lows[::-1], 1], [*costs[::-1], costs[0]], where="post", color=GOOD)
        for each in marked:
            axes.axvline(each.threshold, color=_colour(each), lw=1.2, ls="--")
        least = float(curve.per_1000[curve.least])
        label = f"least: {least:,.2f} above {curve.threshold:.4g}"
        axes.plot([curve.threshold], [least], "o", ms=8, color=CHOSEN, label=label, zorder=4, clip_on=False)
        axes.set(xlabel="Decline above", ylabel="Cost per 1,000 transactions", xlim=(-0.02, 1.02))
        # declining nearly all may cost so much that the rest of the curve looks flat
        top = 1.2 * max([float(curve.per_1000[0]), least, *(curve.at(each.threshold) for each in marked)])
        axes.set_ylim(0, top if top > 0 else 1)
        axes.legend(loc="best")
    return drawn.svg


def by_day(top: TopK, name: str, what: str) -> Markup:
    """Frauds found among the first k of each day, and all frauds of the day."""
    with chart(name) as drawn:
        axes = drawn.axes
        days: list[Any] = list(top.days)
        axes.bar(days, top.frauds, color=GRID, width=0.9, label=f"fraudulent {what} of the day")
        axes.bar(days, top.found, color=GOOD, width=0.9, label=f"of them among the first {top.k:,}")
        locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.grid(visible=False, axis="x")
        axes.set(ylabel=what.capitalize(), ylim=(0, max([*top.frauds, 1]) * 1.3))
        axes.legend(loc="upper center", ncols=1)
    return drawn.svg


def _colour(each: AtThreshold) -> str:
    return CHOSEN if "chosen" in " ".join(each.why) else BAD


def _thinned(curve: CostCurve) -> tuple[np.ndarray, np.ndarray]:
    step = max(1, len(curve.lows) // MOST_POINTS)
    kept = np.zeros(len(curve.lows), dtype=bool)
    kept[::step] = True
    kept[[0, curve.least, len(kept) - 1]] = True
    return curve.lows[kept], curve.per_1000[kept]
