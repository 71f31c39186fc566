"""The state of the drain, for the thread and the timer that supervise it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from riskline.shared.errors import StoreUnavailableError


def end_this_process() -> None:
    """Ends the process as `kill -9` would: nothing else ends what hangs, and the supervisor starts another."""
    os.kill(os.getpid(), signal.SIGKILL)


class Pulse:
    """The state of the drain: running or not, claims left behind after an outage, the current batch."""

    def __init__(self, *, most_cpu_seconds: float = 0.0, end: Callable[[], None] = end_this_process) -> None:
        """The kernel ends the process when one batch has used `most_cpu_seconds` of CPU (SIGPROF, setitimer(2)).

        This needs no Python, which a row may block; 0 sets no limit.
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
        """Marks a drain; its remaining claims are given back at the end, or left behind where Redis fails."""
        self.drains = True
        try:
            yield
        finally:
            self.left_behind = True
            self.drains = False
            self.give_back(give_back)

    def give_back(self, give_back: Callable[[], object]) -> None:
        """Tries to give back the claims left behind."""
        try:
            give_back()
        except StoreUnavailableError:
            return
        self.left_behind = False

    @contextmanager
    def assessing(self) -> Iterator[None]:
        """Marks one batch; a lack of memory ends the process, and the rows are retried one by one."""
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
