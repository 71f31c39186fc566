"""The connections of the proxy before Redis, and what the network does to them at present."""

import asyncio
import random
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: what is closed is reset, as by a host that has lost the connection."""

CONNECT_SECONDS = 2.0

Transport = asyncio.Transport


@dataclass
class Network:
    """What is wrong at present, and the connections that it is wrong with; used in the event loop's thread."""

    loop: asyncio.AbstractEventLoop
    upstream_port: int
    delays: random.Random
    delay_seconds: tuple[float, float] | None = None
    frozen: bool = False
    swallowing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The directions, `up` to Redis and `down` from it, in which all is lost, by the fault that does it."""
    connections: "set[Connection]" = field(default_factory=set)

    def loses(self, direction: str) -> bool:
        """Whether what goes in this direction is lost now."""
        return any(direction in directions for directions in self.swallowing.values())


class Pipe:
    """One direction of a connection: passes on at once, or later, or never, but always in order."""

    def __init__(self, connection: "Connection", direction: str) -> None:
        self._connection = connection
        self._direction = direction
        self._held: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.sink: Transport | None = None
        self.ended = False

    def feed(self, data: bytes | None) -> None:
        """Takes data, or None for the end of it."""
        network = self._connection.network
        if network.loses(self._direction):
            self._connection.lossy = True
            return
        wait = 0.0 if network.delay_seconds is None else network.delays.uniform(*network.delay_seconds)
        self._held.append((network.loop.time() + wait, data))
        self.release()

    def release(self) -> None:
        """Passes on what is due."""
        network = self._connection.network
        while self._held and self.sink is not None and not network.frozen:
            due, data = self._held[0]
            if due > network.loop.time():
                if self._timer is None:
                    self._timer = network.loop.call_at(due, self._timer_is_over)
                return
            self._held.popleft()
            self._pass_on(data)

    def _timer_is_over(self) -> None:
        self._timer = None
        self.release()

    def _pass_on(self, data: bytes | None) -> None:
        if self.ended or self.sink is None:
            return
        self.ended = data is None
        if self.sink.is_closing():
            return
        if data is None:
            # it may be gone, which nobody has told the event loop yet
            with suppress(OSError):
                self.sink.write_eof()
        else:
            self.sink.write(data)

    def end(self) -> None:
        """The end of the data, now, before what is held."""
        self._held.clear()
        self._pass_on(None)

    def has_no_sink(self) -> None:
        """There is nobody any more to whom anything can be passed on."""
        self._held.clear()
        self.ended = True


class Connection(asyncio.Protocol):
    """A client's connection with the one to Redis that belongs to it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.lossy = False
        self._up = Pipe(self, "up")
        self._down = Pipe(self, "down")
        self._client: Transport | None = None
        self._server: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client = self._down.sink = transport
        self.network.connections.add(self)
        self._connecting = self.network.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            opening = self.network.loop.create_connection(lambda: Answering(self), HOST, self.network.upstream_port)
            transport, _ = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except OSError:
            self.reset()
            return
        self._server = self._up.sink = transport
        if self not in self.network.connections:
            transport.abort()
        self.release()

    def data_received(self, data: bytes) -> None:
        self._up.feed(data)

    def eof_received(self) -> bool:
        self._up.feed(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._down.has_no_sink()
        if exc is not None:
            self.reset()
        else:
            self._up.feed(None)
            self.forget_if_over()

    def answered(self, data: bytes | None) -> None:
        """Redis sent data, or None: it will send no more."""
        self._down.feed(data)

    def forget_if_over(self) -> None:
        """Lets go of a connection whose two sides have ended."""
        if self._up.ended and self._down.ended:
            self.network.connections.discard(self)
            for transport in (self._client, self._server):
                if transport is not None:
                    transport.close()

    def server_lost(self, exc: Exception | None) -> None:
        """Redis is gone; a reset is passed on, but a frozen network says nothing of it yet."""
        self._up.has_no_sink()
        if exc is not None and not self.network.frozen:
            self.reset()
        else:
            self._down.feed(None)
            self.forget_if_over()

    def release(self) -> None:
        """Passes on what is due, both ways."""
        self._up.release()
        self._down.release()
        self.forget_if_over()

    def half_close(self, direction: str) -> None:
        """Ends one direction."""
        (self._up if direction == "up" else self._down).end()

    def reset(self) -> None:
        """Ends both sides without a goodbye."""
        self.network.connections.discard(self)
        for transport in (self._client, self._server):
            if transport is not None:
                # one that the other side has reset is closed already
                with suppress(OSError):
                    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                transport.abort()


class Answering(asyncio.Protocol):
    """The side of a connection on which Redis is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def data_received(self, data: bytes) -> None:
        self._connection.answered(data)

    def eof_received(self) -> bool:
        self._connection.answered(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.server_lost(exc)
