"""A TCP proxy before Redis that delays, stalls, loses and cuts what goes through it, as a network does."""

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

from tests.chaos.connections import HOST, Connection, Network

START_SECONDS = 10.0


class FaultyProxy:
    """Forwards connections to a port, from a thread of its own; the faults are set by calls from any thread."""

    def __init__(self, *, port: int, upstream_port: int, delays: random.Random) -> None:
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._network = Network(self._loop, upstream_port, delays)
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        """Returns once it listens."""
        self._thread.start()
        self.accept_connections()

    def close(self) -> None:
        """Resets every connection and ends the thread."""
        if not self._thread.is_alive():
            return
        self.refuse_connections()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Callable[[], Any]) -> None:
        async def in_loop() -> None:
            work()

        asyncio.run_coroutine_threadsafe(in_loop(), self._loop).result(START_SECONDS)

    def accept_connections(self) -> None:
        """Listens (again)."""

        async def listen() -> None:
            if self._server is None:
                self._server = await self._loop.create_server(lambda: Connection(self._network), HOST, self.port)

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(START_SECONDS)

    def refuse_connections(self) -> None:
        """New connections are refused; those there are stay."""

        def stop() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None

        self._do(stop)

    def delay(self, seconds: tuple[float, float] | None) -> None:
        """What comes is forwarded so much later each way, in its order; None ends it."""
        self._network.delay_seconds = seconds

    def freeze(self) -> None:
        """Takes connections and what they send, and forwards none of it before `thaw`."""
        self._network.frozen = True

    def thaw(self) -> None:
        """Forwards what was held, whoever may still wait for it."""

        def release() -> None:
            self._network.frozen = False
            for connection in list(self._network.connections):
                connection.release()

        self._do(release)

    def swallow(self, *directions: str, by: str) -> None:
        """Loses what goes `up` to Redis or `down` from it; without any, ends that and resets who has lost something."""

        def change() -> None:
            self._network.swallowing[by] = directions
            if not directions:
                for connection in [each for each in self._network.connections if each.lossy]:
                    connection.reset()

        self._do(change)

    def cut(self) -> None:
        """Resets every connection there is."""

        def reset_all() -> None:
            for connection in list(self._network.connections):
                connection.reset()

        self._do(reset_all)

    def half_close(self, direction: str) -> None:
        """Ends one direction of every connection there is; the other goes on."""

        def end_all() -> None:
            for connection in list(self._network.connections):
                connection.half_close(direction)

        self._do(end_all)

    def heal(self) -> None:
        """Ends every fault."""
        if not self._thread.is_alive():
            return
        self.delay(None)
        self.thaw()
        for fault in list(self._network.swallowing):
            self.swallow(by=fault)
        self.accept_connections()
