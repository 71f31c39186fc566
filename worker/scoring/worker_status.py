"""A scoring worker's status in Redis: model version, decisions and pace, published beside its work."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from riskline.shared.domain.capacity import BatchTimes, size_class
from riskline.shared.domain.decision import Decision
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.process.heartbeats import Presence
from riskline.shared.store.records import Record
from riskline.shared.store.status.paces import Paces
from riskline.shared.store.status.processes import Processes
from riskline.shared.store.status.tallies import WITHOUT_HISTORY, Tallied, Tallies, measured, tallied
from riskline.shared.telemetry.histograms import BATCH, QUEUE_SECONDS
from riskline.worker.scoring.measurements import MeasurementBuffer

log = get_logger(__name__)

WARM_UP_BATCHES = 3
"""The first batches of a process, which may take a hundred times as long as later ones: with a few pods started at
the same time all workers would seem slow, and still more would be started."""


class WorkerStatus:
    """The status of one worker. An outage of Redis is not logged here: the sweep logs it."""

    def __init__(self, presence: Presence, processes: Processes, tallies: Tallies, paces: Paces) -> None:
        self._presence = presence
        self._processes = processes
        self._tallies = tallies
        self._paces = paces
        self._measuring = MeasurementBuffer(tallies)
        self._lock = threading.Lock()
        self._decided: Tallied = Counter()
        self._timed: dict[int, BatchTimes] = {}
        self._batches = 0

    def count(self, records: Sequence[Record], decisions: Sequence[Decision]) -> None:
        """Adds a batch's decisions by model version, and their times in the queue."""
        if not decisions:
            return
        self._presence.add_batch(len(decisions))
        counts = tallied(decisions)
        with self._lock:
            self._decided.update(counts)
        self._measuring.add(measured("batch", BATCH.counted([len(decisions)])))
        self._measuring.add(measured("queue_seconds", QUEUE_SECONDS.counted(_waited(records, decisions))))
        if without := sum(decision.history is not None for decision in decisions):
            self._measuring.add(measured(WITHOUT_HISTORY, {"number": without}))

    def time_batch(self, transactions: int, seconds: float) -> None:
        """Adds the duration of a batch; skips the first WARM_UP_BATCHES."""
        self._batches += 1
        if self._batches <= WARM_UP_BATCHES:
            return
        size = size_class(transactions)
        with self._lock:
            before = self._timed.get(size, BatchTimes(0, 0, 0.0))
            self._timed[size] = BatchTimes(
                before.batches + 1, before.transactions + transactions, before.seconds + seconds
            )

    def publish(self) -> None:
        """Publishes counts, measurements and, when due, a heartbeat."""
        self._publish_decisions()
        self._publish_batch_times()
        self._measuring.publish()
        news = self._presence.state_to_publish()
        if news is None:
            return
        try:
            self._processes.announce(news)
        except StoreUnavailableError as error:
            log.debug("the heartbeat was not published", problem=str(error))
        else:
            self._presence.mark_published(news)

    def _publish_decisions(self) -> None:
        with self._lock:
            counts, self._decided = self._decided, Counter()
        if not counts:
            return
        try:
            self._tallies.add(counts)
        except StoreUnavailableError as error:
            log.debug("the decision counts were not published", problem=str(error))
            with self._lock:
                self._decided.update(counts)

    def _publish_batch_times(self) -> None:
        with self._lock:
            timed, self._timed = self._timed, {}
        if not timed:
            return
        try:
            self._paces.add(timed)
        except StoreUnavailableError as error:
            # not retried: durations during an outage of Redis say little
            log.debug("the batch times were not published", problem=str(error))

    def leave(self) -> None:
        """Publishes the rest and removes this process; where Redis fails, its entry expires."""
        self._publish_decisions()
        self._publish_batch_times()
        self._measuring.publish()
        try:
            self._processes.leave(self._presence.process)
        except StoreUnavailableError as error:
            log.debug("the end of this process was not published", problem=str(error))


def _waited(records: Sequence[Record], decisions: Sequence[Decision]) -> Iterator[float]:
    """The seconds that each transaction waited; those submitted together share a time, which is parsed once."""
    decided_at = datetime.fromisoformat(decisions[0].scored_at)
    for submitted_at, number in Counter(str(record["submitted_at"]) for record in records).items():
        try:
            seconds = (decided_at - datetime.fromisoformat(submitted_at)).total_seconds()
        except (ValueError, TypeError):
            # a record of another program
            continue
        # never below 0: the clocks of two machines may differ
        yield from [max(0.0, seconds)] * number
