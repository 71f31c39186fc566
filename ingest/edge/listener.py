"""The event loop of an API process: uvloop, but for how it accepts connections.

uvloop accepts one connection in a turn of its loop, and a turn serves every connection that can be read. With hundreds
of busy connections a new one, such as a liveness probe, waits one turn for each new one before it.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from riskline.shared.log import get_logger

log = get_logger(__name__)

ACCEPTED_A_TURN = 64
"""Each costs 0.1 ms: a burst holds other connections up for no longer than a turn does."""

BACKLOG = 2048
"""Connections that the kernel keeps until they are accepted; uvicorn's value."""

AGAIN_SECONDS = 1.0
"""The pause where the process has no file descriptor left."""

SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Loop(uvloop.Loop):  # type: ignore[misc]  # it has no types
    """uvloop's loop, with servers that accept many connections in a turn."""

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """The loop's method; it returns a Listener in place of uvloop's server."""
        server = await super().create_server(protocol_factory, *args, **options)
        sockets = [socket.socket(fileno=os.dup(each.fileno())) for each in server.sockets]
        server.close()
        return Listener(self, sockets, protocol_factory)


class Listener:
    """The server of a socket: accepts connections, and has the interface that uvicorn uses."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        protocol_factory: Callable[[], asyncio.Protocol],
    ) -> None:
        self.sockets = tuple(sockets)
        self._loop = loop
        self._protocol_factory = protocol_factory
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        for each in self.sockets:
            each.settimeout(0)
            each.listen(BACKLOG)
            self._listen(each)

    def _listen(self, listening: socket.socket) -> None:
        if self._open:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_A_TURN):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                if error.errno not in SHORT:
                    raise
                log.warning("no connection can be accepted for a second", problem=error.strerror)
                self._loop.remove_reader(listening)
                self._loop.call_later(AGAIN_SECONDS, self._listen, listening)
                return
            connection.settimeout(0)
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol_factory, connection)
        except OSError:
            # it was reset before it was served
            connection.close()

    def close(self) -> None:
        """Accepts no more."""
        self._open = False
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()

    async def wait_closed(self) -> None:
        """Returns at once: connections are not the listener's."""
