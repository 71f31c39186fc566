"""The report of a measurement: sentences, tables and charts in one template."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from riskline.shared.model.bundle import Manifest
from riskline.shared.wording import counted
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.evaluation.measurement import Measurement
from riskline.worker.training.evaluation.measures import AtThreshold, at_threshold, calibration
from riskline.worker.training.evaluation.thresholds import PROMISE
from riskline.worker.training.evaluation.topk import TopK
from riskline.worker.training.report import charts
from riskline.worker.training.report.caveats import caveats
from riskline.worker.training.report.summary import per, percent, share_words, summary


@dataclass(frozen=True)
class ReportChart:
    """A chart, its title, and its content in words for screen readers."""

    svg: Markup
    title: str
    words: str
    details: str = ""
    """Further details that only the picture shows."""


def page(
    measured: Measurement,
    data: LabelledRows,
    manifest: Manifest,
    *,
    file_name: str,
    command: str | None,
    made_at: str,
) -> str:
    """The report as HTML that needs nothing else; `command` applies the chosen thresholds.

    `made_at` is a time in UTC, as in decisions.
    """
    described = data.described()
    rate = measured.scored.frauds / len(data.labels)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            file_name=file_name,
            made_at=made_at,
            manifest=manifest,
            facts=_facts(manifest),
            described=described,
            fraud_rate=percent(rate),
            window=_window(described["window"], measured.scored.number_of_days),
            known=measured.known.text,
            is_warning=measured.known.is_warning,
            summary=summary(measured, known=measured.known.is_warning),
            base_brier=rate * (1 - rate),
            curves=_curves(measured),
            scores=_scores(measured),
            confusions=_confusions(measured, manifest),
            table=measured.table,
            intervals=measured.intervals_are,
            days=measured.scored.number_of_days,
            bins=calibration(measured.scored),
            tops=_tops(measured),
            cost=_cost(measured),
            chosen=measured.chosen,
            promise=PROMISE,
            command=command,
            caveats=caveats(measured.scored, data, today=date.fromisoformat(made_at[:10])),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("riskline.worker.training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"percent": percent, "share": share_words, "per": per}
    return environment


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    training = manifest.training
    curve = manifest.scoring.calibration
    calibrated = (training.get("calibration") or {}).get("method") or (None if curve is None else curve.kind)
    review = manifest.thresholds.review
    origin = (training.get("made_of") or {}).get("version")
    facts = [
        ("Version", manifest.version),
        ("Estimator", manifest.estimator),
        ("Made", f"{manifest.created_at[:19].replace('T', ' ')} UTC"),
        ("Same model as", origin),
        ("Imported from", training.get("imported_from")),
        ("Trained on", _rows(training) if "imported_from" not in training else None),
        ("Left out", "; ".join(f"{each['rows']:,} rows {each['reason']}" for each in training.get("left_out", ()))),
        ("Features", ", ".join(manifest.features)),
        ("Of history", _history(manifest)),
        ("Without history", _twin(manifest)),
        ("Calibration", calibrated or "none"),
        ("Declines above", f"{manifest.thresholds.decline:g}"),
        ("Reviews above", "nothing" if review is None else f"{review:g}"),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _history(manifest: Manifest) -> str | None:
    columns = None if manifest.history is None else manifest.history.columns
    return None if columns is None else ", ".join(f"{name} ({said})" for name, said in columns.items())


def _twin(manifest: Manifest) -> str | None:
    """The twin, and how good it was when it was trained."""
    if manifest.twin is None:
        return None if manifest.history is None else "it decides nothing: it has no twin"
    figures = {"ROC-AUC": "roc_auc", "average precision": "average_precision"}
    measured = [
        f"{name} {manifest.twin.metrics[at]:.4f}" for name, at in figures.items() if at in manifest.twin.metrics
    ]
    when = f" with {' and '.join(measured)} in its test" if measured else ""
    return f"its twin decides{when}"


def _rows(training: dict[str, Any]) -> str | None:
    if "rows" not in training:
        return None
    window = training.get("window")
    when = "" if window is None else f", {window[0][:10]} to {window[1][:10]}"
    frauds = f" ({training['frauds']:,} frauds)" if "frauds" in training else ""
    return f"{training['rows']:,} rows{frauds}{when}"


def _window(window: Sequence[str] | None, days: int | None) -> str | None:
    if window is None or days is None:
        return None
    first, last = (each[:16].replace("T", " ") for each in window)
    return f"{first} to {last}, {counted(days, 'day')} with rows"


def _told(marked: Sequence[AtThreshold]) -> str:
    return " ".join(
        f"At {each.threshold:g} ({', '.join(each.why)}): {percent(each.false_positive_rate.value)} of the good ones, "
        f"{percent(each.recall.value)} of the frauds, precision {percent(each.precision.value)}."
        for each in marked
    )


def _curves(measured: Measurement) -> list[ReportChart]:
    scored, marked, metrics = measured.scored, measured.marked, measured.metrics
    return [
        ReportChart(
            charts.roc(scored, marked),
            f"ROC curve: area {metrics['roc_auc']:.4f}",
            "How many frauds are above a threshold, for how many good ones. Dashed: a model that guesses.",
            _told(marked),
        ),
        ReportChart(
            charts.precision_recall(scored, marked),
            f"Precision and recall: average precision {metrics['average_precision']:.4f}",
            "How many of those above a threshold are fraud, for how many of the frauds. Where frauds are rare it says "
            "more than the ROC curve. Dashed: a model that guesses.",
            _told(marked),
        ),
    ]


def _scores(measured: Measurement) -> list[ReportChart]:
    scored = measured.scored
    bins = calibration(scored)
    off = max(bins, key=lambda each: abs(float(each.fraud.value or 0) - each.mean))
    return [
        ReportChart(
            charts.reliability(bins),
            f"Calibration: Brier score {measured.metrics['brier_score']:.5f}",
            "Where the points are on the dotted line, a score is a probability; below it, fewer are fraud than the "
            f"score says. Farthest off: {off.fraud.of:,} rows with mean score {off.mean:.3f}, of which "
            f"{percent(off.fraud.value)} are fraud. The bars are 95 % intervals.",
        ),
        ReportChart(
            charts.histogram(scored, measured.marked),
            "Scores of good ones and frauds",
            f"Transactions by score, {scored.frauds:,} frauds and {len(scored.fraud) - scored.frauds:,} good ones, in "
            "logarithms. Dashed: the thresholds.",
        ),
    ]


def _confusions(measured: Measurement, manifest: Manifest) -> list[tuple[str, AtThreshold]]:
    review = manifest.thresholds.review
    found = [(f"Declined (above {measured.now.threshold:g})", measured.now)]
    if review is not None:
        found.append((f"Declined or reviewed (above {review:g})", at_threshold(measured.scored, review)))
    return found


def _tops(measured: Measurement) -> list[tuple[str, TopK, ReportChart]]:
    kinds = (("transactions", "precision", measured.by_day), ("cards", "cards", measured.cards_by_day))
    return [
        (
            what,
            top,
            ReportChart(
                charts.by_day(top, name, what),
                f"{what.capitalize()}: precision at {top.k:,} a day {percent(top.mean)}",
                f"Of the {top.k:,} most suspicious {what} of a day, {sum(top.found):,} over "
                f"{counted(len(top.days), 'day')} were fraudulent; there were {sum(top.frauds):,}.",
            ),
        )
        for what, name, top in kinds
        if top is not None
    ]


def _cost(measured: Measurement) -> ReportChart | None:
    if measured.curve is None or measured.costs is None:
        return None
    curve = measured.curve
    return ReportChart(
        charts.cost(curve, [each for each in measured.marked if not {*each.why} <= {"review", "chosen review"}]),
        f"Cost over the decline threshold ({measured.costs.words})",
        f"Least: {curve.per_1000[curve.least]:,.2f} per 1,000 transactions, declining above {curve.threshold:g}; "
        f"{curve.at(measured.now.threshold):,.2f} at {measured.now.threshold:g} (now); {curve.per_1000[0]:,.2f} if "
        "nothing is declined.",
    )
