"""Processes that are killed at one of their Redis commands, on this side of it or that."""

import os
import select
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection as Connection

PATIENCE_SECONDS = 5.0

WHENS = ("before", "within", "after")
"""Before the command is sent, when half of its bytes are, or once the server has executed it. What stands before it in
the same write has been sent, what stands behind it has not."""


def ends_of_commands(written: bytes) -> Iterator[int]:
    """Where each command ends in what is written to Redis at once."""
    at = 0
    while at < len(written):
        line_end = written.index(b"\r\n", at)
        words, at = int(written[at + 1 : line_end]), line_end + 2
        for _ in range(words):
            line_end = written.index(b"\r\n", at)
            at = line_end + 2 + int(written[at + 1 : line_end]) + 2
        yield at


class Doom:
    """Ends the process at its n-th command."""

    def __init__(self, n: int, when: str) -> None:
        self._n = n
        self._when = when
        self._passed = 0

    def meet(self, descriptor: int, written: bytes) -> None:
        """Counts the commands that are about to be written, and writes no more than shall be if it ends with them."""
        start = 0
        for end in ends_of_commands(written):
            self._passed += 1
            if self._passed == self._n:
                until = {"before": start, "within": (start + end) // 2, "after": end}[self._when]
                if until:
                    os.write(descriptor, written[:until])
                if self._when == "after":
                    select.select([descriptor], [], [], PATIENCE_SECONDS)
                os.kill(os.getpid(), signal.SIGKILL)
            start = end

    def await_everywhere(self) -> None:
        """Stands in the way of all connections of this process."""
        send, send_async = Connection.send_packed_command, AsyncConnection.send_packed_command

        def send_or_die(connection: Any, command: Any, check_health: bool = True) -> Any:
            if not connection._sock:
                connection.connect_check_health(check_health=False)
            self.meet(connection._sock.fileno(), b"".join(command))
            return send(connection, command, check_health)

        async def send_or_die_async(connection: Any, command: Any, check_health: bool = True) -> Any:
            if not connection.is_connected:
                await connection.connect_check_health(check_health=False)
            written = command if isinstance(command, bytes) else b"".join(command)
            self.meet(connection._writer.get_extra_info("socket").fileno(), written)
            return await send_async(connection, command, check_health)

        Connection.send_packed_command = send_or_die
        AsyncConnection.send_packed_command = send_or_die_async


def in_a_child(run: Callable[[Callable[[], None]], None], doom: Doom) -> tuple[int, bool]:
    """How a process ended that ran this, and whether it acknowledged anything before: it is given how."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            doom.await_everywhere()
            run(lambda: os.write(writes, b"y") and None)
            code = 0
        except BaseException:  # noqa: BLE001  # the process ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writes)
    _, status = os.waitpid(pid, 0)
    acknowledged = os.read(reads, 1) == b"y"
    os.close(reads)
    return os.waitstatus_to_exitcode(status), acknowledged
