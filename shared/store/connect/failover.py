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
"""Answers of a replica to a write; of a master cut off from its replicas, one of which may have replaced it; and of a
server that becomes a replica during a blocking read of a list."""


def left_master(error: ResponseError) -> bool:
    """True where the answer shows that the server is not the master, or perhaps not any more.

    Up to Redis 6.2 a script's error has the answer within its message.
    """
    message = str(error)
    return (
        isinstance(error, ReadOnlyError)
        or message.startswith(REFUSALS)
        or any(f" -{refusal}" in message for refusal in REFUSALS)
    )


class Following(AbstractConnection):
    """A connection whose commands are retried on a new connection where its server is no master."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the command; a connection error where only a master can answer."""
        try:
            return super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not left_master(error):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's has no types
            raise RedisConnectionError(f"not the master: {error}") from error


class AsyncFollowing(AsyncAbstractConnection):
    """A connection whose commands are retried on a new connection where its server is no master."""

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connects; an error has a note that nothing was sent."""
        with before_sending():
            await super().connect_check_health(*args, **kwargs)

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Sends a command; raises a connection error also where uvloop finds the connection reset."""
        try:
            await super().send_packed_command(*args, **kwargs)
        except RuntimeError as error:
            # uvloop raises RuntimeError for a reset, which redis-py takes for a programming error
            raise RedisConnectionError(f"the connection was closed: {error}") from error

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the command; a connection error where only a master can answer."""
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
    """Makes a new pool's connections follow the master, for each kind of its URL (TCP, TLS, socket)."""
    pool.connection_class = FOLLOWING[pool.connection_class]
