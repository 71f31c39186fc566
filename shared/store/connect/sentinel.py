"""Clients that ask sentinels for the master whenever they connect, and so follow it through a failover."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import sentinel as redis_asyncio
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.connection import SSLConnection, parse_url
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool, SentinelManagedConnection

from riskline.shared.store.connect.failover import AsyncFollowing, Following
from riskline.shared.store.connect.inquiry import LONGEST_WAIT_SECONDS, Address, Question, ask, ask_async
from riskline.shared.store.connect.outcomes import before_sending
from riskline.shared.store.connect.url import SentinelUrl


class _Sentinels:
    """The sentinels of a master, of which the one that answered last is asked first."""

    def __init__(self, url: SentinelUrl, *, timeout_seconds: float) -> None:
        wait_seconds = min(timeout_seconds, LONGEST_WAIT_SECONDS)
        self._addresses = url.sentinels
        self._options: dict[str, Any] = {
            "username": url.sentinel_username,
            "password": url.sentinel_password,
            "socket_timeout": wait_seconds,
            "socket_connect_timeout": wait_seconds,
            "ssl": url.tls,
            **tls_connection_options(url.tls_options),
        }

    def _question(self, master: str) -> Question:
        return Question(
            "SENTINEL MASTERS",
            self._addresses,
            self._options,
            learn=partial(self._learn, master),
            unanswered=lambda said: MasterNotFoundError(f"no sentinel names a master {master!r} that is up ({said})"),
        )

    def _learn(self, master: str, sentinel: Address, masters: Mapping[str, Any]) -> Address | str:
        """The master's address if this sentinel knows it and takes it for alive."""
        state = masters.get(master)
        if state is None:
            return "does not know it"
        if state["is_sdown"] or state["is_odown"] or not state["is_master"]:
            return "it is down"
        # one assignment of the whole list, so that another thread loses none
        self._addresses = (sentinel, *(each for each in self._addresses if each != sentinel))
        return str(state["ip"]), int(state["port"])


class Sentinels(_Sentinels):
    """The sentinels of a master, in a thread."""

    def discover_master(self, master: str) -> Address:
        """The master's present address.

        Raises:
            MasterNotFoundError: no sentinel knows the master; has each one's answer.
        """
        return ask(self._question(master))


class AsyncSentinels(_Sentinels):
    """The sentinels of a master, on the event loop."""

    async def discover_master(self, master: str) -> Address:
        """See Sentinels."""
        return await ask_async(self._question(master))


class MasterConnection(Following, SentinelManagedConnection):
    """A connection to whichever server is the master when it connects."""

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's own
        """Connects anew; redis-py's own method would try the last address again."""
        if retry_socket_connect:
            self._connect_retry()  # type: ignore[no-untyped-call]  # redis-py's has no types
        else:
            super().connect_check_health(check_health, retry_socket_connect)


class MasterTLSConnection(MasterConnection, SSLConnection):
    """The same with TLS."""


class AsyncMasterConnection(AsyncFollowing, redis_asyncio.SentinelManagedConnection):
    """A connection to whichever server is the master when it connects."""

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's own
        """Connects anew; redis-py's own method would try the last address again."""
        if not retry_socket_connect:
            await super().connect_check_health(check_health, retry_socket_connect)
            return
        with before_sending():
            await self._connect_retry()  # type: ignore[no-untyped-call]  # redis-py's has no types


class AsyncMasterTLSConnection(AsyncMasterConnection, AsyncSSLConnection):
    """The same with TLS."""


class WaitingSentinelPool(redis_asyncio.SentinelConnectionPool, BlockingConnectionPool):
    """A pool that follows the master and lets a command wait for a free connection."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's own
        """Closes connections; the idle ones, when the master has changed, without giving way to other tasks.

        Else one of these might take a connection that is being closed.
        """
        if inuse_connections:
            await super().disconnect(inuse_connections)
        else:
            for connection in self._available_connections:
                await connection.disconnect(nowait=True)


def sentinel_client(url: SentinelUrl, *, timeout_seconds: float, **options: Any) -> Redis:
    """A blocking client of the master; the options are those of redis-py's connections."""
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]  # redis-py's has no types
        url.master,
        Sentinels(url, timeout_seconds=timeout_seconds),
        connection_class=MasterTLSConnection if url.tls else MasterConnection,
        **_connection_options(url),
        **options,
    )
    return Redis.from_pool(pool)


def sentinel_client_async(url: SentinelUrl, *, timeout_seconds: float, **options: Any) -> AsyncRedis:
    """A client of the master for the event loop; the options are those of redis-py's waiting pool."""
    pool = WaitingSentinelPool(  # type: ignore[no-untyped-call]  # redis-py's has no types
        url.master,
        AsyncSentinels(url, timeout_seconds=timeout_seconds),
        connection_class=AsyncMasterTLSConnection if url.tls else AsyncMasterConnection,
        timeout=timeout_seconds,
        **_connection_options(url),
        **options,
    )
    return AsyncRedis.from_pool(pool)


def _connection_options(url: SentinelUrl) -> dict[str, Any]:
    return {"username": url.username, "password": url.password, "db": url.db, **tls_connection_options(url.tls_options)}


def tls_connection_options(words: Mapping[str, str]) -> dict[str, Any]:
    """The TLS options of redis-py's connections, from a URL's query."""
    query = urlencode(words)
    return dict(parse_url(f"redis://?{query}"))  # type: ignore[no-untyped-call]  # redis-py's has no types
