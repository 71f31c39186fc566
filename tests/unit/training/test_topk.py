"""Precision at k a day, by transaction and by card, as the Fraud Detection Handbook defines it (chapter 4)."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskline.worker.training.evaluation.measures import ScoredRows
from riskline.worker.training.evaluation.topk import card_precision_top_k, precision_top_k, usual_k

# day, card, score, fraud
DAYS = [
    (1, "a", 0.9, 1),
    (1, "a", 0.8, 0),
    (1, "b", 0.7, 0),
    (1, "c", 0.6, 1),
    (2, "a", 0.9, 1),
    (2, "b", 0.5, 0),
    (2, "c", 0.4, 1),
    (3, "d", 0.3, 0),
]

Row = tuple[int, str | None, float, int]


def scored(rows: list[Row]) -> ScoredRows:
    days = np.array([f"2025-04-{day:02}" for day, *_ in rows], dtype="datetime64[D]")
    fraud, scores = (np.array([row[column] for row in rows]) for column in (3, 2))
    return ScoredRows(fraud.astype(bool), scores.astype(float), days, [card for _, card, *_ in rows])


def test_by_transaction_each_day_counts_its_k_highest_scores() -> None:
    found = precision_top_k(scored(DAYS), 2)

    # a (fraud) and a (good); a (fraud) and b; d alone, and still divided by 2
    assert found.found == [1, 1, 0]
    assert found.frauds == [2, 2, 0]
    assert found.mean == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found.best == pytest.approx((2 / 2 + 2 / 2 + 0) / 3)
    assert found.shorter_days == 1


def test_by_card_a_card_that_was_found_is_gone_from_the_next_day_on() -> None:
    found = card_precision_top_k(scored(DAYS), 2)

    # day 1: a (0.9, fraud) and b; day 2, without a: b and c (fraud); day 3: d
    assert found.there == [3, 2, 1]
    assert found.frauds == [2, 1, 0]
    assert found.found == [1, 1, 0]
    assert found.mean == pytest.approx(1 / 3)
    assert found.shorter_days == 1


def test_a_card_is_as_suspicious_as_its_worst_transaction_and_compromised_by_any() -> None:
    rows: list[Row] = [(1, "a", 0.9, 0), (1, "a", 0.1, 1), (1, "b", 0.5, 0)]

    found = card_precision_top_k(scored(rows), 1)

    assert found.found == [1]
    # many small ones don't add up
    rows = [(1, "a", 0.4, 0), (1, "a", 0.5, 0), (1, "b", 0.6, 1)]
    assert card_precision_top_k(scored(rows), 1).found == [1]


def test_a_day_of_which_all_cards_are_gone_still_counts() -> None:
    rows: list[Row] = [(1, "a", 0.9, 1), (2, "a", 0.9, 1)]

    found = card_precision_top_k(scored(rows), 1)

    assert (found.there, found.found, found.mean) == ([1, 0], [1, 0], 0.5)


def test_rows_without_a_card_are_left_out_by_card() -> None:
    rows: list[Row] = [(1, None, 0.9, 1), (1, "a", 0.5, 1)]

    assert card_precision_top_k(scored(rows), 2).frauds == [1]


def by_definition(rows: list[Row], k: int, *, by_card: bool) -> float:
    """Day by day as the definition reads, each step by itself."""
    gone: set[str | None] = {None} if by_card else set()
    precisions = []
    for _, of_day in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
        transactions = list(of_day)
        if by_card:
            left = [row for row in transactions if row[1] not in gone]
            cards = {row[1] for row in left}
            candidates = [
                (max(row[2] for row in left if row[1] == card), max(row[3] for row in left if row[1] == card), card)
                for card in cards
            ]
        else:
            candidates = [(score, fraud, None) for _, _, score, fraud in transactions]
        first = sorted(candidates, key=lambda each: each[0], reverse=True)[:k]
        precisions.append(sum(fraud for _, fraud, _ in first) / k)
        if by_card:
            gone |= {card for _, fraud, card in first if fraud}
    return sum(precisions) / len(precisions)


@given(
    rows=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["a", "b", "c", "d", "e"]), st.booleans()), min_size=1),
    k=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_both_are_what_the_definition_says(rows: list[tuple[int, str, bool]], k: int, seed: int) -> None:
    # scores without ties, whose order the definition leaves open
    order = np.random.default_rng(seed).permutation(len(rows))
    full: list[Row] = [
        (day, card, (int(place) + 1) / (len(rows) + 1), int(fraud))
        for (day, card, fraud), place in zip(rows, order, strict=True)
    ]

    assert precision_top_k(scored(full), k).mean == pytest.approx(by_definition(full, k, by_card=False))
    assert card_precision_top_k(scored(full), k).mean == pytest.approx(by_definition(full, k, by_card=True))


@pytest.mark.parametrize(("frauds", "k"), [(0, 1), (1, 1), (2, 2), (7, 10), (10, 10), (11, 20), (90, 100)])
def test_k_has_room_for_the_frauds_of_a_usual_day_and_for_few_others(frauds: int, k: int) -> None:
    day = np.array(["2026-11-24"] * 400, dtype="datetime64[D]")
    fraud = np.arange(400) < frauds

    assert usual_k(ScoredRows(fraud, np.linspace(1, 0, 400), day, None)) == k
