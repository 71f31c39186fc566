"""Tickets enqueued from a separate thread: where their Redis hangs, no decision waits for it."""

import threading

from redis import Redis

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.process.jobs import SCORING_QUEUE, Tickets

log = get_logger(__name__)


class TicketsBeside(Tickets):
    """Enqueues a ticket soon, without blocking the caller; where Redis fails, the next sweep enqueues one."""

    def __init__(self, redis: Redis, queue: str = SCORING_QUEUE) -> None:
        super().__init__(redis, queue)
        self._wanted = threading.Event()
        # nothing needs to finish at the end of the process: see above
        threading.Thread(target=self._run, name=f"tickets {queue}", daemon=True).start()

    def ensure(self) -> None:
        """Requests a ticket; several requests while one is in progress become one."""
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                super().ensure()
            except StoreUnavailableError as error:
                log.debug("no ticket was enqueued; a sweep will", problem=str(error))
            except Exception:
                log.exception("enqueueing a ticket failed")
