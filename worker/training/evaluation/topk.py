"""Precision top-k: the share of fraud among the k most suspicious a day.

Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection, Practical
Handbook (ULB, 2022), chapter 4, "Precision top-k metrics": each day by itself, divided by k also where a day has fewer,
then the mean over the days. For cards, a card's score of a day is its largest, it is compromised if a transaction of
that day is fraud, and a compromised card among the k is blocked: its later days do not count.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.assessment import Rows
from riskline.worker.training.evaluation.intervals import Marks
from riskline.worker.training.evaluation.measures import ScoredRows

STEPS = (1, 2, 5, 10)
"""Of round numbers, times a power of ten."""


@dataclass(frozen=True)
class TopK:
    """For each day with rows: all rows, the frauds, and the frauds among the first k."""

    k: int
    days: list[date]
    there: list[int]
    frauds: list[int]
    found: list[int]

    @property
    def mean(self) -> float:
        """Found of k, the mean over the days."""
        return float(np.mean(self.found)) / self.k

    @property
    def best(self) -> float:
        """The value of a perfect model: a day has no more than its frauds."""
        return float(np.minimum(self.frauds, self.k).mean()) / self.k

    @property
    def shorter_days(self) -> int:
        """Days with fewer than k."""
        return sum(there < self.k for there in self.there)


def usual_k(scored: ScoredRows) -> int:
    """A round number of alerts a day that has room for the frauds of a usual day.

    With many more alerts even a perfect model would have next to no fraud among them.
    """
    frauds = max(1.0, float(scored.fraud.sum()) / max(1, len(scored.calendar())))
    power: int = 10 ** int(math.log10(frauds))
    return next(step * power for step in STEPS if step * power >= frauds)


def precision_top_k(scored: ScoredRows, k: int) -> TopK:
    """By transaction; equal scores are taken in the order of the file."""
    there, frauds, found = [], [], []
    for rows in _days(scored):
        fraud = scored.fraud[rows]
        there.append(len(rows))
        frauds.append(int(fraud.sum()))
        found.append(int(fraud[_first(scored.scores[rows], k)].sum()))
    return TopK(k, scored.calendar(), there, frauds, found)


def card_precision_top_k(scored: ScoredRows, k: int) -> TopK:
    """By card; rows without a card are left out, equal scores are taken in the order of the cards' names."""
    cards = np.array([card or "" for card in scored.cards or []])
    blocked: set[str] = set()
    there, frauds, found = [], [], []
    for rows in _days(scored):
        kept = [row for row in rows if cards[row] and cards[row] not in blocked]
        names, scores, fraud = _by_card(cards[kept], scored.scores[kept], scored.fraud[kept])
        first = _first(scores, k)
        caught = names[first][fraud[first]]
        blocked.update(caught.tolist())
        there.append(len(names))
        frauds.append(int(fraud.sum()))
        found.append(len(caught))
    return TopK(k, scored.calendar(), there, frauds, found)


def _days(scored: ScoredRows) -> Iterator[npt.NDArray[np.int64]]:
    """The rows of each day, in the order of the file."""
    _, numbers = np.unique(scored.days if scored.days is not None else [], return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    return iter(np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1))


def _first(scores: Rows, k: int) -> npt.NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")[:k]


def _by_card(cards: npt.NDArray[np.str_], scores: Rows, fraud: Marks) -> tuple[npt.NDArray[np.str_], Rows, Marks]:
    names, numbers = np.unique(cards, return_inverse=True)
    largest, compromised = np.zeros(len(names)), np.zeros(len(names), dtype=bool)
    np.maximum.at(largest, numbers, scores)
    np.logical_or.at(compromised, numbers, fraud)
    return names, largest, compromised
