"""The simulator: the same seed gives the same file, and its rows look like a card portfolio with stolen cards."""

import polars as pl
import pytest

from shared.transaction import Transaction
from worker.training.simulate import DAYS, EPISODE_DAYS, simulate

AMOUNT, CATEGORY = Transaction.feature_names()[:2]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return simulate(rows=60_000, seed=0)


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert simulate(rows=2_000, seed=1).equals(simulate(rows=2_000, seed=1))
    assert not simulate(rows=2_000, seed=1).equals(simulate(rows=2_000, seed=2))


def test_every_row_is_a_transaction(frame: pl.DataFrame) -> None:
    for row in frame.select(list(Transaction.model_fields)).iter_rows(named=True):
        Transaction.from_row(row)


def test_ids_are_unique_and_times_are_in_order_over_three_months(frame: pl.DataFrame) -> None:
    times = frame["timestamp"].str.to_datetime()

    assert frame["transaction_id"].n_unique() == 60_000
    assert times.is_sorted()
    assert times.dt.date().n_unique() == DAYS


def test_about_one_in_a_hundred_is_fraud_in_every_month(frame: pl.DataFrame) -> None:
    monthly = frame.group_by(frame["timestamp"].str.slice(0, 7)).agg(pl.col("is_fraud").mean())["is_fraud"]

    assert len(monthly) == 3
    assert monthly.is_between(0.006, 0.02).all()


def test_the_fraud_of_a_card_is_one_episode_of_a_few_days(frame: pl.DataFrame) -> None:
    times = frame.filter(pl.col("is_fraud") == 1).group_by("card_id").agg(pl.col("timestamp").str.to_datetime())

    spans = times["timestamp"].list.max() - times["timestamp"].list.min()

    assert (spans.dt.total_hours() <= EPISODE_DAYS * 24).all()


def test_each_category_has_its_own_amounts_in_cents(frame: pl.DataFrame) -> None:
    medians = frame.filter(pl.col("is_fraud") == 0).group_by(CATEGORY).agg(pl.col(AMOUNT).median())[AMOUNT]

    assert medians.max() > 2 * medians.min()
    assert (frame[AMOUNT] == frame[AMOUNT].round(2)).all()


def test_some_frauds_hide_among_the_amounts_of_honest_transactions(frame: pl.DataFrame) -> None:
    honest = frame.filter(pl.col("is_fraud") == 0)[AMOUNT]
    stolen = frame.filter(pl.col("is_fraud") == 1)[AMOUNT]

    assert stolen.median() > honest.median()
    assert (stolen < honest.quantile(0.9)).mean() > 0.05
