"""The simulator of cards: the same seed gives the same file, and what a card did before tells what a payment hides."""

import numpy as np
import polars as pl
import pytest

from riskline.worker.training.data.simulate_cards import CATEGORIES, DAYS, simulate_cards

HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return simulate_cards(rows=60_000, seed=0)


def before(frame: pl.DataFrame, entity: str, within_us: int) -> np.ndarray:
    """By row: the entity's rows before it, within the time."""
    times = frame["timestamp"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.epoch("us").to_numpy()
    counts = np.zeros(len(frame), dtype=np.int64)
    for (rows,) in frame.with_row_index().group_by(entity).agg("index").select("index").iter_rows():
        mine = times[rows]
        counts[rows] = np.arange(len(mine)) - np.searchsorted(mine, mine - within_us)
    return counts


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert simulate_cards(rows=2_000, seed=1).equals(simulate_cards(rows=2_000, seed=1))
    assert not simulate_cards(rows=2_000, seed=1).equals(simulate_cards(rows=2_000, seed=2))


@pytest.mark.parametrize("rows", [1_000, 5_000])
@pytest.mark.parametrize("seed", range(5))
def test_also_a_small_file_has_fraud_in_its_last_quarter_and_before_it(rows: int, seed: int) -> None:
    labels = simulate_cards(rows=rows, seed=seed)["is_fraud"]

    assert len(labels) == rows
    assert labels[: rows * 3 // 4].sum() > 0
    assert labels[rows * 3 // 4 :].sum() > 0


def test_ids_are_unique_and_times_have_a_zone_and_are_in_order_over_three_months(frame: pl.DataFrame) -> None:
    times = frame["timestamp"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ")

    assert frame["transaction_id"].n_unique() == 60_000
    assert times.is_sorted()
    assert times.dt.date().n_unique() == DAYS


def test_every_payment_has_a_card_and_a_merchant_of_one_category_and_a_device_where_it_is_online(
    frame: pl.DataFrame,
) -> None:
    by_merchant = frame.group_by("merchant_id").agg(pl.col("merchant_category_code").n_unique())

    assert (by_merchant["merchant_category_code"] == 1).all()
    assert frame["merchant_category_code"].n_unique() == len(CATEGORIES)
    assert ((frame["device_id"] != "") == (frame["is_online"] == 1)).all()
    assert (frame["amount"] == frame["amount"].round(2)).all()
    assert frame["amount"].min() > 0


def test_a_card_has_merchants_that_it_goes_to_again(frame: pl.DataFrame) -> None:
    honest = frame.filter(pl.col("is_fraud") == 0)
    visits = honest.group_by("card_id", "merchant_id").len()

    assert visits.filter(pl.col("len") >= 5)["len"].sum() > 0.5 * len(honest)


def test_fraud_comes_in_bursts_of_a_card_and_honest_cards_have_some_too(frame: pl.DataFrame) -> None:
    fraud = frame["is_fraud"].to_numpy() == 1
    within_the_hour = before(frame, "card_id", HOUR_US)

    assert (within_the_hour[fraud] >= 3).mean() > 0.15
    assert 0.0005 < (within_the_hour[~fraud] >= 3).mean() < 0.005


def test_the_tested_cards_share_a_device_and_the_amounts_are_small(frame: pl.DataFrame) -> None:
    stolen = frame.filter((pl.col("is_fraud") == 1) & (pl.col("device_id") != ""))
    devices = stolen.group_by("device_id").agg(pl.col("card_id").n_unique().alias("cards"), pl.col("amount").max())
    testers = devices.filter(pl.col("cards") > 2)

    assert len(testers) > 10
    assert testers["amount"].max() <= 5
    assert len(devices.filter(pl.col("cards") == 1)) > 10


def test_the_compromised_merchants_are_paid_by_cards_that_never_paid_there(frame: pl.DataFrame) -> None:
    copied = (frame["is_fraud"].to_numpy() == 1) & (frame["device_id"].to_numpy() == "")
    pair = frame.with_columns(pl.concat_str("card_id", "merchant_id").alias("pair"))
    been_there = before(pair, "pair", DAYS * 24 * HOUR_US) > 0

    assert been_there[copied].mean() < 0.4 < been_there[~copied].mean()
    assert np.median(before(frame, "merchant_id", 2 * HOUR_US)[copied]) >= 5


def test_one_payment_alone_hides_fraud(frame: pl.DataFrame) -> None:
    fraud = frame["is_fraud"] == 1
    honest = frame.filter(~fraud)["amount"]

    assert frame.filter(fraud)["amount"].is_between(honest.quantile(0.005), honest.quantile(0.995)).mean() > 0.9
