"""The reading of a connection: one request after the other, in bounded pieces, in turns with other connections.

A client may send many requests before it has an answer (pipelining). uvicorn reads them as they come and holds each in
memory. Here a request is read once the one before it is answered. Until then no further bytes are read.
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from riskline.ingest.edge.limits import STATE, Edge
from riskline.ingest.edge.turns import PIECES_A_TURN

HEAD_END = b"\r\n\r\n"
"""Ends each head and each chunked body; the parser takes no other line break."""

EMPTY_LINES = re.compile(rb"[\r\n]*")
"""Line breaks before a request, which are skipped."""

PIECES_AT_A_TIME = 64
"""The bytes read of one connection before others have their turn."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""The bytes held of all connections of a process: read, not yet parsed. Of one connection 256 KB at the most."""


class HeldFlow(FlowControl):
    """The flow control of a connection that stops reading while it holds unparsed bytes."""

    held = False
    _is_enough = False
    """True while the application has as much of a body as it may without having asked for it."""

    def hold(self) -> None:
        """Reads no more until `let_go`, even where the application asks for more."""
        super().pause_reading()
        self.held = True

    def let_go(self) -> None:
        """Reads on, unless the application has enough."""
        self.held = False
        if not self._is_enough:
            super().resume_reading()

    def pause_reading(self) -> None:
        """Reads no more until the application asks for it."""
        self._is_enough = True
        super().pause_reading()

    def resume_reading(self) -> None:
        """Reads on, where nothing is held."""
        self._is_enough = False
        if not self.held:
            super().resume_reading()


class PiecesProtocol(HttpToolsProtocol):
    """uvicorn's connection, fed in pieces. No piece has parts of two requests."""

    flow: HeldFlow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge: Edge = self.app_state[STATE]
        self._between_requests = True
        self._body_left = 0
        self._tail = b""
        self._held = b""
        self._held_from = 0

    def data_received(self, data: bytes) -> None:
        """Called with a part of a request, or one or several requests."""
        if self._held:
            self.flow.hold()
            self.hold(self._held[self._held_from :] + data)
        elif self._between_requests and self.is_answering():
            self.flow.hold()
            self.hold(data)
        elif len(self.connections) <= PIECES_A_TURN or self._edge.turns.take():
            self.read(data)
        else:
            self.wait_for_turn(data)

    def wait_for_turn(self, data: bytes) -> None:
        """Keeps what came until its turn."""
        self.hold(data)
        self._edge.turns.join(self)

    def hold(self, data: bytes, start: int = 0) -> None:
        """Keeps what came from `start` on."""
        self._edge.held_bytes += len(data) - len(self._held)
        self._held, self._held_from = data, start
        if self._edge.held_bytes > MAX_HELD_BYTES:
            self.too_much_held()

    def go_on(self) -> None:
        """Reads what is held: its turn has come."""
        data, start = self._held, self._held_from
        self.drop_held()
        if data:
            self.read_on(data, start)
        if self.flow.held and not self._held:
            self.flow.let_go()

    def go_on_later(self) -> None:
        """Reads what is held in a later turn."""
        if self._held and not self.is_answering():
            self._edge.turns.join(self)

    def drop_held(self) -> None:
        """Forgets what is held."""
        self._edge.held_bytes -= len(self._held)
        self._held, self._held_from = b"", 0

    def read_on(self, data: bytes, start: int) -> None:
        """Reads what was held."""
        self.read(data, start)

    def read(self, data: bytes, start: int = 0) -> None:
        """Feeds the parser, up to where a request is to be answered before the next is read."""
        for _ in range(PIECES_AT_A_TIME):
            if self._between_requests:
                start = EMPTY_LINES.match(data, start).end()  # type: ignore[union-attr]  # it matches anything
            if start == len(data) or self.transport.is_closing():
                return
            if self._between_requests and self.is_answering():
                self.flow.hold()
                self.hold(data, start)
                return
            end = self._end(data, start)
            piece = data[start:end]
            start = end
            if not self.feed(piece):
                return
            seen = self._tail + piece[-4:]
            self._tail = b"" if self._between_requests or seen.endswith(HEAD_END) else seen[-3:]
        if start < len(data):
            self.flow.hold()
            self.hold(data, start)
            self._edge.turns.join(self)

    def _end(self, data: bytes, start: int) -> int:
        """The end of the piece that begins here: that of its body, of a head, or maybe of a chunked body."""
        if self._body_left:
            return min(start + self._body_left, len(data))
        # the four bytes may have come in two parts
        end = (self._tail + data[start : start + 3]).find(HEAD_END)
        if end >= 0:
            return start + end + 4 - len(self._tail)
        end = data.find(HEAD_END, start)
        return len(data) if end < 0 else end + 4

    def feed(self, piece: bytes) -> bool:
        """Hands a piece to the parser; False where nothing after it is to be read."""
        raise NotImplementedError

    def too_much_held(self) -> None:
        """Closes the connection: the process holds as many bytes as it may."""
        raise NotImplementedError

    def is_answering(self) -> bool:
        """True where a request that has arrived has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called for a new connection."""
        super().connection_made(transport)
        self.flow = HeldFlow(transport)

    def on_response_complete(self) -> None:
        """Called when an answer is written; reads the bytes that came meanwhile."""
        super().on_response_complete()
        self.go_on_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is lost; drops its bytes."""
        self.drop_held()
        super().connection_lost(exc)
