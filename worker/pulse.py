"""What the drain does at the moment, for the thread that watches over it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import StoreUnavailableError


class Pulse:
    """Whether a drain runs, whether claims are left from one that Redis has failed, and how long a batch takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._drains = False
        self._began: float | None = None
        self.left_behind = False
        """Claims may be held that no drain works on."""

    @property
    def drains(self) -> bool:
        """Whether a drain runs."""
        return self._drains

    @property
    def assessing_seconds(self) -> float:
        """For how long the present batch has been assessed; 0 where none is."""
        began = self._began
        return 0.0 if began is None else self._clock() - began

    @contextmanager
    def holding(self, *, give_back: Callable[[], object]) -> Iterator[None]:
        """A drain; what it still holds at its end is given back, or left behind where Redis fails that, too."""
        self._drains = True
        try:
            yield
        finally:
            self.left_behind = True
            self._drains = False
            self.give_back(give_back)

    def give_back(self, give_back: Callable[[], object]) -> None:
        """Tries to give back what was left behind."""
        try:
            give_back()
        except StoreUnavailableError:
            return
        self.left_behind = False

    @contextmanager
    def assessing(self) -> Iterator[None]:
        """One batch with the model."""
        self._began = self._clock()
        try:
            yield
        finally:
            self._began = None
