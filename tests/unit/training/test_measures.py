"""Counts above a threshold, the intervals that chance leaves them, and the thresholds that a table shows."""

import numpy as np
import pytest

from riskline.worker.training.evaluation.measures import ScoredRows, at_threshold, calibration, ladder, share


def scored(labels: list[int], scores: list[float]) -> ScoredRows:
    return ScoredRows(np.array(labels, dtype=bool), np.array(scores))


def test_an_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: method 3 for 81 of 263, 15 of 148 and 0 of 20
    for count, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = share(count, of)

        assert found.value == count / of
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_of_nothing_there_is_no_share() -> None:
    assert share(0, 0).value is None


def test_rows_count_as_above_a_threshold_strictly() -> None:
    found = at_threshold(scored([1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.6, 0.5, 0.8, 0.5, 0.2, 0.1, 0.0]), 0.5)

    counts = (found.true_positives, found.false_positives, found.false_negatives, found.true_negatives)
    assert counts == (2, 1, 1, 4)
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.precision.value == pytest.approx(2 / 3)
    assert found.false_positive_rate.value == pytest.approx(1 / 5)
    assert found.alerts.value == pytest.approx(3 / 8)


def test_the_ladder_has_the_named_thresholds_and_no_two_others_that_do_the_same() -> None:
    random = np.random.default_rng(0)
    rows = ScoredRows(random.random(10_000) < 0.01, random.beta(0.3, 20, 10_000))

    found = ladder(rows, [("decline", 0.85), ("review", 0.84), ("chosen decline", 0.85)])

    assert [each.threshold for each in found] == sorted((each.threshold for each in found), reverse=True)
    named = {each.threshold: each.why for each in found if each.why}
    assert named[0.85] == ("decline", "chosen decline")
    assert named[0.84] == ("review",)
    alerts = [each.alerts.count for each in found if each.threshold < 0.84]
    assert len(set(alerts)) == len(alerts)
    assert 0 not in alerts
    by_name = {name: each.alerts.count for each in found for name in each.why}
    assert [by_name[f"1 alert in {many}"] for many in ("20", "100", "200", "1,000")] == [500, 100, 50, 10]


def test_a_calibration_bin_has_its_rows_their_mean_score_and_share_of_frauds() -> None:
    found = calibration(scored([0, 0, 1, 1, 0, 1], [0.0, 0.004, 0.42, 0.48, 0.46, 1.0]))

    assert [(each.low, each.high, each.fraud.of, each.fraud.count) for each in found] == [
        (0, 0.005, 2, 0),
        (0.4, 0.5, 3, 2),
        (0.99, 1, 1, 1),
    ]
    assert [each.mean for each in found] == pytest.approx([0.002, (0.42 + 0.48 + 0.46) / 3, 1.0])
