"""The rate of an API key: transactions and other requests in a time."""

import re
from dataclasses import dataclass
from typing import Final

FORM = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})?(s|min|h)", re.ASCII)
SECONDS = {"s": 1, "min": 60, "h": 3600}
MAX_WINDOW_SECONDS = 86_400
FORM_RULE = "a number and a time, like 100/s, 6000/min, 50000/h or 30/10s, of a day at the most"

UNLIMITED: Final = "unlimited"


@dataclass(frozen=True)
class Rate:
    """A number in a time; all of them at once after a pause of that time, then as they become free again."""

    quota: int
    window_seconds: int

    @property
    def per_second(self) -> float:
        """The number that becomes free in a second."""
        return self.quota / self.window_seconds

    def __str__(self) -> str:
        """As `parse_rate` takes it."""
        for unit, seconds in reversed(SECONDS.items()):
            if self.window_seconds % seconds == 0:
                count = self.window_seconds // seconds
                return f"{self.quota}/{'' if count == 1 else count}{unit}"
        raise AssertionError("every number of seconds is a number of seconds")


def parse_rate(text: str) -> Rate:
    """The rate of a text like `100/s`.

    Raises:
        ValueError: the text is no rate.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"must be {FORM_RULE}")
    window_seconds = int(match[2] if match[2] is not None else 1) * SECONDS[match[3]]
    if window_seconds > MAX_WINDOW_SECONDS:
        raise ValueError(f"must be {FORM_RULE}")
    return Rate(quota=int(match[1]), window_seconds=window_seconds)
