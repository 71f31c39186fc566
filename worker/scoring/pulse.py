"""What the drain does at the moment, for the thread and the timer that watch over it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from riskline.shared.errors import StoreUnavailableError


def end_this_process() -> None:
    """Ends the process as `kill -9` would: nothing else ends what hangs, and the supervisor starts another."""
    os.kill(os.getpid(), signal.SIGKILL)


class Pulse:
    """Whether a drain runs, whether claims are left from one that Redis has failed, and which batch is at work."""

    def __init__(self, *, most_cpu_seconds: float = 0.0, end: Callable[[], None] = end_this_process) -> None:
        """The kernel itself ends the process when one batch has used `most_cpu_seconds` (SIGPROF, setitimer(2)).

        No Python is asked, which a row may keep from running; 0 sets no such limit.
        """
        self._most_cpu_seconds = most_cpu_seconds
        self.drains = False
        """A drain runs."""
        self.end = end
        self.batch = 0
        """The number of the batch that is assessed now; 0 where none is."""
        self._batches = 0
        self.left_behind = False
        """Claims may be held that no drain works on."""

    @contextmanager
    def holding(self, *, give_back: Callable[[], object]) -> Iterator[None]:
        """A drain; what it still holds at its end is given back, or left behind where Redis fails that, too."""
        self.drains = True
        try:
            yield
        finally:
            self.left_behind = True
            self.drains = False
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
        """One batch with the model; where memory runs out the process ends, and its rows are tried again one by one."""
        self._batches += 1
        self.batch = self._batches
        if self._most_cpu_seconds:
            signal.setitimer(signal.ITIMER_PROF, self._most_cpu_seconds)
        try:
            yield
        except MemoryError:
            self.end()
            raise
        finally:
            self.batch = 0
            if self._most_cpu_seconds:
                signal.setitimer(signal.ITIMER_PROF, 0)
