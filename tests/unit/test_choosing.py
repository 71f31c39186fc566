"""Thresholds of least cost, and those that investigators have time for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DatasetError
from shared.policy import Thresholds
from worker.training.choosing import Chosen, Costs, alerts_threshold, between, choose, cost_curve
from worker.training.measures import Scored

NOW = Thresholds(decline=0.85, review=0.5)


def scored(labels: list[int], scores: list[float], days: list[int] | None = None) -> Scored:
    moments = None if days is None else np.array([f"2025-04-{day:02}" for day in days], dtype="datetime64[D]")
    return Scored(np.array(labels, dtype=bool), np.array(scores), moments)


def fixed(rows: Scored, missed: float, declined: float) -> Costs:
    return Costs(np.full(len(rows.fraud), missed), declined, "said")


def chosen(rows: Scored, costs: Costs | None, alerts_per_day: int | None, now: Thresholds = NOW) -> Chosen:
    curve = None if costs is None else cost_curve(rows, costs)
    return choose(rows, now, curve=curve, costs=costs, alerts_per_day=alerts_per_day)


def cost_at(rows: Scored, costs: Costs, threshold: float) -> float:
    above = rows.scores > threshold
    missed = costs.missed[rows.fraud & ~above].sum()
    return float(missed + costs.declined * (~rows.fraud & above).sum()) * 1000 / len(rows.fraud)


@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.9, 1.0]), st.integers(0, 50)), min_size=2
    ),
    declined=st.integers(1, 20),
)
def test_no_threshold_costs_less_than_the_chosen_one(rows: list[tuple[bool, float, int]], declined: int) -> None:
    labels, scores, amounts = (np.array(column) for column in zip(*rows, strict=True))
    labels[:2] = [True, False]
    all_rows = Scored(labels.astype(bool), scores.astype(float))
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


def test_alerts_a_day_are_at_most_as_many_on_average() -> None:
    rows = scored([0] * 8, [0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.1, 0.05], [1, 1, 1, 1, 1, 2, 2, 2])

    for alerts, above in ((1, 2), (2, 4), (3, 6), (4, 8)):
        threshold = alerts_threshold(rows, alerts)
        assert (rows.scores > threshold).sum() == above

    found = chosen(rows, None, 2)
    assert found.thresholds == Thresholds(decline=0.85, review=0.45)
    assert "on average 2.0 a day" in found.because[0]


def test_equal_scores_are_alerts_together_or_not_at_all() -> None:
    rows = scored([0] * 4, [0.9, 0.5, 0.5, 0.5], [1, 1, 1, 1])

    assert (rows.scores > alerts_threshold(rows, 2)).sum() == 1
    none = chosen(scored([0] * 4, [0.9] * 4, [1] * 4), None, 2)
    assert "too many share the highest score" in none.because[0]


def test_where_those_declined_are_more_than_there_is_time_for_less_is_declined_and_nothing_reviewed() -> None:
    rows = scored([0] * 4, [0.99, 0.95, 0.9, 0.2], [1, 1, 1, 1])

    found = chosen(rows, None, 1)

    assert found.thresholds == Thresholds(decline=0.97, review=None)
    assert "above 0.85 there are 3.0" in found.because[0]


def test_where_those_declined_are_as_many_as_there_is_time_for_nothing_is_reviewed() -> None:
    rows = scored([0] * 4, [0.99, 0.95, 0.8, 0.2], [1, 1, 1, 1])

    assert chosen(rows, None, 2, Thresholds(decline=0.8)).thresholds == Thresholds(decline=0.8)


def test_alerts_a_day_need_days() -> None:
    with pytest.raises(DatasetError, match="need a column timestamp"):
        alerts_threshold(scored([0, 1], [0.1, 0.2]), 5)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.2, 0.6, 0.4), (0.85, 1.0, 0.93), (1.0, 1.0, 1.0), (0.123456, 0.123457, 0.123456), (0.3, 0.3, 0.3)],
)
def test_between_two_scores_lies_a_short_number(low: float, high: float, expected: float) -> None:
    assert between(low, high) == pytest.approx(expected)
    assert low <= between(low, high) <= high
