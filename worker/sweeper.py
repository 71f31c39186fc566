"""Once a second, beside the jobs: gives back what dead workers held, and follows the active model."""

import threading

from shared.errors import StoreUnavailableError
from shared.jobs import Tickets
from shared.log import get_logger
from shared.model.serving import Serving
from shared.store.transactions import TransactionQueue

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0


class Sweeper:
    """A thread that keeps the promise behind every 202 where a worker, a ticket or Redis is lost."""

    def __init__(self, *, queue: TransactionQueue, tickets: Tickets, serving: Serving) -> None:
        self._queue = queue
        self._tickets = tickets
        self._serving = serving
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._away = False

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()

    def sweep(self) -> None:
        """One round.

        Raises:
            StoreUnavailableError: Redis failed; the next round tries again.
        """
        given_back, waiting = self._queue.sweep()
        if given_back:
            log.warning("a worker is gone; its transactions wait again", transactions=given_back)
        if waiting:
            self._tickets.ensure()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            try:
                self._serving.refresh()
            except Exception:
                log.exception("following the active model failed")
            try:
                self.sweep()
                self._away = False
            except StoreUnavailableError as error:
                if not self._away:
                    log.warning("Redis is away", problem=str(error))
                self._away = True
            except Exception:
                # the thread is what brings back lost claims: it outlives a mistake
                log.exception("sweep failed")
