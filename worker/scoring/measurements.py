"""A worker's measurements, published once a second beside its work; kept for the next time where Redis fails."""

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
    """A buffer of measurements for Redis; the working thread adds them, the sweeper's thread publishes them."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._lock = threading.Lock()
        self._kept: Measured = Counter()

    def add(self, counts: Measured) -> None:
        """Adds measurements to the buffer."""
        with self._lock:
            self._kept.update(counts)

    def publish(self) -> None:
        """Writes the buffer to Redis; where Redis fails, the next call does."""
        with self._lock:
            counts, self._kept = self._kept, Counter()
        if not counts:
            return
        try:
            self._tallies.add_measured(counts)
        except StoreUnavailableError as error:
            log.debug("the measurements were not published", problem=str(error))
            self.add(counts)


def measured_attempt(attempt: Mapping[str, Any]) -> Measured:
    """The measurements of an attempt to deliver a callback: its outcome and duration."""
    status, milliseconds = attempt["status"], attempt["latency_ms"]
    without = "not_tried" if milliseconds is None else "no_answer"
    outcome = without if status is None else f"{status // 100}xx"
    counts = measured("attempts", {"number": 1}, outcome)
    if milliseconds is not None:
        counts.update(measured("attempt_seconds", ATTEMPT_SECONDS.counted([milliseconds / 1000])))
    return counts
