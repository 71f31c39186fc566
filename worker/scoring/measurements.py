"""What a worker measures is told once a second, beside its work: best effort, and what cannot be told is kept."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.status.tallies import Measured, Tallies, measured
from riskline.shared.telemetry.histograms import ATTEMPT_SECONDS

log = get_logger(__name__)


class MeasurementBuffer:
    """Numbers on their way into Redis; added by the thread that works, told by the one beside it."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._lock = threading.Lock()
        self._kept: Measured = Counter()

    def add(self, counts: Measured) -> None:
        """Keeps what was measured, to be told."""
        with self._lock:
            self._kept.update(counts)

    def publish(self) -> None:
        """Says what there is to say; where Redis fails it, the next round does."""
        with self._lock:
            counts, self._kept = self._kept, Counter()
        if not counts:
            return
        try:
            self._tallies.add_measured(counts)
        except StoreUnavailableError as error:
            log.debug("Redis was not told what was measured", problem=str(error))
            self.add(counts)


def measured_attempt(attempt: Mapping[str, Any]) -> Measured:
    """An attempt to deliver a callback as clients see it: how it went, and how long it took."""
    status, milliseconds = attempt["status"], attempt["latency_ms"]
    without = "not_tried" if milliseconds is None else "no_answer"
    outcome = without if status is None else f"{status // 100}xx"
    counts = measured("attempts", {"number": 1}, outcome)
    if milliseconds is not None:
        counts.update(measured("attempt_seconds", ATTEMPT_SECONDS.counted([milliseconds / 1000])))
    return counts
