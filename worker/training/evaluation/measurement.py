"""The measurement of a model version on a labelled file, for the terminal, programs and the report."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss

from riskline.shared.errors import DatasetError
from riskline.shared.model.bundle import ServingModel
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.evaluation.evaluate import evaluate
from riskline.worker.training.evaluation.measures import AtThreshold, ScoredRows, at_threshold, current, ladder
from riskline.worker.training.evaluation.overlap import TrainingOverlap, overlap
from riskline.worker.training.evaluation.thresholds import ChosenThresholds, CostCurve, Costs, choose, cost_curve
from riskline.worker.training.evaluation.topk import TopK, card_precision_top_k, precision_top_k, usual_k


@dataclass(frozen=True)
class Measurement:
    """The measured values, and the chosen thresholds where they were asked for."""

    scored: ScoredRows
    metrics: dict[str, Any]
    now: AtThreshold
    """At the model's decline threshold."""
    table: list[AtThreshold]
    by_day: TopK | None
    cards_by_day: TopK | None
    costs: Costs | None
    curve: CostCurve | None
    chosen: ChosenThresholds | None
    known: TrainingOverlap
    """The overlap with the model's training rows."""

    @property
    def marked(self) -> list[AtThreshold]:
        """The model's own thresholds and those chosen."""
        return [each for each in self.table if {"decline", "review", "chosen decline", "chosen review"} & {*each.why}]

    @property
    def intervals_are(self) -> str:
        """The method of the intervals, in words."""
        cards = self.scored.by_card
        return "Wilson" if cards is None else f"by {cards.number:,} cards, never narrower than Wilson's"

    def described(self) -> dict[str, Any]:
        """The same for programs: intervals as [value, low, high]."""
        shown: dict[str, Any] = {
            **self.metrics,
            "known_rows": self.known._asdict(),
            "at_thresholds": [each.described() for each in self.table],
        }
        for name, top in (("precision_at_k", self.by_day), ("card_precision_at_k", self.cards_by_day)):
            if top is not None:
                told = {"k": top.k, "days": len(top.days), "shorter_days": top.shorter_days}
                shown[name] = {**told, "mean": top.mean, "best": top.best}
        cards = self.scored.by_card
        shown["intervals"] = {"by": "row"} if cards is None else cards.described()
        if self.curve is not None:
            least = {"threshold": self.curve.threshold, "least_per_1000": float(self.curve.per_1000[self.curve.least])}
            none = float(self.curve.per_1000[0])
            at = self.curve.at(self.now.threshold)
            shown["cost"] = {**least, "now_per_1000": at, "nothing_declined_per_1000": none}
        if self.chosen is not None:
            shown["chosen"] = {**self.chosen.thresholds.model_dump(), "because": self.chosen.because}
            if self.chosen.cost is not None:
                shown["chosen"]["cost"] = asdict(self.chosen.cost)
        return shown


def measure(
    data: LabelledRows,
    model: ServingModel,
    *,
    costs: Costs | None = None,
    alerts_per_day: int | None = None,
    known: TrainingOverlap | None = None,
) -> Measurement:
    """Scores the rows and measures; chooses thresholds where costs or alerts per day are given.

    `known` is the overlap of rows with the training rows by columns that `data` has not.

    Raises:
        DatasetError: the rows are not of both kinds, or alerts per day are asked for without times.
    """
    scores = model.score(data.rows)
    days = None if data.times is None else data.times.astype("datetime64[D]")
    scored = ScoredRows(data.labels.astype(bool), scores, days, data.cards)
    metrics = evaluate(data.labels, scores, thresholds=model.thresholds)
    curve = None if costs is None else cost_curve(scored, costs)
    chosen = None
    if curve is not None or alerts_per_day is not None:
        chosen = choose(scored, model.thresholds, curve=curve, costs=costs, alerts_per_day=alerts_per_day)
    k = 0 if days is None else usual_k(scored) if alerts_per_day is None else alerts_per_day
    return Measurement(
        scored=scored,
        metrics={**metrics, "brier_score": float(brier_score_loss(scored.fraud, scores))},
        now=at_threshold(scored, model.thresholds.decline),
        table=ladder(scored, [*current(model.thresholds), *([] if chosen is None else chosen.named)]),
        by_day=None if days is None else precision_top_k(scored, k),
        cards_by_day=None if days is None or data.cards is None else card_precision_top_k(scored, k),
        costs=costs,
        curve=curve,
        chosen=chosen,
        known=known or overlap(data, model.manifest.training, model.rows_sketch),
    )


def costs_of(
    data: LabelledRows, features: tuple[str, ...], *, missed: str | None, declined: float | None
) -> Costs | None:
    """The costs of mistakes: of a missed fraud a number or the value of a feature, of a declined good row a number.

    None where one of them is not given.

    Raises:
        DatasetError: `missed` is neither, or a cost is below zero.
    """
    if missed is None or declined is None:
        return None
    words = f"a missed fraud costs {'its ' if missed in features else ''}{missed}, a declined good one {declined:g}"
    if missed in features:
        each = data.rows[:, features.index(missed)]
    else:
        try:
            each = np.full(len(data.rows), float(missed))
        except ValueError:
            raise DatasetError(f"--cost-fn {missed}: must be a number or a feature ({', '.join(features)})") from None
    if not np.isfinite(each).all() or each.min() < 0:
        raise DatasetError(f"--cost-fn {missed}: a cost must be 0 or more")
    return Costs(each, declined, words)
