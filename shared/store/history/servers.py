"""The servers that have a history: one that has all of it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from riskline.shared.store.history.server import HistoryServer, RedisCommand


class Servers(Protocol):
    """The servers that have the entities."""

    scattered: bool
    """True where two entities may be on two servers."""

    async def run(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """The answers of the servers that have the commands' keys; an error of one command is its answer."""

    async def each(self) -> Sequence[HistoryServer]:
        """The servers that have entities."""

    async def warm(self) -> None:
        """Connects to all of them."""

    async def close(self) -> None:
        """Closes all connections."""


class OneServer:
    """A Redis that has all entities."""

    scattered = False

    def __init__(self, new_connection: Callable[[], Any]) -> None:
        self._server = HistoryServer(new_connection)

    async def run(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """See Servers."""
        return await self._server.run(commands)

    async def each(self) -> Sequence[HistoryServer]:
        """See Servers."""
        return (self._server,)

    async def warm(self) -> None:
        """See Servers."""
        await self._server.warm()

    async def close(self) -> None:
        """See Servers."""
        await self._server.close()
