"""One Redis server as the history uses it: commands in one round trip, on a connection that is given up when they fail.

redis-py packs commands in Python, retries them, and waits for the socket alone; here hiredis packs them, and whoever
calls limits the whole.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hiredis import pack_command
from redis.exceptions import NoScriptError, ResponseError

from riskline.shared.store.scripts import source_of

CONNECTIONS = 8
"""Of one process to one server: requests that come together share a call, so few are under way at a time."""

Word = str | bytes | int


_pack: Callable[[tuple[Word, ...]], bytes] = pack_command  # type: ignore[assignment]  # its stub wants tuples of one


class RedisCommand(NamedTuple):
    """A command on one key, or on several of one slot."""

    key: str
    words: tuple[Word, ...]
    script: str = ""
    """The script that it calls, if any."""


def script_call(name: str, keys: Sequence[str], args: Sequence[Word]) -> RedisCommand:
    """The command that runs a script."""
    return RedisCommand(keys[0], ("EVALSHA", source_of(name)[1], len(keys), *keys, *args), name)


class HistoryServer:
    """One Redis server, or whichever one its connections find."""

    def __init__(self, new_connection: Callable[[], Any]) -> None:
        self._new_connection = new_connection
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def run(self, commands: Sequence[RedisCommand], *, asking: bool = False) -> list[Any]:
        """The answers to the commands, in one round trip; an error of one is its answer.

        A script that the server does not have is sent to it. With `asking` the server answers for a slot that is being
        moved to it.

        Raises:
            redis.exceptions.RedisError, OSError: the connection failed; commands may have been executed.
        """
        answers = await self._exchange([each.words for each in commands], asking=asking)
        missing = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            sent = [("EVAL", source_of(commands[each].script)[0], *commands[each].words[2:]) for each in missing]
            for number, answer in zip(missing, await self._exchange(sent, asking=asking), strict=True):
                answers[number] = answer
        return answers

    async def warm(self) -> None:
        """Connects as often as calls may come together, so that none of them has to wait for it."""
        await asyncio.gather(*(self._exchange([("PING",)]) for _ in range(CONNECTIONS)))

    async def close(self) -> None:
        """Closes the connections."""
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _exchange(self, commands: Sequence[tuple[Word, ...]], *, asking: bool = False) -> list[Any]:
        words = [each for command in commands for each in (("ASKING",), command)] if asking else commands
        packed = b"".join(_pack(each) for each in words)
        async with self._free:
            connection = await self._connected()
            try:
                await connection.send_packed_command(packed, check_health=False)
                answers = [await _answer(connection) for _ in words]
            except BaseException:
                # also where the caller waits no longer: a late answer must not be taken for that of the next call
                await connection.disconnect(nowait=True)
                raise
            self._idle.append(connection)
        return answers[1::2] if asking else answers

    async def _connected(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            # one that Redis has closed meanwhile, as at its restart, can be read to its end
            if connection.is_connected and not await connection.can_read():
                return connection
            await connection.disconnect(nowait=True)
        connection = self._new_connection()
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
