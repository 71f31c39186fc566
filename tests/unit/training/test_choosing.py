"""Thresholds of least cost, and those that investigators have time for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import DatasetError
from riskline.worker.training.evaluation.measures import ScoredRows
from riskline.worker.training.evaluation.thresholds import (
    ChosenThresholds,
    Cost,
    Costs,
    between,
    choose,
    cost_curve,
    review_threshold,
)

NOW = Thresholds(decline=0.85, review=0.5)


def scored(labels: list[int], scores: list[float], days: list[int] | None = None) -> ScoredRows:
    moments = None if days is None else np.array([f"2025-04-{day:02}" for day in days], dtype="datetime64[D]")
    return ScoredRows(np.array(labels, dtype=bool), np.array(scores), moments)


def fixed(rows: ScoredRows, missed: float, declined: float) -> Costs:
    return Costs(np.full(len(rows.fraud), missed), declined, "said")


def chosen(
    rows: ScoredRows, costs: Costs | None, alerts_per_day: int | None, now: Thresholds = NOW
) -> ChosenThresholds:
    curve = None if costs is None else cost_curve(rows, costs)
    return choose(rows, now, curve=curve, costs=costs, alerts_per_day=alerts_per_day)


def cost_at(rows: ScoredRows, costs: Costs, threshold: float) -> float:
    above = rows.scores > threshold
    missed = costs.missed[rows.fraud & ~above].sum()
    return float(missed + costs.declined * (~rows.fraud & above).sum()) * 1000 / len(rows.fraud)


@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.9, 1.0]), st.integers(0, 50)), min_size=2
    ),
    declined=st.integers(1, 20),
)
@settings(deadline=None)
def test_no_threshold_costs_less_than_the_chosen_one(rows: list[tuple[bool, float, int]], declined: int) -> None:
    labels, scores, amounts = (np.array(column) for column in zip(*rows, strict=True))
    labels[:2] = [True, False]
    all_rows = ScoredRows(labels.astype(bool), scores.astype(float))
    costs = Costs(amounts.astype(float), declined, "said")

    curve = cost_curve(all_rows, costs)

    tried = [*np.unique(scores), 0.0, 0.05, 0.15, 0.6, 0.95, 1.0]
    least = min(cost_at(all_rows, costs, float(each)) for each in tried)
    assert cost_at(all_rows, costs, curve.threshold) == pytest.approx(least)
    assert curve.per_1000[curve.least] == pytest.approx(least)
    for each in tried:
        assert curve.at(float(each)) == pytest.approx(cost_at(all_rows, costs, float(each)))


def test_a_missed_fraud_may_cost_its_own_amount() -> None:
    rows = scored([1, 1, 0, 0], [0.7, 0.2, 0.3, 0.1])

    # declining the fraud of 0.2 too costs a good one, 5; missing it costs 4 or 6
    assert cost_curve(rows, Costs(np.array([100.0, 4, 0, 0]), 5, "")).threshold == pytest.approx(0.5)
    assert cost_curve(rows, Costs(np.array([100.0, 6, 0, 0]), 5, "")).threshold == pytest.approx(0.15)


def test_where_no_mistake_costs_anything_there_is_nothing_to_choose() -> None:
    rows = scored([1, 0], [0.9, 0.1])

    with pytest.raises(DatasetError, match="no threshold is better than another"):
        cost_curve(rows, fixed(rows, 0, 0))


def test_the_models_own_threshold_stays_where_none_costs_less() -> None:
    rows = scored([1, 0], [0.9, 0.1])

    found = chosen(rows, fixed(rows, 10, 1), None)

    assert found.thresholds == NOW
    assert found.named == []


def test_a_review_threshold_above_the_new_decline_threshold_is_dropped_and_said() -> None:
    rows = scored([1, 0], [0.4, 0.1])

    found = chosen(rows, fixed(rows, 10, 1), None)

    assert found.thresholds.review is None
    assert 0.1 <= found.thresholds.decline < 0.4
    assert "no review" in found.because[-1]


def test_reviews_a_day_are_at_most_as_many_on_average_beside_what_is_declined() -> None:
    rows = scored([0] * 8, [0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.1, 0.05], [1, 1, 1, 1, 1, 2, 2, 2])

    for reviews, above in ((1, 3), (2, 5), (3, 7), (4, 8)):
        threshold = review_threshold(rows, 0.85, reviews)
        assert (rows.scores > threshold).sum() == above

    found = chosen(rows, None, 2)
    assert found.thresholds == Thresholds(decline=0.85, review=0.25)
    assert "on average 2.0 a day, 0.0 of them fraud, beside the 0.5 a day that are declined" in found.because[0]


def test_equal_scores_are_reviewed_together_or_not_at_all() -> None:
    rows = scored([0] * 4, [0.9, 0.5, 0.5, 0.5], [1, 1, 1, 1])

    assert review_threshold(rows, 0.85, 2) == 0.85
    none = chosen(rows, None, 2)
    assert none.thresholds.review is None
    assert "more than that share the highest score below 0.85" in none.because[0]


def test_time_for_reviews_never_lets_more_frauds_through_that_are_declined_at_less_cost() -> None:
    # five are declined a day and there is time for one review: nobody looks at what is declined
    rows = scored([1, 1, 1, 1, 1, 1, 0, 0], [0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.4, 0.1], [1] * 8)
    costs = fixed(rows, 100, 1)
    alone = chosen(rows, costs, None)

    found = chosen(rows, costs, 1)

    assert found.thresholds.decline == alone.thresholds.decline == pytest.approx(0.45)
    assert (rows.scores > (found.thresholds.review or 1)).sum() == 7
    assert found.cost is not None
    assert found.cost.per_1000 == pytest.approx(cost_at(rows, costs, found.thresholds.decline))


def test_the_cost_of_what_is_chosen_is_said_with_and_without_what_reviews_find() -> None:
    rows = scored([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], [1] * 4)
    costs = fixed(rows, 10, 30)

    found = chosen(rows, costs, 2)

    # the second fraud costs 10 if it is missed, and declining it would decline a good one, too
    assert found.thresholds == Thresholds(decline=0.85, review=0.4)
    assert found.cost == Cost(per_1000=2_500, if_reviews_find_all=0)
    assert "2,500.00 per 1,000 transactions if they find no fraud, 0.00 if they find each" in found.because[-1]
    assert chosen(rows, costs, None, Thresholds(decline=0.85)).cost == Cost(2_500, 2_500)


def test_reviews_a_day_need_days() -> None:
    with pytest.raises(DatasetError, match="need a column timestamp"):
        review_threshold(scored([0, 1], [0.1, 0.2]), 0.85, 5)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.2, 0.6, 0.4), (0.85, 1.0, 0.93), (1.0, 1.0, 1.0), (0.123456, 0.123457, 0.123456), (0.3, 0.3, 0.3)],
)
def test_between_two_scores_lies_a_short_number(low: float, high: float, expected: float) -> None:
    assert between(low, high) == pytest.approx(expected)
    assert low <= between(low, high) <= high
