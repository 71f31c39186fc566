"""The end of a connection: without a reset for a client that still sends, and soon for one that does not read."""

import asyncio
import fcntl
import struct
import termios
from typing import Any

from riskline.ingest.edge.limits import TICK_SECONDS
from riskline.ingest.edge.pieces import PiecesProtocol

MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""The bytes that are read of a refused request: most clients look for an answer only once they have sent it all."""

SLOW_BYTES = 1000
"""The bytes a second below which a client that is being read counts as not sending.

A large batch may take as long as it needs over any line, but a client that sends single bytes may not. The same holds
for a client that reads its answer."""

COUNT = struct.Struct("i")


class ClosingProtocol(PiecesProtocol):
    """uvicorn's connection, with an end that reaches the client and that the client cannot delay."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended = False
        self._unread = self._unsent = 0
        self._ending_seconds = self._unsent_seconds = 0.0
        self._answers = AnswerTransport(self)

    def end(self) -> None:
        """Ends the connection, and reads on for a while.

        Closing it while the client sends would reset it, and most clients would not see the answer.
        """
        if not self._ended and not self.transport.is_closing():
            self.transport.write_eof()
            self.flow.let_go()
            self.flow.resume_reading()
        self._ended, self._between_requests = True, False
        self._unread = 0
        self.drop_held()

    def answered_last(self) -> None:
        """Ends the connection after an answer with `Connection: close`."""
        if self._between_requests:
            self.transport.close()
        else:
            self.end()

    def pass_over(self, size: int) -> None:
        """Counts the bytes after a refusal, and closes the connection of a client that sends too many."""
        self._unread += size
        if self._unread > MAX_UNREAD_BYTES:
            self.transport.abort()

    def let_go_of_the_idle(self, *, ending: bool) -> None:
        """Closes the connection of a client that does not read, or does not finish; called once a second."""
        unsent = unsent_bytes(self.transport)
        is_stuck = unsent > 0 and 0 < self._unsent < unsent + SLOW_BYTES
        self._unsent = unsent
        self._unsent_seconds = self._unsent_seconds + TICK_SECONDS if is_stuck else 0.0
        self._ending_seconds = self._ending_seconds + TICK_SECONDS if ending else 0.0
        if max(self._unsent_seconds, self._ending_seconds) >= self._edge.limits.request_seconds:
            self.transport.abort()

    def resume_writing(self) -> None:
        """Called when the client has read most of the buffered answers."""
        super().resume_writing()
        self._unsent = 0

    def on_response_complete(self) -> None:
        """Called when an answer is written; after the last one the connection ends."""
        if self._ended:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()


class AnswerTransport(asyncio.Transport):
    """The transport for uvicorn's answers. The connection itself decides how it closes."""

    def __init__(self, connection: ClosingProtocol) -> None:
        super().__init__()
        self._connection = connection

    def write(self, data: Any) -> None:
        """Sends a part of an answer."""
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        """True where sending more is useless."""
        return self._connection.transport.is_closing()

    def close(self) -> None:
        """Ends the connection after this answer."""
        self._connection.answered_last()


def unsent_bytes(transport: asyncio.Transport) -> int:
    """The bytes of answers that the client has not taken, where more wait than its line holds."""
    waiting = transport.get_write_buffer_size()
    if not waiting:
        return 0
    try:
        # bytes here move only once the client has taken much of the kernel's buffer
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(COUNT.size))
    except OSError:
        return waiting
    return waiting + int(COUNT.unpack(queued)[0])
