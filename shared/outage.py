"""One line when something stops working and one when it works again, not one for every attempt between."""

import time
from collections.abc import Callable
from typing import Any

SETTLED_SECONDS = 10.0
"""What works for so long is over: what fails again sooner comes and goes, and is one outage until it has settled."""


class Outage:
    """Whether something that is tried again and again fails at present, and since when."""

    def __init__(
        self, log: Any, *, failing: str, back: str, steady: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Where attempts are not `steady`, but come when clients do, their success does not say when it was over."""
        self._log = log
        self._failing = failing
        self._back = back
        self._steady = steady
        self._clock = clock
        self._since: float | None = None
        self._works_since: float | None = None
        """Since when it has worked in an outage that comes and goes."""
        self._ended: float | None = None
        self._times = 0
        self._comes_and_goes = False

    @property
    def lasts(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None and self._works_since is None

    def failed(self, problem: object, **values: object) -> None:
        """An attempt failed; logged if the one before did not, unless that is said already of what comes and goes.

        A problem that has `began`, when its attempt did, says since when: what hangs fails long after that.
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
        """An attempt went well; logged if the one before did not, or when what came and went has settled."""
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
