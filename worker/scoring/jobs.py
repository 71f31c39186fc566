"""The job of a worker that scores, run for each ticket."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.model.serving import Serving
from riskline.shared.outage import Outage
from riskline.shared.process.jobs import Tickets
from riskline.shared.store.interfaces import TransactionQueue
from riskline.worker.scoring.drain import Listeners, drain
from riskline.worker.scoring.pulse import Pulse

TIME_SLICE_SECONDS = 60.0
"""The longest drain of one ticket: RQ's maintenance and heartbeats run between two tickets."""


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The loaded model and the other collaborators of the job."""

    queue: TransactionQueue
    tickets: Tickets
    serving: Serving
    transaction_class: type[TransactionModel]
    worker: str
    pulse: Pulse
    listeners: Listeners
    outage: Outage
    stopping: Callable[[], bool]

    def run(self) -> None:
        """Decides the waiting transactions, until none have come for a while or the time slice is over.

        An outage of Redis ends it without an error: claims go back, and a sweep enqueues the next ticket.
        """
        end = time.monotonic() + TIME_SLICE_SECONDS
        try:
            drain(
                self.queue,
                worker=self.worker,
                pulse=self.pulse,
                model=self.serving.require,
                transaction_class=self.transaction_class,
                time_is_over=lambda: self.stopping() or time.monotonic() >= end,
                listeners=self.listeners,
            )
            if time.monotonic() >= end:
                # there was work until now: enqueue the next ticket without waiting for the next transaction
                self.tickets.ensure()
        except StoreUnavailableError as error:
            self.outage.failed(error)
        else:
            self.outage.over()
