"""The simulator: the same seed gives the same file, and its rows look like a card portfolio with stolen cards."""

import numpy as np
import polars as pl
import pytest

from riskline.cli.up.demo import example_body
from riskline.shared.domain.policy import DEFAULT_DECLINE_THRESHOLD
from riskline.shared.domain.transaction import Transaction
from riskline.worker.training.data.labelled import read_labelled
from riskline.worker.training.data.periods import split
from riskline.worker.training.data.simulate import DAYS, EPISODE_DAYS, simulate
from riskline.worker.training.fit import Algorithm, Fitted, fit

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


@pytest.fixture(scope="module")
def demo(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """The model of a first start."""
    path = tmp_path_factory.mktemp("demo") / "rows.parquet"
    frame.write_parquet(path)
    data = read_labelled(path, Transaction, label="is_fraud", skip_bad_rows=False)
    return fit(split(data, seed=0).training, Algorithm.RANDOM_FOREST, seed=0)


def score(model: Fitted, transaction: Transaction) -> float:
    return float(model.probabilities(np.array([transaction.features()]))[0])


def test_the_first_request_to_paste_is_an_obvious_fraud_and_the_demo_model_declines_it(demo: Fitted) -> None:
    shown = Transaction.from_row(example_body(Transaction))

    assert (shown.amount, shown.distance_from_home, shown.is_online_transaction) == (4500.0, 1250.5, 1)
    assert score(demo, shown) > DEFAULT_DECLINE_THRESHOLD


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("a dinner on a journey", {"amount": 60.0, "merchant_category_code": 5812, "distance_from_home": 900.0}),
        ("new furniture", {"amount": 4500.0, "merchant_category_code": 5311, "distance_from_home": 10.0}),
        ("a book", {"amount": 30.0, "merchant_category_code": 5942, "is_online_transaction": 1}),
    ],
)
def test_the_demo_model_approves_what_honest_customers_do_rarely(
    demo: Fitted, what: str, changes: dict[str, float]
) -> None:
    usual = {"transaction_id": what.replace(" ", "-"), "customer_age": 45, "distance_from_home": 8.0}

    assert score(demo, Transaction.from_row({"is_online_transaction": 0, **usual, **changes})) < 0.5
