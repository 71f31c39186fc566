"""The observations that could not be added to the history in time, in their order, until it takes them."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from riskline.shared.domain.history.observation import Observation
from riskline.shared.log import get_logger
from riskline.shared.telemetry.metrics import HISTORY_OBSERVATIONS, HISTORY_PENDING

log = get_logger(__name__)

MOST = 100_000
MOST_BYTES = 64 * 1024 * 1024
"""The most observations and bytes that wait: they bound this process's memory while the history is away."""

PART_BYTES = 200
"""What Python's objects for one entity of an observation take beside its texts."""


class LateObservations:
    """A bounded buffer. Observations that find it full are dropped: the buffer keeps the oldest, without a gap."""

    def __init__(self, *, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[Observation] = deque()
        self._bytes = 0
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, observations: Iterable[Observation]) -> None:
        """Takes observations; counts as dropped those for which there is no room."""
        for observation in observations:
            if len(self._waiting) >= self._most or self._bytes >= self._most_bytes:
                self._drop()
            else:
                self._waiting.append(observation)
                self._bytes += _size(observation)
        HISTORY_PENDING.set(len(self._waiting))

    def first(self, count: int) -> list[Observation]:
        """The oldest ones, up to `count`; they stay until `remove`."""
        return list(islice(self._waiting, count))

    def remove(self, count: int) -> None:
        """Takes the oldest ones out: they were added."""
        for _ in range(count):
            self._bytes -= _size(self._waiting.popleft())
        HISTORY_PENDING.set(len(self._waiting))
        if not self._waiting and self._dropped:
            log.error("transactions are missing from the history: the buffer was full", dropped=self._dropped)
            self._dropped = 0

    def _drop(self) -> None:
        if not self._dropped:
            log.error(
                "the buffer of late observations is full: further transactions will be missing from the history",
                waiting=len(self._waiting),
                waiting_bytes=self._bytes,
            )
        self._dropped += 1
        HISTORY_OBSERVATIONS.labels("dropped").inc()


def _size(observation: Observation) -> int:
    return sum(PART_BYTES + len(part.entity) + len(part.event) for part in observation.parts if part is not None)
