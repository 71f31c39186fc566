"""How long the windows of history take to fill from the beginning of a file, whose rows before that are left out."""

from typing import NamedTuple

import numpy as np

from riskline.shared.domain.history.markers import UNITS_US, length_us
from riskline.shared.domain.history.plan import History, duration
from riskline.worker.training.data.labelled import Times

NONE = "none"

SHORT_FILE = 2
"""Of a file that is shorter than so many warm-ups, half its time is left out: what is left is trained on."""

FEWEST_UNITS = 2
"""A length is rounded down to a unit of which it has so many."""


LONGEST_FIRST = sorted(UNITS_US.items(), key=lambda unit: unit[1], reverse=True)


class WarmUpTime(NamedTuple):
    """The time from a file's first row on in which rows only fill the windows."""

    length: np.timedelta64
    said: str
    remark: str = ""

    @property
    def reason(self) -> str:
        """The reason that its rows are left out."""
        return f"from its first {self.said}, in which the windows of history fill{self.remark}"


def warm_up(
    history: History | None,
    times: Times | None,
    wanted: str | None,
    *,
    has_beginning: bool = False,
) -> WarmUpTime | None:
    """The warm-up of a file: as wanted, else the longest window, or half the file's time where that is too short.

    None where there is none. A file `has_beginning` where an option says from when on rows are wanted: it is then never
    too short.

    Raises:
        ValueError: `wanted` names no length of time.
    """
    if history is None or times is None or wanted == NONE:
        return None
    if wanted is not None:
        return WarmUpTime(_delta(length_us(wanted)), wanted)
    longest = longest_look_back_us(history)
    span = int((times.max() - times.min()) / np.timedelta64(1, "us"))
    if has_beginning or span >= SHORT_FILE * longest:
        return WarmUpTime(_delta(longest), duration(longest))
    half = _rounded(span // SHORT_FILE)
    return WarmUpTime(_delta(length_us(half)), half, f" (half of its time: windows of {duration(longest)} need more)")


def longest_look_back_us(history: History) -> int:
    """The longest window; for columns without one, how long their entities are kept."""
    windows = max(column.window_us for column in history.columns)
    return windows or max(plan.keep_us for plan in history.entities)


def _rounded(length: int) -> str:
    """A length in microseconds as options write it, rounded down."""
    name, unit = next((each for each in LONGEST_FIRST if length >= FEWEST_UNITS * each[1]), LONGEST_FIRST[-1])
    return f"{max(1, length // unit)}{name}"


def _delta(length: int) -> np.timedelta64:
    return np.timedelta64(length, "us")
