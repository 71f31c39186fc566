"""Backpressure: a buffer of decisions that fills slows the synchronous door, then warns, then drops with an error."""

import asyncio
from collections import deque
from collections.abc import Callable

from riskline.shared.log import get_logger
from riskline.shared.telemetry.metrics import RECORDINGS_DROPPED

log = get_logger(__name__)


class Backpressure:
    """The requests that wait while the recorder is behind. The recorder raises and eases the pressure."""

    def __init__(self) -> None:
        self.is_high = False
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def wait(self, go_on: Callable[[], None]) -> None:
        """Calls `go_on` once the pressure is low, after those that have waited for longer."""
        self._waiting.append(go_on)

    async def low(self) -> None:
        """Returns once the pressure is low."""
        while self.is_high:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.wait(lambda future=future: None if future.done() else future.set_result(None))  # type: ignore[misc]
            await future

    def ease(self) -> None:
        """Lets those go on that have waited, until what they do raises the pressure again."""
        self.is_high = False
        while self._waiting and not self.is_high:
            go_on = self._waiting.popleft()
            try:
                go_on()
            except Exception:
                # those who wait behind a connection that fails go on all the same
                log.exception("an answer failed")


class BufferLevel:
    """The fill level of a bounded buffer: warns at half, counts what is dropped at full, and logs when it has emptied.

    Below `watched` decisions and `watched_bytes` there is room, and no check is needed.
    """

    def __init__(self, *, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._half, self._half_bytes = max(1, capacity // 2), max_bytes // 2
        self.watched, self.watched_bytes = min(self._half, capacity), self._half_bytes
        self._is_told = False
        self._dropped_before = 0
        self.dropped = 0

    def has_room(self, count: int, size: int) -> bool:
        """True where one more fits beside `count` entries of `size` bytes; counts it as dropped where not."""
        if count >= self._half or size >= self._half_bytes:
            self._tell(count, size)
        if count < self._capacity and size < self._max_bytes:
            return True
        self._drop(count, size)
        return False

    def fell(self, count: int, size: int) -> None:
        """Takes the fill level after a call."""
        if not (self._is_told or self._is_dropping) or count > self._half // 2 or size > self._half_bytes // 2:
            return
        self._is_told = False
        if self._is_dropping:
            log.error("decisions were answered but not recorded", dropped=self.dropped - self._dropped_before)
            self._dropped_before = self.dropped
        else:
            log.info("the record buffer has emptied, and every decision is recorded", waiting=count)

    @property
    def _is_dropping(self) -> bool:
        return self.dropped > self._dropped_before

    def _tell(self, count: int, size: int) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning(
                "the record buffer is half full: see why Redis takes too few decisions; when it is full they are "
                "answered but not recorded",
                waiting=count,
                capacity=self._capacity,
                waiting_bytes=size,
                capacity_bytes=self._max_bytes,
            )

    def _drop(self, count: int, size: int) -> None:
        if not self._is_dropping:
            log.error(
                "the record buffer is full: decisions are answered but not recorded until Redis takes them",
                waiting=count,
                waiting_bytes=size,
            )
        self.dropped += 1
        RECORDINGS_DROPPED.inc()
