"""A seeded simulator of labelled card transactions, for teams without a file of their own.

It contains no bank data. A model trained on it knows this simulator only.
"""

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from riskline.shared.domain.transaction import Transaction

START = datetime(2025, 1, 1)  # noqa: DTZ001  # simulated local time has no zone
DAYS = 90
TRANSACTIONS_PER_CARD = 75
FRAUD_SHARE = 0.012
EPISODE_DAYS = 2
FRAUD_IN_EPISODE = 0.9
"""The share of fraud among a stolen card's transactions; the rest are its owner's."""

# merchant category code, its share, the median amount, the spread of its logarithm, online, amount in fraud
CATEGORIES = np.array(
    [
        (5541, 0.14, 55, 0.35, 0, 15),
        (5411, 0.18, 60, 0.60, 0, 310),
        (5812, 0.12, 32, 0.70, 0, 120),
        (5311, 0.12, 45, 1.10, 0, 880),
        (5964, 0.09, 55, 1.10, 1, 1000),
        (5969, 0.06, 40, 1.20, 1, 790),
        (5942, 0.03, 28, 0.80, 1, 640),
        (7999, 0.08, 40, 0.80, 0, 500),
        (7997, 0.08, 38, 0.70, 0, 21),
        (5200, 0.06, 50, 0.90, 0, 260),
        (4722, 0.04, 110, 1.40, 0, 9),
    ]
)
FRAUD_PREFERENCE = np.array([0.10, 0.15, 0.02, 0.14, 0.27, 0.15, 0.06, 0.03, 0.02, 0.03, 0.03])
"""Where stolen cards are used: mostly online."""

EMPTIED, LARGE_PURCHASE = 0.20, 0.003
"""The share of frauds that empty the card; and of honest payments as large: furniture, a journey."""

LARGE_AMOUNT, LARGE_SPREAD = 2_500, 0.5
"""Their median, and the spread of its logarithm."""

FROM_AFAR, TRAVELLING = 0.30, 0.01
"""The share of frauds made far away with the card's number only; and of honest payments made on a journey."""

FAR_KM, FAR_SPREAD = 900, 0.6
"""Their median distance, and the spread of its logarithm."""


def simulate(*, rows: int, seed: int) -> pl.DataFrame:
    """Labelled transactions in time order: id, timestamp, card, the built-in transaction's features, label."""
    random = np.random.default_rng(seed)
    cards = max(1, rows // TRANSACTIONS_PER_CARD)
    home_ages = np.clip(random.normal(47, 17, cards).round(), 18, 95).astype(np.int64)
    card = random.integers(0, cards, rows)
    seconds = _times_of_day(random, rows)
    is_fraud = _episodes(random, card, seconds, cards, rows)

    category = np.where(
        is_fraud,
        random.choice(len(CATEGORIES), rows, p=FRAUD_PREFERENCE),
        random.choice(len(CATEGORIES), rows, p=CATEGORIES[:, 1]),
    )
    code, _, _, _, online, _ = CATEGORIES[category].T
    amount, distance = _amounts(random, category, is_fraud), _distances(random, is_fraud)

    order = np.argsort(seconds, kind="stable")
    features = (amount, code.astype(np.int64), home_ages[card], distance, online.astype(np.int64))
    width = len(str(rows))
    return pl.DataFrame(
        {
            Transaction.ID_FIELD: [f"S{i:0{width}d}" for i in range(rows)],
            "timestamp": [(START + timedelta(seconds=int(s))).isoformat() for s in seconds[order]],
            "card_id": [f"C{c:05d}" for c in card[order]],
            **{name: values[order] for name, values in zip(Transaction.feature_names(), features, strict=True)},
            "is_fraud": is_fraud[order].astype(np.int64),
        }
    )


def _amounts(random: np.random.Generator, category: np.ndarray, is_fraud: np.ndarray) -> np.ndarray:
    _, _, median, spread, _, fraud_amount = CATEGORIES[category].T
    rows = len(category)
    usual = np.exp(random.normal(np.log(median), spread))
    stolen = fraud_amount * random.normal(1.0, 0.15, rows).clip(0.5, 2.0)
    large = np.exp(random.normal(np.log(LARGE_AMOUNT), LARGE_SPREAD, rows))
    is_large = random.random(rows) < np.where(is_fraud, EMPTIED, LARGE_PURCHASE)
    return np.where(is_large, large, np.where(is_fraud, stolen, usual)).clip(1.0).round(2)


def _distances(random: np.random.Generator, is_fraud: np.ndarray) -> np.ndarray:
    rows = len(is_fraud)
    near = np.where(is_fraud, random.gamma(2.0, 60.0, rows), random.gamma(2.0, 12.0, rows))
    far = np.exp(random.normal(np.log(FAR_KM), FAR_SPREAD, rows))
    is_far = random.random(rows) < np.where(is_fraud, FROM_AFAR, TRAVELLING)
    return np.where(is_far, far, near).round(2)


def _times_of_day(random: np.random.Generator, rows: int) -> np.ndarray:
    hour = random.normal(14, 4.5, rows) % 24
    return random.integers(0, DAYS, rows) * 86_400 + (hour * 3600).astype(np.int64)


def _episodes(random: np.random.Generator, card: np.ndarray, seconds: np.ndarray, cards: int, rows: int) -> np.ndarray:
    """Transactions of stolen cards: for a few days most of what such a card pays is fraud."""
    in_episode = np.zeros(rows, dtype=bool)
    starts = np.full(cards, -1, dtype=np.int64)
    for stolen in random.permutation(cards):
        if in_episode.mean() * FRAUD_IN_EPISODE >= FRAUD_SHARE:
            break
        starts[stolen] = random.integers(0, (DAYS - EPISODE_DAYS) * 86_400)
        mine = card == stolen
        in_episode |= mine & (seconds >= starts[stolen]) & (seconds < starts[stolen] + EPISODE_DAYS * 86_400)
    return in_episode & (random.random(rows) < FRAUD_IN_EPISODE)
