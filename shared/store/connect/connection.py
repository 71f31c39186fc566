"""Connections to Redis, and the translation of its errors."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Self

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from riskline.shared.errors import OutcomeUnknownError, SettingsError, StoreUnavailableError
from riskline.shared.store.connect.cluster import cluster_clients, cluster_clients_async
from riskline.shared.store.connect.cluster_nodes import connection_options
from riskline.shared.store.connect.failover import follow
from riskline.shared.store.connect.inquiry import Address
from riskline.shared.store.connect.outcomes import NotingRetry, changed_nothing
from riskline.shared.store.connect.sentinel import sentinel_client, sentinel_client_async
from riskline.shared.store.connect.url import (
    ClusterUrl,
    is_cluster_url,
    is_sentinel_url,
    parse_cluster_url,
    parse_sentinel_url,
)
from riskline.shared.store.keys import FIRST
from riskline.shared.store.sharding.layout import Confirmation, OtherLayoutError, check, check_async
from riskline.shared.store.sharding.shards import all_keys, first_shard, slot_of

API_CONNECTIONS = 50
"""Connections of one API process; a command that finds none free waits for one."""

API_RETRIES = 1
"""Enough for a pooled connection that a restart of Redis has closed; more would keep the client waiting for its 503."""

WORKER_RETRIES = 120
"""At most a second apart: a worker outlives two minutes without Redis, then its supervisor restarts it."""


@contextmanager
def redis_faults_named() -> Iterator[None]:
    """Turns any fault of Redis, or of the way to it, into StoreUnavailableError.

    Also the answers of a Redis that is full, read-only, loading or failing to write its file: the caller's remedy is
    the same, to retry later. A command without an answer raises OutcomeUnknownError: it may have been executed.
    """
    began = time.monotonic()
    try:
        yield
    except (RedisError, OSError) as error:
        kind = StoreUnavailableError if changed_nothing(error) else OutcomeUnknownError
        fault = kind(f"Redis: {error}")
        fault.began = began
        raise fault from error


def connect_async(url: str, *, timeout_seconds: float, shards: int | None = None) -> AsyncRedis:
    """A client for the event loop that gives up soon, so that callers get an answer; connects at its first command.

    It follows the master, where the URL names sentinels and where a server that it is connected to is made a replica.
    With `shards` each connection checks that the store has this number of shards.
    """
    options = _impatient(timeout_seconds)
    if shards is not None:
        options["redis_connect_func"] = check_async(shards, FIRST)
        # a long read of the feed may wait in each shard
        options["max_connections"] += shards - 1
    if is_sentinel_url(url):
        return sentinel_client_async(parse_sentinel_url(url), timeout_seconds=timeout_seconds, **options)
    pool = BlockingConnectionPool.from_url(url, timeout=timeout_seconds, **options)
    follow(pool)
    return AsyncRedis.from_pool(pool)


def connect_store_async(url: str, *, shards: int, timeout_seconds: float) -> tuple[AsyncRedis, ...]:
    """A client as above for each shard of the store; the same client where one Redis has them all."""
    if not is_cluster_url(url):
        return (connect_async(url, timeout_seconds=timeout_seconds, shards=shards),) * shards
    confirmation = Confirmation()
    slots: dict[int | None, Any] = {
        slot_of(keys.shard): check_async(shards, keys, confirmation=confirmation) for keys in all_keys(shards)
    }
    options = _impatient(timeout_seconds)
    return tuple(cluster_clients_async(parse_cluster_url(url), slots, timeout_seconds=timeout_seconds, **options))


def connection_maker(url: str, *, timeout_seconds: float) -> Callable[[], Any]:
    """Makes connections for the event loop, one a call, each of which connects and sends once and retries nothing.

    They follow the master, as those of `connect_async` do, and wait for `timeout_seconds` to connect, and for an answer
    as long as they are let.
    """
    options = _once(timeout_seconds)
    if is_sentinel_url(url):
        redis = sentinel_client_async(parse_sentinel_url(url), timeout_seconds=timeout_seconds, **options)
        return redis.connection_pool.make_connection
    pool = BlockingConnectionPool.from_url(url, **options)
    follow(pool)
    return pool.make_connection


def node_connection_maker(url: ClusterUrl, *, timeout_seconds: float) -> Callable[[Address], Callable[[], Any]]:
    """Makes connections as above to one node of a Redis Cluster."""
    options = {**connection_options(url), **_once(timeout_seconds)}

    def maker(node: Address) -> Callable[[], Any]:
        pool = BlockingConnectionPool(
            connection_class=SSLConnection if url.tls else Connection,
            host=node[0],
            port=node[1],
            **options,
        )
        follow(pool)
        return pool.make_connection

    return maker


def _once(timeout_seconds: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": timeout_seconds,
        # redis-py would send under asyncio.wait_for, which loses a cancellation that comes when it is done: whoever
        # gave up would wait for the answer
        "socket_timeout": None,
        "retry": AsyncRetry(NoBackoff(), 0),
    }


def connect_anywhere_async(url: str, *, timeout_seconds: float) -> AsyncRedis:
    """A client for published messages, which every server receives; of a Redis Cluster any node that answers."""
    if not is_cluster_url(url):
        return connect_async(url, timeout_seconds=timeout_seconds)
    options = _impatient(timeout_seconds)
    return cluster_clients_async(parse_cluster_url(url), {None: None}, timeout_seconds=timeout_seconds, **options)[0]


def _impatient(timeout_seconds: float) -> dict[str, Any]:
    return {
        "max_connections": API_CONNECTIONS,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": NotingRetry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), API_RETRIES),
    }


def connect(
    url: str,
    *,
    timeout_seconds: float = 10.0,
    retries: int = WORKER_RETRIES,
    give_up: Callable[[], bool] = lambda: False,
    shards: int | None = None,
    makes: bool = True,
) -> Redis:
    """A blocking client that outlives an outage, unless it is to give up; connects at its first command.

    It follows the master and checks the number of shards, as `connect_async` does. A new store
    is created, except by a client that only reads.
    """
    options = _patient(timeout_seconds, retries, give_up)
    if shards is not None:
        options["redis_connect_func"] = check(shards, FIRST, makes=makes)
    if is_sentinel_url(url):
        return sentinel_client(parse_sentinel_url(url), timeout_seconds=timeout_seconds, **options)
    redis = Redis.from_url(url, **options)
    follow(redis.connection_pool)
    return redis


def connect_store(
    url: str,
    *,
    shards: int,
    timeout_seconds: float = 10.0,
    retries: int = WORKER_RETRIES,
    give_up: Callable[[], bool] = lambda: False,
    makes: bool = True,
) -> tuple[Redis, ...]:
    """A client as above for each shard of the store; the same client where one Redis has them all."""
    if not is_cluster_url(url):
        return (
            connect(url, timeout_seconds=timeout_seconds, retries=retries, give_up=give_up, shards=shards, makes=makes),
        ) * shards
    confirmation = Confirmation()
    slots = {
        slot_of(keys.shard): check(shards, keys, confirmation=confirmation, makes=makes) for keys in all_keys(shards)
    }
    options = _patient(timeout_seconds, retries, give_up)
    return tuple(cluster_clients(parse_cluster_url(url), slots, timeout_seconds=timeout_seconds, **options))


def _patient(timeout_seconds: float, retries: int, give_up: Callable[[], bool]) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(_UnlessGivenUp(base=0.05, cap=1.0, give_up=give_up), retries),
    }


def require_layout(url: str, *, shards: int, timeout_seconds: float) -> None:
    """Checks that the store has this number of shards, and creates a new store with it.

    A shard that is away is checked when it is back: each connection checks before its first use.

    Raises:
        SettingsError: the store was made with another number.
    """
    clients = connect_store(url, shards=shards, timeout_seconds=timeout_seconds, retries=0)
    keys = all_keys(shards)

    def see(number: int) -> None:
        # away, full, read-only, or new while the first is away: each connection checks before its first use
        with suppress(RedisError, OSError):
            try:
                clients[number].set(keys[number].shards, shards, nx=True)
            except OtherLayoutError as error:
                raise SettingsError(str(error)) from None

    try:
        # the first shard first: where it belongs to another store, the others stay as they are
        first = first_shard(shards)
        see(first)
        if shards > 1:
            # all at the same time: those of a node that hangs would wait one after another
            with ThreadPoolExecutor(shards - 1) as threads:
                list(threads.map(see, (number for number in range(shards) if number != first)))
    finally:
        for client in dict.fromkeys(clients):
            client.close()


class _UnlessGivenUp(ExponentialWithJitterBackoff):
    """The pause before a retry; it raises once the process is told to stop."""

    def __init__(self, *, base: float, cap: float, give_up: Callable[[], bool]) -> None:
        super().__init__(base=base, cap=cap)
        self._give_up = give_up

    def compute(self, failures: int) -> float:
        """The pause after this many failures, in seconds."""
        if self._give_up():
            raise RedisConnectionError("Redis is away, and this process stops")
        return super().compute(failures)

    def __deepcopy__(self, _memo: object) -> Self:
        # each connection copies its retry; the stop signal is shared by all
        return self
