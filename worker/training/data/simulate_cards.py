"""A seeded simulator of labelled payments with cards, merchants and devices, for classes that use their history.

One payment alone tells little: most frauds are found by what the card, the merchant or the device did before. It
contains no bank data. A model trained on it knows this simulator only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import polars as pl

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 90
DAY_SECONDS = 86_400
PAYMENTS_PER_CARD, PAYMENTS_PER_MERCHANT = 75, 300
LEAST_CARDS, LEAST_MERCHANTS = 20, 40
FRAUD_SHARE = 0.015

# merchant category code, its share of merchants, the median amount, the spread of its logarithm, online
CATEGORIES = np.array(
    [
        (5411, 0.18, 38, 0.60, 0),
        (5541, 0.12, 52, 0.35, 0),
        (5812, 0.16, 30, 0.60, 0),
        (5311, 0.10, 45, 0.90, 0),
        (4111, 0.08, 4, 0.50, 0),
        (5964, 0.14, 48, 1.00, 1),
        (5816, 0.08, 6, 0.80, 1),
        (5732, 0.06, 120, 0.90, 1),
        (4722, 0.04, 140, 1.10, 1),
        (7999, 0.04, 40, 0.80, 0),
    ]
)
POPULARITY = 2.0
"""The exponent of the merchants' sizes: smaller is more unequal."""

FAVOURITES, TO_FAVOURITE = 8, 0.8
"""The merchants that a card goes to most, and the share of its payments there."""

SHOPPING_TRIPS, TRIP_MINUTES = 0.10, 25
"""The share of payments that follow another one of the card, and the mean minutes between: bursts can be honest."""

SECOND_DEVICE, NEW_DEVICE, SHARED_DEVICE = 0.06, 0.35, 0.10
"""The share of online payments from a card's other device, of cards whose device is replaced, and of cards that pay
from the device of another one, as in a household."""

LARGE_PURCHASE, LARGE_FACTOR = 0.01, 8
"""The share of honest payments that are far above the card's usual ones, and how far."""

STRANGER_TIMES, COPIED_TIMES = (0.7, 3.5), (0.6, 2.5)
"""Amounts of taken-over cards and of a compromised merchant, as multiples of the card's usual ones there."""

TESTED_BELOW = 20
"""Cards are tested where the median amount is below this: small payments stand out nowhere else as little."""

FIRST_FRAUD_DAY = 5
GOLDEN = 0.6180339887498949
"""Episodes begin so far apart, as a share of the time, so that any part of the file has some."""

FIRST_SHARE = 0.93
"""Where the first one begins: the end of a file is what models are tested on."""


class Payments(NamedTuple):
    """Payments as columns, in any order."""

    seconds: np.ndarray
    """Since `START`."""
    card: np.ndarray
    merchant: np.ndarray
    device: np.ndarray
    """-1 where none is seen, as at a terminal."""
    cents: np.ndarray


