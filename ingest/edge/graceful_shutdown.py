"""The graceful shutdown: after SIGTERM the process answers on for some seconds and sends its clients elsewhere.

A server that stops at once closes its idle connections: a client that sends its next request at this moment sees it
fail. So for some seconds each answer ends its connection, and `/health/ready` is 503 for load balancers.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import falcon.asgi
import uvicorn

from riskline.shared.log import get_logger

log = get_logger(__name__)


class GracefulShutdown:
    """Falcon middleware that takes the server's SIGTERM, and passes it on to the server when the time is over."""

    def __init__(self, *, seconds: float) -> None:
        """With 0 seconds the server handles the signal by itself."""
        self.has_begun = False
        self._seconds = seconds
        self._stop: Callable[[int, FrameType | None], Any] | None = None
        self._then: list[Callable[[], None]] = []

    def on_begin(self, call: Callable[[], None]) -> None:
        """Registers a call for when the shutdown begins."""
        self._then.append(call)

    def begin(self) -> None:
        """Begins the shutdown: from now on each answer ends its connection."""
        self.has_begun = True
        for call in self._then:
            call()

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Takes over uvicorn's handler of SIGTERM. Another server's handler stays."""
        if self._seconds == 0 or threading.current_thread() is not threading.main_thread():
            return
        stop: Any = signal.getsignal(signal.SIGTERM)
        if isinstance(getattr(stop, "__self__", None), uvicorn.Server):
            self._stop, self._loop = stop, asyncio.get_running_loop()
            signal.signal(signal.SIGTERM, self._told_to_stop)

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self.has_begun and self._stop is not None:
            # for the second time
            self._stop(number, frame)
        else:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        log.info("told to stop: answers end their connections", seconds=self._seconds)
        self.begin()
        self._loop.call_later(self._seconds, self._told_to_stop, signal.SIGTERM, None)

    async def process_response(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, *_: object) -> None:
        """Ends the connection with the answer."""
        if self.has_begun:
            resp.set_header("Connection", "close")
