"""Tells failed Redis calls that wrote nothing from those that may have written."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.retry import Retry as AsyncRetry
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

NOT_SENT = "the command was not sent"
MAYBE_DONE = "an attempt before this one was sent and not answered"
"""Notes on errors of redis-py, for `changed_nothing`."""

DEFINITE = (
    *("OOM ", "MISCONF ", "LOADING ", "BUSY ", "NOAUTH ", "WRONGPASS ", "NOPERM ", "MASTERDOWN ", "NOSCRIPT "),
    *("CLUSTERDOWN ", "MOVED ", "ASK ", "TRYAGAIN ", "CROSSSLOT "),
    *("READONLY ", "NOREPLICAS ", "UNBLOCKED "),
)
"""Redis's answers to a command that it does not begin. A script that fails midway has another, and may have written."""

NO_CONNECTION = "No connection available"
"""redis-py's message where all connections of the pool stayed in use."""


REFUSED = (
    *(AskError, ClusterCrossSlotError, ClusterDownError, MovedError, NoPermissionError, NoScriptError),
    *(OutOfMemoryError, ReadOnlyError, TryAgainError),
)
"""The same as redis-py's errors, whose messages lack the first word."""


def changed_nothing(error: BaseException) -> bool:
    """True where a call that failed with this error has certainly written nothing."""
    notes = getattr(error, "__notes__", ())
    if MAYBE_DONE in notes:
        return False
    # the refusal that made a connection leave its server is the cause of the error
    refusal = error.__cause__ if isinstance(error.__cause__, ResponseError) else error
    if isinstance(refusal, ResponseError):
        message = str(refusal)
        inner = any(f" -{each}" in message for each in DEFINITE)
        return inner or message.startswith(DEFINITE) or isinstance(refusal, REFUSED)
    return NOT_SENT in notes or isinstance(error, BusyLoadingError) or str(error).startswith(NO_CONNECTION)


@contextmanager
def before_sending() -> Iterator[None]:
    """Notes on an error of connecting that the command was not sent."""
    try:
        yield
    except (RedisError, OSError) as error:
        error.add_note(NOT_SENT)
        raise


@contextmanager
def also_noted(before: BaseException) -> Iterator[None]:
    """Puts the notes of the error that a call makes up for on the error of that call."""
    try:
        yield
    except (RedisError, OSError) as error:
        for note in getattr(before, "__notes__", ()):
            error.add_note(note)
        raise


class NotingRetry(AsyncRetry):
    """A retry that notes on an error that an earlier attempt may have been executed."""

    async def call_with_retry(
        self, do: Callable[[], Awaitable[Any]], fail: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """See redis-py's own."""
        maybe_done = False

        async def noted(error: Exception, *rest: Any) -> None:
            nonlocal maybe_done
            maybe_done = maybe_done or not changed_nothing(error)
            await fail(error, *rest)

        try:
            return await super().call_with_retry(do, noted, *args, **kwargs)
        except RedisError as error:
            if maybe_done:
                error.add_note(MAYBE_DONE)
            raise
