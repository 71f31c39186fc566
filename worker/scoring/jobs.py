"""The function that RQ calls for a ticket of the scoring queue; its name is in shared/process/jobs.py."""

import time

from riskline.shared.errors import StoreUnavailableError
from riskline.worker.scoring.drain import drain as drain_waiting
from riskline.worker.scoring.runtime import Runtime, installed

TIME_SLICE_SECONDS = 60.0
"""The longest drain of one ticket: RQ's maintenance and heartbeats run between two tickets."""


def drain() -> None:
    """Decides the waiting transactions, until none have come for a while or the time slice is over.

    An outage of Redis ends it without an error: claims go back, and a sweep enqueues the next ticket.
    """
    runtime = installed(Runtime)
    end = time.monotonic() + TIME_SLICE_SECONDS
    try:
        drain_waiting(
            runtime.queue,
            worker=runtime.worker,
            pulse=runtime.pulse,
            model=runtime.serving.require,
            transaction_class=runtime.transaction_class,
            count=runtime.count,
            time_batch=runtime.time_batch,
            spans=runtime.spans,
            later=runtime.later,
            announce=runtime.callback_tickets.ensure,
            time_is_over=lambda: runtime.stopping() or time.monotonic() >= end,
        )
        if time.monotonic() >= end:
            # there was work until now: enqueue the next ticket without waiting for the next transaction
            runtime.tickets.ensure()
    except StoreUnavailableError as error:
        runtime.outage.failed(error)
    else:
        runtime.outage.over()
