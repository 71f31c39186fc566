"""The wording of reasons: how usual a value is among the training rows, and the direction of its contribution."""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

PERCENTILES = 101
"""The 0th to the 100th."""

FAR_BELOW, BELOW, ABOVE, FAR_ABOVE = 1, 10, 90, 99
"""The percentiles beyond which a value is not usual."""

COMMON = 10
"""A nominal value of at least this many percent of the training rows is common."""

PRECISE_BELOW, PLAIN_BELOW = 0.1, 1e15
"""Numbers from the one to the other are written with cents, others with three figures."""


class ValueWording:
    """Words how usual a feature's value is; states only the value where its quantiles are unknown."""

    def __init__(self, quantiles: Mapping[str, Sequence[float]]) -> None:
        self._quantiles = {name: array("d", values) for name, values in quantiles.items()}
        self._bounds = {
            name: (values[FAR_BELOW], values[BELOW], values[ABOVE], values[FAR_ABOVE])
            for name, values in quantiles.items()
        }

    def usual(self, feature: str) -> tuple[float, float] | None:
        """The range of nearly all training rows; None where it is unknown."""
        bounds = self._bounds.get(feature)
        return None if bounds is None else (bounds[0], bounds[-1])

    def common(self, feature: str) -> tuple[float, ...]:
        """The values that several percentiles share, the most frequent first; empty where they are unknown."""
        counts = Counter(self._quantiles.get(feature, ()))
        # one alone may lie between two values
        return tuple(value for value, count in counts.most_common() if count > 1)

    def of(self, feature: str, value: float, shown: float | str, *, nominal: bool, phrase: str | None = None) -> str:
        """One reason's sentence; of a nominal value only how frequent it is, since it is neither high nor low.

        With a phrase, in which `{}` stands for the value, the sentence also has the range of what is usual.
        """
        if phrase is not None:
            return self._of_phrase(phrase, feature, value, shown, nominal=nominal)
        if nominal:
            quantiles = self._quantiles.get(feature)
            said = f"{feature} {str(shown).lower() if isinstance(shown, bool) else shown}"
            return f"{said} is {_frequency(quantiles, value)}" if quantiles else said
        bounds = self._bounds.get(feature)
        number = _number(shown)
        return f"{feature} {number} is {_height(bounds, value)}" if bounds else f"{feature} {number}"

    def _of_phrase(self, phrase: str, feature: str, value: float, shown: float | str, *, nominal: bool) -> str:
        said = phrase.replace("{}", str(shown).lower() if nominal else _number(shown))
        if nominal:
            quantiles = self._quantiles.get(feature)
            return f"{said}, {_frequency(quantiles, value)}" if quantiles else said
        bounds = self._bounds.get(feature)
        if bounds is None:
            return said
        low, high = (_like(bound, shown) for bound in (bounds[0], bounds[-1]))
        return f"{said}, {_height(bounds, value)} ({low} to {high})"


def quantiles_problem(reference: Any) -> str | None:
    """The reason that this is not a valid reference.json; None where it is."""
    features = reference.get("features", {}) if isinstance(reference, dict) else None
    if not isinstance(features, dict):
        return "does not say quantiles by feature"
    for name, values in features.items():
        if not isinstance(values, list) or len(values) != PERCENTILES or not all(map(_is_number, values)):
            return f"has not the {PERCENTILES} percentiles of {name}"
        if values != sorted(values):
            return f"has percentiles of {name} that fall"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _height(bounds: tuple[float, float, float, float], value: float) -> str:
    far_below, below, above, far_above = bounds
    if below <= value <= above:
        return "usual"
    if value > above:
        return "far above usual" if value > far_above else "above usual"
    return "far below usual" if value < far_below else "below usual"


def _frequency(quantiles: Sequence[float], value: float) -> str:
    if not quantiles[0] <= value <= quantiles[-1]:
        return "new (none in the rows that the model was made with)"
    share = round(100 * (bisect_right(quantiles, value) - bisect_left(quantiles, value)) / PERCENTILES)
    if share < 1:
        return "rare (fewer than 1 of 100)"
    return f"{'common' if share >= COMMON else 'uncommon'} (about {share} of 100)"


def _like(bound: float, shown: float | str) -> str:
    return _number(int(bound) if isinstance(shown, int) and bound.is_integer() else bound)


def _number(value: float | str) -> str:
    if isinstance(value, float):
        if PRECISE_BELOW <= value < PLAIN_BELOW or value == 0 or -PLAIN_BELOW < value <= -PRECISE_BELOW:
            return f"{value:,.2f}"
        return f"{value:.3g}"
    return value if isinstance(value, str) else f"{value:,}"
