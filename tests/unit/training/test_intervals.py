"""Intervals by card: as wide as the cards say, never narrower than by rows, the same each time."""

import tracemalloc

import numpy as np
import pytest

from riskline.worker.training.evaluation.intervals import Cards, share
from riskline.worker.training.evaluation.measures import ScoredRows, at_threshold, calibration


def rows_of(cards: int, each: int, *, alike: bool) -> ScoredRows:
    """Frauds, half of them above 0.5: of a card all or none, or in turn; and as many good rows on other cards."""
    card = np.repeat(np.arange(cards), each)
    caught = card % 2 == 0 if alike else np.arange(cards * each) % 2 == 0
    scores = np.concatenate([np.where(caught, 0.9, 0.1), np.zeros(cards * each)])
    fraud = np.arange(2 * cards * each) < cards * each
    return ScoredRows(fraud, scores, None, [f"C{number}" for number in (*card, *(card + cards))])


def test_rows_of_one_card_that_are_alike_count_as_the_cards_that_they_are() -> None:
    found = at_threshold(rows_of(40, 25, alike=True), 0.5).recall

    # 20 of 40 cards, and not 500 of 1,000 rows: the standard error is that of 40
    error = np.sqrt(0.25 / 40)
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * error, abs=0.02)
    assert found.high == pytest.approx(0.5 + 1.96 * error, abs=0.02)
    by_row = share(found.count, found.of)
    assert (found.high - found.low) > 4 * (by_row.high - by_row.low)  # type: ignore[operator]


def test_an_interval_by_card_is_never_narrower_than_by_rows() -> None:
    in_turn, few = rows_of(40, 24, alike=False), rows_of(4, 5, alike=True)

    for scored in (in_turn, few):
        for threshold in (0.05, 0.5, 0.95):
            at = at_threshold(scored, threshold)
            for found in (at.recall, at.precision, at.false_positive_rate, at.alerts):
                plain = share(found.count, found.of)
                assert (found.count, found.of, found.value) == (plain.count, plain.of, plain.value)
                if plain.low is None or plain.high is None:
                    assert found == plain
                else:
                    assert found.low is not None
                    assert found.high is not None
                    assert found.low <= plain.low
                    assert found.high >= plain.high
    assert at_threshold(in_turn, 0.5).recall == share(480, 960)


def test_without_cards_and_with_a_card_a_row_the_interval_is_that_of_rows() -> None:
    random = np.random.default_rng(1)
    fraud, scores = random.random(4_000) < 0.2, random.random(4_000)

    plain = at_threshold(ScoredRows(fraud, scores), 0.7).recall
    own = at_threshold(ScoredRows(fraud, scores, None, [None] * 4_000), 0.7).recall

    assert plain == share(plain.count, plain.of)
    assert own.low == pytest.approx(plain.low, abs=0.005)
    assert own.high == pytest.approx(plain.high, abs=0.005)


def test_more_cards_than_are_drawn_one_by_one_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = at_threshold(rows_of(900, 4, alike=True), 0.5).recall
    monkeypatch.setattr("riskline.worker.training.evaluation.intervals.MOST_GROUPS", 300)

    grouped = at_threshold(rows_of(900, 4, alike=True), 0.5).recall

    assert grouped.low == pytest.approx(whole.low, abs=0.015)
    assert grouped.high == pytest.approx(whole.high, abs=0.015)


def test_the_same_rows_give_the_same_intervals_and_say_on_how_many_cards_frauds_are() -> None:
    first, second = (rows_of(40, 25, alike=True) for _ in range(2))

    assert at_threshold(first, 0.5) == at_threshold(second, 0.5)
    assert [each.fraud for each in calibration(first)] == [each.fraud for each in calibration(second)]
    assert first.by_card is not None
    assert first.by_card.described() == {"by": "card", "cards": 80, "cards_with_fraud": 40, "draws": 1_000}
    assert Cards(["", "row 0", None], np.array([True, False, True])).number == 3


def test_long_names_of_cards_take_no_memory_for_each_row() -> None:
    """Hashed numbers of cards have 64 characters."""
    rows = 100_000
    cards: list[str | None] = [f"{row % 100:064x}" for row in range(rows)]

    tracemalloc.start()
    Cards(cards, np.zeros(rows, np.bool_))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most / rows < 100