@dataclass(frozen=True)
class World:
    """The cards and merchants, and what is usual for each."""

    favourites: np.ndarray
    """Of shape (cards, favourites)."""
    spending: np.ndarray
    """By card: the factor of its amounts."""
    hour: np.ndarray
    """By card: the hour of the day around which it pays."""
    device: np.ndarray
    """By card; its second or next device has the number after it."""
    replaced_at: np.ndarray
    """By card: the second since `START` from which it has its next device."""
    category: np.ndarray
    """By merchant."""
    popularity: np.ndarray
    """By merchant; the sum is 1."""

    @property
    def cards(self) -> int:
        """The number of cards."""
        return len(self.spending)

    @property
    def online(self) -> np.ndarray:
        """By merchant: whether it sells online."""
        return np.asarray(CATEGORIES[self.category, 4] == 1)

    @classmethod
    def drawn(cls, random: np.random.Generator, *, rows: int) -> "World":
        """As many cards and merchants as the rows are enough for."""
        cards = max(LEAST_CARDS, rows // PAYMENTS_PER_CARD)
        merchants = max(LEAST_MERCHANTS, rows // PAYMENTS_PER_MERCHANT)
        popularity = random.pareto(POPULARITY, merchants) + 0.3
        popularity /= popularity.sum()
        own, end = np.arange(cards) * 2, DAYS * DAY_SECONDS
        is_shared, is_replaced = random.random(cards) < SHARED_DEVICE, random.random(cards) < NEW_DEVICE
        return cls(
            favourites=random.choice(merchants, (cards, FAVOURITES), p=popularity),
            spending=np.exp(random.normal(0, 0.35, cards)),
            hour=random.normal(14, 3, cards),
            device=np.where(is_shared, np.roll(own, 1), own),
            replaced_at=np.where(is_replaced, random.integers(0, end, cards), end),
            # shared out and not drawn: also a few merchants have every category
            category=np.searchsorted(CATEGORIES[:, 1].cumsum() - 1e-9, np.arange(merchants) * GOLDEN % 1, "right"),
            popularity=popularity,
        )


def simulate_cards(*, rows: int, seed: int) -> pl.DataFrame:
    """Labelled payments in time order: id, time, card, merchant, device, amount, category, whether online, label."""
    random = np.random.default_rng(seed)
    world = World.drawn(random, rows=rows)
    stolen = _frauds(random, world, wanted=max(1, round(rows * FRAUD_SHARE)))
    honest = _honest(random, world, rows=rows - len(stolen.seconds))
    is_fraud = np.repeat([0, 1], [len(honest.seconds), len(stolen.seconds)])
    paid = Payments(*(np.concatenate(both) for both in zip(honest, stolen, strict=True)))
    order = np.argsort(paid.seconds, kind="stable")
    paid = Payments(*(column[order] for column in paid))
    width = len(str(rows))
    start_us = int(START.timestamp()) * 1_000_000
    return pl.DataFrame(
        {
            "transaction_id": [f"P{number:0{width}d}" for number in range(rows)],
            "timestamp": pl.Series(paid.seconds * 1_000_000 + start_us)
            .cast(pl.Datetime("us"))
            .dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "card_id": [f"C{card:05d}" for card in paid.card.tolist()],
            "merchant_id": [f"M{merchant:05d}" for merchant in paid.merchant.tolist()],
            "device_id": ["" if device < 0 else f"D{device:06d}" for device in paid.device.tolist()],
            "amount": paid.cents / 100,
            "merchant_category_code": CATEGORIES[world.category[paid.merchant], 0].astype(np.int64),
            "is_online": world.online[paid.merchant].astype(np.int64),
            "is_fraud": is_fraud[order],
        }
    )


def _honest(random: np.random.Generator, world: World, *, rows: int) -> Payments:
    card = random.choice(world.cards, rows, p=random.dirichlet(np.full(world.cards, 4.0)))
    day, hour = random.integers(0, DAYS, rows), random.normal(world.hour[card], 3.5) % 24
    seconds = day * DAY_SECONDS + (hour * 3600).astype(np.int64)
    follows = np.flatnonzero(random.random(rows) < SHOPPING_TRIPS)
    first = random.integers(0, rows, len(follows))
    card[follows] = card[first]
    seconds[follows] = seconds[first] + 60 + random.exponential(TRIP_MINUTES * 60, len(follows)).astype(np.int64)
    seconds %= DAYS * DAY_SECONDS
    favourite = world.favourites[card, random.integers(0, FAVOURITES, rows)]
    anywhere = random.choice(len(world.category), rows, p=world.popularity)
    merchant = np.where(random.random(rows) < TO_FAVOURITE, favourite, anywhere)
    other = (seconds >= world.replaced_at[card]) ^ (random.random(rows) < SECOND_DEVICE)
    large = np.where(random.random(rows) < LARGE_PURCHASE, LARGE_FACTOR, 1)
    return Payments(
        seconds,
        card,
        merchant,
        np.where(world.online[merchant], world.device[card] + other, -1),
        _cents(random, world, card, merchant, times=large),
    )


def _cents(
    random: np.random.Generator, world: World, card: np.ndarray, merchant: np.ndarray, *, times: np.ndarray | float
) -> np.ndarray:
    _, _, median, spread, _ = CATEGORIES[world.category[merchant]].T
    amount = np.exp(random.normal(np.log(median), spread)) * world.spending[card] * times
    cents: np.ndarray = (amount.clip(0.5, 20_000) * 100).round().astype(np.int64)
    return cents


def _frauds(random: np.random.Generator, world: World, *, wanted: int) -> Payments:
    """The kinds of fraud in turn, until there are as many payments as wanted."""
    made: list[Payments] = []
    count, device = 0, 2 * world.cards + 2
    while count < wanted:
        number = len(made)
        share = (FIRST_SHARE + GOLDEN * number) % 1
        at = int((FIRST_FRAUD_DAY + share * (DAYS - FIRST_FRAUD_DAY - 2)) * DAY_SECONDS)
        made.append(EPISODES[number % len(EPISODES)](random, world, at, device + number))
        count += len(made[-1].seconds)
    return Payments(*(np.concatenate(columns)[:wanted] for columns in zip(*made, strict=True)))


def _taken_over(random: np.random.Generator, world: World, at: int, device: int) -> Payments:
    """A stranger pays online with one card: from a new device, several times its usual amount, in bursts."""
    bursts = [(at, int(random.integers(4, 8))), (at + int(random.integers(6, 20)) * 3600, int(random.integers(3, 6)))]
    seconds = np.concatenate([begin + random.integers(60, 700, size).cumsum() for begin, size in bursts])
    card = np.full(len(seconds), random.integers(0, world.cards))
    merchant = _online_merchants(random, world, len(seconds))
    factors = random.uniform(*STRANGER_TIMES, len(seconds))
    return Payments(
        seconds, card, merchant, np.full(len(seconds), device), _cents(random, world, card, merchant, times=factors)
    )


def _card_testing(random: np.random.Generator, world: World, at: int, device: int) -> Payments:
    """A list of card numbers is tried at one shop from one device: small payments within minutes."""
    cards = random.choice(world.cards, int(random.integers(3, 9)), replace=False)
    card = np.repeat(cards, random.integers(3, 7, len(cards)))
    seconds = at + random.integers(5, 45, len(card)).cumsum()
    shops = np.flatnonzero(CATEGORIES[world.category, 2] < TESTED_BELOW)
    merchant = np.full(len(card), random.choice(shops[world.online[shops]]))
    return Payments(seconds, card, merchant, np.full(len(card), device), random.integers(50, 500, len(card)))


def _compromised_merchant(random: np.random.Generator, world: World, at: int, device: int) -> Payments:
    """A shop charges copied cards within hours: many cards that mostly never paid there."""
    del device
    size = int(random.integers(12, 25))
    seconds = at + random.integers(20, 600, size).cumsum()
    card = random.choice(world.cards, size)
    shops = np.flatnonzero(~world.online)
    merchant = np.full(size, shops[random.integers(0, len(shops))])
    factors = random.uniform(*COPIED_TIMES, size)
    return Payments(seconds, card, merchant, np.full(size, -1), _cents(random, world, card, merchant, times=factors))


def _online_merchants(random: np.random.Generator, world: World, size: int) -> np.ndarray:
    return random.choice(np.flatnonzero(world.online), size)


EPISODES: tuple[Callable[[np.random.Generator, World, int, int], Payments], ...] = (
    _taken_over,
    _card_testing,
    _taken_over,
    _compromised_merchant,
)
