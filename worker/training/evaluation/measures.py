"""A model's performance at thresholds: shares of transactions with their confidence intervals."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binned_statistic

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.policy import Thresholds
from riskline.worker.training.evaluation.intervals import Cards, Marks, Share, share

ROUND_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
ONE_ALERT_IN = (20, 100, 200, 1_000)
"""Transactions for each alert: these thresholds are useful also where all scores are small."""

SCORE_EDGES = (0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
"""The edges of the calibration's bins: narrow at both ends, where most scores are."""


@dataclass(frozen=True)
class ScoredRows:
    """Labelled rows with the model's scores, all of shape (n,): fraud, score, day, and card if known.

    A card is None in a row that has none; `days` and `cards` are None where the file has no such column.
    """

    fraud: Marks
    scores: Rows
    days: npt.NDArray[np.datetime64] | None = None
    cards: list[str | None] | None = None

    @property
    def frauds(self) -> int:
        """The number of fraud rows."""
        return int(self.fraud.sum())

    @property
    def number_of_days(self) -> int | None:
        """Days that have rows; None where times are not known."""
        return None if self.days is None else len(np.unique(self.days))

    @cached_property
    def by_card(self) -> Cards | None:
        """The cards for the intervals; None where there are none: rows then count as independent."""
        return None if self.cards is None else Cards(self.cards, self.fraud)

    def share(self, counted: Marks, among: Marks | None = None) -> Share:
        """The share of the counted rows among `of`, by default all, with its interval."""
        among = np.ones(len(self.fraud), dtype=bool) if among is None else among
        if self.by_card is not None:
            return self.by_card.share(counted, among)
        return share(int((counted & among).sum()), int(among.sum()))

    def calendar(self) -> list[date]:
        """The days that have rows, in order."""
        return [] if self.days is None else np.unique(self.days).tolist()


@dataclass(frozen=True)
class AtThreshold:
    """The four counts of the rows strictly above a threshold and of the others, and the reasons for the threshold."""

    threshold: float
    why: tuple[str, ...]
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    alerts: Share
    """Rows above the threshold, of all."""
    false_positive_rate: Share
    """Good rows above the threshold, of all good rows."""
    precision: Share
    """Frauds above the threshold, of all rows above it."""
    recall: Share
    """Frauds above the threshold, of all frauds."""

    def described(self) -> dict[str, Any]:
        """The same for programs."""
        shares = {name: getattr(self, name) for name in ("false_positive_rate", "precision", "recall", "alerts")}
        return {
            "threshold": self.threshold,
            "why": self.why,
            **{name: [each.value, each.low, each.high] for name, each in shares.items()},
        }


def at_threshold(scored: ScoredRows, threshold: float, why: tuple[str, ...] = ()) -> AtThreshold:
    """Counts what is strictly above the threshold, as a decision does."""
    above = scored.scores > threshold
    caught = int((above & scored.fraud).sum())
    alerts = int(above.sum())
    return AtThreshold(
        threshold=threshold,
        why=why,
        true_positives=caught,
        false_positives=alerts - caught,
        false_negatives=scored.frauds - caught,
        true_negatives=len(scored.fraud) - alerts - scored.frauds + caught,
        alerts=scored.share(above),
        false_positive_rate=scored.share(above, ~scored.fraud),
        precision=scored.share(scored.fraud, above),
        recall=scored.share(above, scored.fraud),
    )


def ladder(scored: ScoredRows, named: Iterable[tuple[str, float]]) -> list[AtThreshold]:
    """The named thresholds, round ones, and those with a round share of alerts; of equal counts only one, unless named.

    From the highest to the lowest.
    """
    why: dict[float, tuple[str, ...]] = {}
    for name, threshold in named:
        why[threshold] = (*why.get(threshold, ()), name)
    descending = np.sort(scored.scores)[::-1]
    shares = {
        float(descending[len(descending) // many]): f"1 alert in {many:,}"
        for many in ONE_ALERT_IN
        if len(descending) >= many
    }
    seen = {int((scored.scores > threshold).sum()) for threshold in why} | {0}
    for threshold in (*ROUND_THRESHOLDS, *shares):
        alerts = int((scored.scores > threshold).sum())
        if alerts not in seen:
            seen.add(alerts)
            about = (shares[threshold],) if threshold in shares else ()
            why[threshold] = about
    return [at_threshold(scored, threshold, why[threshold]) for threshold in sorted(why, reverse=True)]


def current(thresholds: Thresholds) -> list[tuple[str, float]]:
    """The model's own thresholds by name."""
    review = [] if thresholds.review is None else [("review", thresholds.review)]
    return [("decline", thresholds.decline), *review]


@dataclass(frozen=True)
class Bin:
    """Rows with scores from `low` to `high`: their mean score, and the share of frauds among them."""

    low: float
    high: float
    mean: float
    fraud: Share


def calibration(scored: ScoredRows) -> list[Bin]:
    """Rows by score; bins without rows are left out."""
    means, edges, numbers = binned_statistic(scored.scores, scored.scores, statistic="mean", bins=SCORE_EDGES)
    return [
        Bin(float(edges[i]), float(edges[i + 1]), float(means[i]), scored.share(scored.fraud, numbers == i + 1))
        for i in np.unique(numbers - 1)
    ]
