"""The turns of the event loop: a bound on the requests answered in each, and on those that wait for one.

libuv reads all ready connections before anything else runs. With hundreds of busy ones no connection is accepted
meanwhile, no answer of Redis is read, and no timer fires.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from riskline.ingest.recording.backpressure import Backpressure

PIECES_A_TURN = 512
"""Some 20 ms of work, the longest that anything else waits. A turn itself costs a few µs."""


class WaitingConnection(Protocol):
    """A connection that has more to read."""

    def go_on(self) -> None:
        """Its turn has come."""


class Turns:
    """The order in which connections are read. Its clock is the event loop's turn."""

    def __init__(self, *, in_flight: int, pressure: Backpressure) -> None:
        """`in_flight` are the requests that may be unanswered before further ones are to be refused."""
        self._in_flight = in_flight
        self._pressure = pressure
        self._waiting: deque[WaitingConnection] = deque()
        self._left = PIECES_A_TURN
        self._comes = False
        self._scoring = 0

    @property
    def full(self) -> bool:
        """True where as many requests are unanswered as may be. They wait for a turn, and then for the recorder."""
        return len(self._waiting) + self._scoring + self._pressure.waiting >= self._in_flight

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Counts a request that is decided in more than one turn."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """The same for a caller that calls `end` later."""
        self._scoring += 1

    def end(self) -> None:
        """The request is answered."""
        self._scoring -= 1

    def take(self) -> bool:
        """Takes a place in this turn for one of more than `PIECES_A_TURN` connections; False where none is left."""
        if not self._left:
            return False
        self._left -= 1
        self._come()
        return True

    def join(self, connection: WaitingConnection) -> None:
        """Lets a connection go on in a later turn, after those that came before it."""
        self._waiting.append(connection)
        self._come()

    def _come(self) -> None:
        if not self._comes:
            self._comes = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._comes = False
        now = min(len(self._waiting), PIECES_A_TURN)
        # new requests of this turn queue behind those that wait
        self._left = PIECES_A_TURN - now
        try:
            for _ in range(now):
                self._waiting.popleft().go_on()
        finally:
            if self._waiting:
                self._come()
