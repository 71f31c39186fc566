"""The functions that RQ calls; their names are in shared/jobs.py."""

import time
from contextlib import suppress

from shared.errors import StoreUnavailableError
from worker.drain import drain as drain_waiting
from worker.runtime import installed

TIME_SLICE_SECONDS = 60.0
"""How long one ticket may drain: RQ's maintenance and heartbeats come between two tickets."""


def drain() -> None:
    """Decides the waiting transactions, until none have come for a while or the time slice is over."""
    runtime = installed()
    end = time.monotonic() + TIME_SLICE_SECONDS
    drain_waiting(
        runtime.queue,
        claimer=runtime.claimer,
        model=runtime.serving.require,
        transaction_class=runtime.transaction_class,
        time_is_over=lambda: runtime.stopping() or time.monotonic() >= end,
    )
    if time.monotonic() >= end:
        # there was work until now: the next ticket shall not wait for the next transaction; a sweep makes up for it
        with suppress(StoreUnavailableError):
            runtime.tickets.ensure()
