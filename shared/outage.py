"""Logs the start and the end of an outage, not each failed attempt between."""

import time
from collections.abc import Callable
from typing import Any

SETTLED_SECONDS = 10.0
"""An outage is over after this time without failures: failures that recur sooner are one intermittent outage."""


class Outage:
    """The outage of a repeated operation: whether it lasts, and since when."""

    def __init__(
        self, log: Any, *, failing: str, back: str, steady: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`steady` is False where attempts come with clients: a success then does not date the end of the outage."""
        self._log = log
        self._failing = failing
        self._back = back
        self._steady = steady
        self._clock = clock
        self._since: float | None = None
        self._works_since: float | None = None
        """Start of the present working phase of an intermittent outage."""
        self._ended: float | None = None
        self._times = 0
        self._comes_and_goes = False

    @property
    def lasts(self) -> bool:
        """True where the last attempt failed."""
        return self._since is not None and self._works_since is None

    def failed(self, problem: object, **values: object) -> None:
        """Notes a failed attempt; logs the first of an outage.

        The outage starts at the problem's `began`, if it has one: an attempt that hangs fails much later.
        """
        now = self._clock()
        if self._since is None:
            began = getattr(problem, "began", None)
            self._since = now if began is None else min(began, now)
            self._comes_and_goes = self._ended is not None and now - self._ended < SETTLED_SECONDS
            self._times = 1
            hung = {"failing_for_seconds": round(now - self._since, 1)} if now - self._since >= 1 else {}
            self._log.warning(self._failing, problem=str(problem), **hung, **values)
        elif self._works_since is not None:
            self._times += 1
        self._works_since = None

    def over(self) -> None:
        """Notes a successful attempt; logs the end of an outage, of an intermittent one after SETTLED_SECONDS."""
        if self._since is None:
            return
        now = self._clock()
        works_since = self._works_since = now if self._works_since is None else self._works_since
        if self._comes_and_goes and now - works_since < SETTLED_SECONDS:
            return
        said: dict[str, object] = {"lasted_seconds": round(works_since - self._since, 1)} if self._steady else {}
        if self._times > 1:
            said["times"] = self._times
        self._log.info(self._back, **said)
        self._since, self._works_since, self._ended = None, None, now
