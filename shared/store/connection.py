"""How Redis is reached, and what its faults are called here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.errors import StoreUnavailableError
from shared.redis_url import is_sentinel_url, parse_sentinel_url
from shared.store.failover import follow
from shared.store.sentinel import sentinel_client, sentinel_client_async

API_CONNECTIONS = 50
"""Of one API process; a command that finds none free waits for one: a thousand clients that poll are no fault."""

API_RETRIES = 1
"""Enough for a pooled connection that a restart of Redis has closed; more would keep the client waiting for its 503."""

WORKER_RETRIES = 120
"""At most a second apart: a worker outlives two minutes without Redis, then its supervisor starts another."""


@contextmanager
def redis_faults_named() -> Iterator[None]:
    """Turns any fault of Redis, or of the way to it, into StoreUnavailableError.

    Also the answers of a Redis that is full, read-only, loading or failing to write its file: the caller's part is
    the same, to come again later.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailableError(f"Redis: {error}") from error


def connect_async(url: str, *, timeout_seconds: float) -> AsyncRedis:
    """A client for the event loop that gives up soon, so that callers get an answer; connects at its first command.

    It follows the master, where the URL names sentinels and where a server that it is connected to is made a replica.
    """
    options: dict[str, Any] = {
        "max_connections": API_CONNECTIONS,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": AsyncRetry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), API_RETRIES),
    }
    if is_sentinel_url(url):
        return sentinel_client_async(parse_sentinel_url(url), timeout_seconds=timeout_seconds, **options)
    pool = BlockingConnectionPool.from_url(url, timeout=timeout_seconds, **options)
    follow(pool)
    return AsyncRedis.from_pool(pool)


def connect(
    url: str,
    *,
    timeout_seconds: float = 10.0,
    retries: int = WORKER_RETRIES,
    give_up: Callable[[], bool] = lambda: False,
) -> Redis:
    """A blocking client that outlives an outage, unless it is to give up; connects at its first command.

    It follows the master, as `connect_async` does.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(_UnlessGivenUp(base=0.05, cap=1.0, give_up=give_up), retries),
    }
    if is_sentinel_url(url):
        return sentinel_client(parse_sentinel_url(url), timeout_seconds=timeout_seconds, **options)
    redis = Redis.from_url(url, **options)
    follow(redis.connection_pool)
    return redis


class _UnlessGivenUp(ExponentialWithJitterBackoff):
    """A pause before the next attempt, which there is only while nobody has told the process to stop."""

    def __init__(self, *, base: float, cap: float, give_up: Callable[[], bool]) -> None:
        super().__init__(base=base, cap=cap)
        self._give_up = give_up

    def compute(self, failures: int) -> float:
        """How long to wait after so many failures, in seconds."""
        if self._give_up():
            raise RedisConnectionError("Redis is away, and this process stops")
        return super().compute(failures)

    def __deepcopy__(self, _memo: object) -> Self:
        # each connection copies its retry, and what says that we stop is the same for all
        return self
