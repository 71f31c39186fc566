"""Connections that leave a server which is no longer the master, so that the next attempt may find the new one."""

from typing import Any

from redis.asyncio.connection import AbstractConnection as AsyncAbstractConnection
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection as AsyncUnixDomainSocketConnection
from redis.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from riskline.shared.store.connect.outcomes import before_sending

REFUSALS = ("READONLY ", "NOREPLICAS ", "UNBLOCKED ")
"""How a replica answers a write; a master cut off from its replicas, of which one may be the master by now; and a
server that is made a replica while somebody waits for an element of a list."""


def left_master(error: ResponseError) -> bool:
    """Whether the server says by this answer that it is no master (any more), or perhaps not the one.

    Up to Redis 6.2 it does so within the message where a script met it.
    """
    message = str(error)
    return (
        isinstance(error, ReadOnlyError)
        or message.startswith(REFUSALS)
        or any(f" -{refusal}" in message for refusal in REFUSALS)
    )


class Following(AbstractConnection):
    """A connection whose commands are tried again, each time on a new connection, when its server is no master."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the command that was sent; a fault of the connection where only a master could answer."""
        try:
            return super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not left_master(error):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's has no types
            raise RedisConnectionError(f"not the master: {error}") from error


class AsyncFollowing(AsyncAbstractConnection):
    """A connection whose commands are tried again, each time on a new connection, when its server is no master."""

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connects; an error has a note that nothing was sent."""
        with before_sending():
            await super().connect_check_health(*args, **kwargs)

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Sends a command; a fault of the connection, too, where uvloop finds that it was reset before."""
        try:
            await super().send_packed_command(*args, **kwargs)
        except RuntimeError as error:
            # uvloop's own word for it, which redis-py takes for a mistake in the program
            raise RedisConnectionError(f"the connection was closed: {error}") from error

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the command that was sent; a fault of the connection where only a master could answer."""
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not left_master(error):
                raise
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"not the master: {error}") from error


FOLLOWING: dict[Any, Any] = {
    **{
        base: type(f"Following{base.__name__}", (Following, base), {})
        for base in (Connection, SSLConnection, UnixDomainSocketConnection)
    },
    **{
        base: type(f"Following{base.__name__}", (AsyncFollowing, base), {})
        for base in (AsyncConnection, AsyncSSLConnection, AsyncUnixDomainSocketConnection)
    },
}


def follow(pool: ConnectionPool | AsyncConnectionPool) -> None:
    """Lets a pool that has no connection yet make such connections, of the kind (TCP, TLS, socket) its URL asks for."""
    pool.connection_class = FOLLOWING[pool.connection_class]
