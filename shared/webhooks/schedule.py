"""The schedule of a callback's attempts: seconds between them, varied so that retries do not come all at once."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

SPEC_SCHEDULE = "0,5,300,1500,5400,10800,18000,14400,21600,14400"
"""The attempts of Standard Webhooks 1.0: at once, then 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h later."""

JITTER = 0.2

MOST_ATTEMPTS = 100
LONGEST_SECONDS = 604_800.0
"""The longest wait; a receiver's Retry-After is cut to a day."""

LONGEST_RETRY_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True)
class Schedule:
    """The waits before each attempt, in seconds."""

    seconds: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The schedule that a setting gives.

        Raises:
            ValueError: the text is no schedule.
        """
        try:
            seconds = tuple(float(each) for each in text.split(","))
        except ValueError:
            raise ValueError("must be seconds, separated by commas") from None
        if len(seconds) > MOST_ATTEMPTS or not all(0 <= each <= LONGEST_SECONDS for each in seconds):
            raise ValueError(f"must be up to {MOST_ATTEMPTS} numbers from 0 to {LONGEST_SECONDS:.0f}")
        return cls(seconds)

    def is_last(self, failures: int) -> bool:
        """True where the attempt after this many failures is the last one."""
        return failures + 1 >= len(self.seconds)

    def after(
        self,
        failures: int,
        *,
        retry_after_seconds: float | None = None,
        vary: Callable[[float, float], float] = random.uniform,
    ) -> float | None:
        """The seconds to wait after this many failures; None where there is no further attempt.

        The longer of the schedule's wait and Retry-After, which counts as a day at the most.
        """
        if failures >= len(self.seconds):
            return None
        seconds = self.seconds[failures] * vary(1 - JITTER, 1 + JITTER)
        if retry_after_seconds is None:
            return seconds
        return max(seconds, min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
