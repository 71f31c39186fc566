"""A scoring worker says which model version it serves and what it has decided: beside its work, never in its way."""

import threading
from collections import Counter
from collections.abc import Iterable

from shared.decision import Decision
from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.presence import Presence
from shared.store.processes import Processes
from shared.store.tallies import Tallied, Tallies, tallied

log = get_logger(__name__)


class Signs:
    """Where Redis fails it, nothing is said: the sweep beside it tells of the outage."""

    def __init__(self, presence: Presence, processes: Processes, tallies: Tallies) -> None:
        self._presence = presence
        self._processes = processes
        self._tallies = tallies
        self._lock = threading.Lock()
        self._decided: Tallied = Counter()

    def count(self, decisions: Iterable[Decision]) -> None:
        """Keeps how many were made by which version, to be told."""
        counts = tallied(decisions)
        with self._lock:
            self._decided += counts

    def tell(self) -> None:
        """Says what there is to say."""
        self._tell_decided()
        news = self._presence.news()
        if news is None:
            return
        try:
            self._processes.announce(news)
        except StoreUnavailableError as error:
            log.debug("Redis was not told what serves here", problem=str(error))
        else:
            self._presence.told(news)

    def _tell_decided(self) -> None:
        with self._lock:
            counts, self._decided = self._decided, Counter()
        if not counts:
            return
        try:
            self._tallies.add(counts)
        except StoreUnavailableError as error:
            log.debug("Redis was not told what was decided", problem=str(error))
            with self._lock:
                self._decided += counts

    def leave(self) -> None:
        """Says that this process ends; where Redis fails, it is forgotten by itself."""
        self._tell_decided()
        try:
            self._processes.leave(self._presence.process)
        except StoreUnavailableError as error:
            log.debug("Redis was not told that this process ends", problem=str(error))
