"""Clients of a Redis Cluster, each for one slot: on each connect they ask the nodes for the slot's owner.

A shard is one slot, so a client of a shard talks to one server at a time, as it does where sentinels are asked, and
all that is true of a single Redis is true of a shard: its errors, its pipelines, its waits, its retries.
"""

from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from riskline.shared.store.connect.cluster_nodes import Nodes, connection_options
from riskline.shared.store.connect.failover import AsyncFollowing, Following
from riskline.shared.store.connect.inquiry import Address, address_text, ask, ask_async
from riskline.shared.store.connect.url import ClusterUrl

ELSEWHERE = (AskError, ClusterDownError, MovedError, TryAgainError)
"""The errors of a node that does not serve the slot now, or while the slot is moved."""


class SlotConnection(Following, Connection):
    """A connection to whichever node serves the slot when it connects."""

    def __init__(self, *, nodes: Nodes, slot: int | None, **options: Any) -> None:
        self._nodes = nodes
        self._slot = slot
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's has no types

    def _connect(self) -> Any:
        self.host, self.port = ask(self._nodes.owner(self._slot))
        try:
            return super()._connect()  # type: ignore[no-untyped-call]  # redis-py's has no types
        except OSError:
            self._nodes.ask_last((self.host, self.port))
            raise

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the command; a connection error where another node must be asked."""
        node = (self.host, self.port)
        try:
            return super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not isinstance(error, ELSEWHERE):
                raise
            _take_note(self._nodes, node, error)
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's has no types
            raise RedisConnectionError(_elsewhere(node, error)) from error
        except (RedisConnectionError, RedisTimeoutError):
            self._nodes.ask_last(node)
            raise


class SlotTLSConnection(SlotConnection, SSLConnection):
    """The same with TLS."""


class AsyncSlotConnection(AsyncFollowing, AsyncConnection):
    """A connection to whichever node serves the slot when it connects."""

    def __init__(self, *, nodes: Nodes, slot: int | None, **options: Any) -> None:
        self._nodes = nodes
        self._slot = slot
        super().__init__(**options)

    async def _connect(self) -> None:
        self.host, self.port = await ask_async(self._nodes.owner(self._slot))
        try:
            await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's has no types
        except (OSError, TimeoutError):
            self._nodes.ask_last((self.host, self.port))
            raise

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to the command; a connection error where another node must be asked."""
        node = (self.host, self.port)
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not isinstance(error, ELSEWHERE):
                raise
            _take_note(self._nodes, node, error)
            await self.disconnect(nowait=True)
            raise RedisConnectionError(_elsewhere(node, error)) from error
        except (RedisConnectionError, RedisTimeoutError):
            self._nodes.ask_last(node)
            raise


class AsyncSlotTLSConnection(AsyncSlotConnection, AsyncSSLConnection):
    """The same with TLS."""


def cluster_clients(
    url: ClusterUrl, slots: Mapping[int, Callable[[Any], Any]], *, timeout_seconds: float, **options: Any
) -> list[Redis]:
    """A blocking client for each slot, with a function to call with each new connection.

    The options are those of redis-py's connections.
    """
    nodes = Nodes(url, timeout_seconds=timeout_seconds)
    kind = SlotTLSConnection if url.tls else SlotConnection
    shared = {**connection_options(url), **options, "nodes": nodes}
    return [
        Redis.from_pool(ConnectionPool(connection_class=kind, slot=slot, redis_connect_func=on_connect, **shared))
        for slot, on_connect in slots.items()
    ]


def cluster_clients_async(
    url: ClusterUrl, slots: Mapping[int | None, Callable[[Any], Any] | None], *, timeout_seconds: float, **options: Any
) -> list[AsyncRedis]:
    """A client for each slot, or for any node, for the event loop; else as above, with redis-py's waiting pool."""
    nodes = Nodes(url, timeout_seconds=timeout_seconds)
    kind = AsyncSlotTLSConnection if url.tls else AsyncSlotConnection
    shared = {**connection_options(url), **options, "nodes": nodes, "timeout": timeout_seconds}
    return [
        AsyncRedis.from_pool(
            BlockingConnectionPool(connection_class=kind, slot=slot, redis_connect_func=on_connect, **shared)
        )
        for slot, on_connect in slots.items()
    ]


def _take_note(nodes: Nodes, node: Address, error: ResponseError) -> None:
    if isinstance(error, MovedError):
        nodes.ask_first(node)
    elif isinstance(error, ClusterDownError):
        nodes.ask_last(node)


def _elsewhere(node: Address, error: ResponseError) -> str:
    if isinstance(error, AskError | TryAgainError) and not isinstance(error, MovedError):
        return f"{address_text(node)} is moving the shard's slot: {error}"
    return f"{address_text(node)} does not serve the shard now: {error}"
