"""Chooses thresholds: of least cost, or for the alerts that investigators have time for."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix_at_thresholds

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import DatasetError
from riskline.worker.training.evaluation.measures import ScoredRows

PROMISE = "a threshold that was chosen on a file looks better on that file than it will be"
MOST_DIGITS = 17


@dataclass(frozen=True)
class Costs:
    """The cost of a fraud that is not declined, shape (n,), and of a declined good row; and both in words."""

    missed: Rows
    declined: float
    words: str


@dataclass(frozen=True)
class CostCurve:
    """The total cost of mistakes where rows strictly above a threshold from `lows` to `highs` are declined.

    From the highest thresholds, which decline nothing, to the lowest. Per 1,000 transactions.
    """

    lows: Rows
    highs: Rows
    per_1000: Rows

    @property
    def least(self) -> int:
        """The index of the least cost; of several, the one that declines the fewest."""
        return int(np.argmin(self.per_1000))

    @property
    def threshold(self) -> float:
        """A short number in the middle of the thresholds of least cost."""
        return between(float(self.lows[self.least]), float(self.highs[self.least]))

    def at(self, threshold: float) -> float:
        """The cost at a threshold."""
        return float(self.per_1000[np.flatnonzero(self.lows <= threshold)[0]])


@dataclass(frozen=True)
class Cost:
    """The cost of mistakes per 1,000 transactions: if reviews find no fraud, and if they find every one."""

    per_1000: float
    if_reviews_find_all: float


@dataclass(frozen=True)
class ChosenThresholds:
    """Thresholds, the names of the new ones, and a sentence of reason for each."""

    thresholds: Thresholds
    named: list[tuple[str, float]]
    because: list[str]
    cost: Cost | None = None
    """The cost, where costs are known."""


def cost_curve(scored: ScoredRows, costs: Costs) -> CostCurve:
    """The cost at every distinct threshold: counted on the rows, where Elkan 2001 relies on calibrated probabilities.

    Raises:
        DatasetError: no row costs anything.
    """
    weights = np.where(scored.fraud, costs.missed, costs.declined)
    if not weights.any():
        raise DatasetError(f"{costs.words}: where no mistake costs anything, no threshold is better than another")
    _, false, missed, _, scores = confusion_matrix_at_thresholds(scored.fraud, scored.scores, sample_weight=weights)
    nothing = float(costs.missed[scored.fraud].sum())
    totals = np.concatenate([[nothing], false + missed])
    highs = np.concatenate([[1.0], scores])
    lows = np.concatenate([scores, [0.0]])
    # a score of 0 is above no threshold
    possible = (lows < highs) | (np.arange(len(lows)) == 0)
    return CostCurve(lows[possible], highs[possible], totals[possible] * 1000 / len(scored.fraud))


def review_threshold(scored: ScoredRows, decline: float, reviews_per_day: int) -> float:
    """The lowest review threshold with on average at most this many rows a day up to `decline`.

    Raises:
        DatasetError: the days are not known.
    """
    if scored.number_of_days is None:
        raise DatasetError("alerts per day need a column timestamp with a time in every row")
    descending = np.sort(scored.scores[scored.scores <= decline])[::-1]
    most = reviews_per_day * scored.number_of_days
    if most >= len(descending):
        return 0.0
    low = float(descending[most])
    above = descending[descending > low]
    return between(low, float(above[-1])) if len(above) else decline


def between(low: float, high: float) -> float:
    """The shortest decimal near the middle that is at least `low` and below `high`."""
    if high >= 1:
        high = np.nextafter(1.0, 2.0)
    middle = (low + min(high, 1.0)) / 2
    rounded = (round(middle, digits) for digits in range(2, MOST_DIGITS))
    return next((each for each in rounded if low <= each < high), low)


def choose(
    scored: ScoredRows, current: Thresholds, *, curve: CostCurve | None, costs: Costs | None, alerts_per_day: int | None
) -> ChosenThresholds:
    """The decline threshold of least cost, and the review threshold for the alerts per day, where asked for.

    Alerts per day bound reviews only: declined rows are not reviewed. The model's own thresholds stay unless others are
        better.

    Raises:
        DatasetError: alerts per day are asked for and the days are not known.
    """
    decline, review = current.decline, current.review
    because: list[str] = []
    if curve is not None and costs is not None:
        least = float(curve.per_1000[curve.least])
        decline = curve.threshold if least < curve.at(decline) else decline
        because.append(
            f"least cost ({costs.words}): decline above {decline:g}; {least:,.2f} per 1,000 transactions, against "
            f"{curve.at(current.decline):,.2f} at {current.decline:g} (now) and {curve.per_1000[0]:,.2f} if nothing is "
            "declined"
        )
    if alerts_per_day is not None:
        lowest = review_threshold(scored, decline, alerts_per_day)
        review = lowest if lowest < decline else None
        because.append(_in_time(scored, decline, review, alerts_per_day))
    if review is not None and review > decline:
        because.append(f"no review: its threshold {review:g} is above that")
        review = None
    named = [("chosen decline", decline)] if decline != current.decline else []
    if review is not None and review != current.review:
        named.append(("chosen review", review))
    cost = None
    if curve is not None and costs is not None:
        cost = cost_of(scored, Thresholds(decline=decline, review=review), curve, costs)
        because += [] if review is None else [_cost_words(cost)]
    return ChosenThresholds(Thresholds(decline=decline, review=review), named, because, cost)


def cost_of(scored: ScoredRows, thresholds: Thresholds, curve: CostCurve, costs: Costs) -> Cost:
    """The cost of the mistakes at these thresholds."""
    plain = curve.at(thresholds.decline)
    if thresholds.review is None:
        return Cost(plain, plain)
    reviewed = (scored.scores > thresholds.review) & (scored.scores <= thresholds.decline) & scored.fraud
    found = float(costs.missed[reviewed].sum()) * 1000 / len(scored.fraud)
    return Cost(plain, max(0.0, plain - found))


def _cost_words(cost: Cost) -> str:
    return (
        f"cost with these reviews: {cost.per_1000:,.2f} per 1,000 transactions if they find no fraud, "
        f"{cost.if_reviews_find_all:,.2f} if they find each (what a review itself costs is not counted)"
    )


def _in_time(scored: ScoredRows, decline: float, review: float | None, reviews_per_day: int) -> str:
    """A sentence on the reviews a day, the frauds in them, and the rows declined without one."""
    days = scored.number_of_days or 1
    declined = int((scored.scores > decline).sum()) / days
    told = f"at most {reviews_per_day:,} review{'' if reviews_per_day == 1 else 's'} a day"
    beside = f"beside the {declined:,.1f} a day that are declined without one"
    if review is None:
        return f"{told}: none, as more than that share the highest score below {decline:g}"
    within = (scored.scores > review) & (scored.scores <= decline)
    frauds = int((within & scored.fraud).sum()) / days
    return (
        f"{told}: review above {review:g}, on average {within.sum() / days:,.1f} a day, {frauds:,.1f} of them fraud, "
        f"{beside}"
    )
