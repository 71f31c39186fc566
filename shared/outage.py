"""One line when something stops working and one when it works again, not one for every attempt between."""

import time
from typing import Any


class Outage:
    """Whether something that is tried again and again fails at present, and since when."""

    def __init__(self, log: Any, *, failing: str, back: str, steady: bool = True) -> None:
        """Where attempts are not `steady`, but come when clients do, their success does not say when it was over."""
        self._log = log
        self._failing = failing
        self._back = back
        self._steady = steady
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def failed(self, problem: object, **values: object) -> None:
        """An attempt failed; logged if the one before did not."""
        if self._since is None:
            self._since = time.monotonic()
            self._log.warning(self._failing, problem=str(problem), **values)

    def over(self) -> None:
        """An attempt went well; logged if the one before did not."""
        if self._since is not None:
            lasted, self._since = time.monotonic() - self._since, None
            self._log.info(self._back, **({"lasted_seconds": round(lasted, 1)} if self._steady else {}))
