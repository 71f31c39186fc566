"""95 % confidence intervals of a share: by rows, or by cards where rows of one card are correlated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Marks = npt.NDArray[np.bool_]

RESAMPLES = 1_000
"""Draws of cards: the ends of an interval then change by about a tenth of its width from seed to seed."""

MOST_GROUPS = 5_000
"""Above that cards are drawn in groups, which are as independent of each other as cards are: 20 MB of draws at most."""

SEED = 0
"""The same file gives the same intervals."""

FEW_CARDS = 20
"""With frauds on fewer cards even intervals by card are too narrow (Cameron, Gelbach, Miller 2008)."""

ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Share:
    """A count, its total and its share with a 95 % interval; the share is None where the total is 0."""

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


def share(count: int, of: int) -> Share:
    """The share of `count` in `of`, with the interval of Wilson 1927, which assumes independent rows."""
    if of == 0:
        return Share(count, of, None, None, None)
    interval = binomtest(count, of).proportion_ci(method="wilson")
    return Share(count, of, count / of, float(interval.low), float(interval.high))


class Cards:
    """The cards of a file's rows, and a cluster bootstrap over them."""

    def __init__(self, cards: Sequence[str | None], fraud: Marks) -> None:
        """A row without a card is a card of its own."""
        number = _numbered(cards)
        random = np.random.default_rng(SEED)
        self.number = int(number.max()) + 1
        self.with_fraud = len(np.unique(number[fraud]))
        groups = min(self.number, MOST_GROUPS)
        self._group = random.permutation(self.number)[number] % groups
        draws = (np.bincount(random.integers(0, groups, groups), minlength=groups) for _ in range(RESAMPLES))
        self._draws = np.array(list(draws), dtype=np.float32)

    def share(self, counted: Marks, among: Marks) -> Share:
        """The share of the counted rows, with an interval by cards that is never narrower than the one by rows.

        Where all or none are counted, the bootstrap says nothing; the interval is then the one by rows.
        """
        plain = share(int((counted & among).sum()), int(among.sum()))
        if plain.low is None or plain.high is None:
            return plain
        parts = [np.bincount(self._group[rows], minlength=self._draws.shape[1]) for rows in (counted & among, among)]
        some, every = (self._draws @ part.astype(np.float32) for part in parts)
        low, high = np.quantile(some[every > 0] / every[every > 0], ENDS)
        return Share(plain.count, plain.of, plain.value, min(plain.low, float(low)), max(plain.high, float(high)))

    def described(self) -> dict[str, Any]:
        """The same for programs."""
        return {"by": "card", "cards": self.number, "cards_with_fraud": self.with_fraud, "draws": RESAMPLES}


def _numbered(cards: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """The number of each row's card; an array of the texts would take hundreds of bytes a row."""
    names = {f"card {card}" for card in set(cards) if card is not None}
    names.update(f"row {row}" for row, card in enumerate(cards) if card is None)
    place = {name: number for number, name in enumerate(sorted(names))}
    named = (f"card {card}" if card is not None else f"row {row}" for row, card in enumerate(cards))
    return np.fromiter((place[name] for name in named), np.int64, len(cards))
