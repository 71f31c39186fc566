"""How Redis is reached, and what its faults are called here."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.errors import StoreUnavailableError

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
    """A client for the event loop that gives up soon, so that callers get an answer; connects at its first command."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=API_CONNECTIONS,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=AsyncRetry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), API_RETRIES),
    )
    return AsyncRedis.from_pool(pool)


def connect(url: str, *, timeout_seconds: float = 10.0, retries: int = WORKER_RETRIES) -> Redis:
    """A blocking client that outlives an outage; connects at its first command."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries),
    )
