"""The numbers behind the small pictures: where on the paper each value is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 420, 200
"""The size of a column of the overview, so that its words have about the size of those around it."""

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 28
"""Room for the axes' words."""


class Tick(NamedTuple):
    """A place on an axis, and what is written there."""

    at: float
    text: str


def nice_top(largest: float) -> float:
    """The end of an axis that has room for a value: 1, 2 or 5 times a power of ten."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= largest)


class Scale:
    """A linear map from values to places: `low` to `high` on `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._factor = (end - start) / (high - low) if high > low else 0.0

    def at(self, value: float) -> float:
        """The place of a value, to a tenth of a pixel."""
        return round(self._start + (value - self._low) * self._factor, 1)


def across(low: float, high: float) -> Scale:
    """The horizontal scale."""
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def upwards(low: float, high: float) -> Scale:
    """The vertical scale."""
    return Scale(low, high, HEIGHT - BOTTOM, TOP)


def short(value: float) -> str:
    """A number in a few characters."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def ticks(scale: Scale, low: float, high: float, parts: int = 5) -> list[Tick]:
    """Places at equal distances, with their values."""
    values = [low + (high - low) * part / parts for part in range(parts + 1)]
    return [Tick(scale.at(value), short(value)) for value in values]


def path(xs: Sequence[float], ys: Sequence[float | None], x_scale: Scale, y_scale: Scale) -> str:
    """A line through points, interrupted where there is no value; a point alone is a dot, where lines end round."""
    parts: list[str] = []
    in_line = 0
    for x, y in zip([*xs, 0.0], [*ys, None], strict=True):
        if y is None:
            parts += ["h0"] if in_line == 1 else []
            in_line = 0
            continue
        parts.append(f"{'L' if in_line else 'M'}{x_scale.at(x)} {y_scale.at(y)}")
        in_line += 1
    return "".join(parts)
