"""The number of shards that a store was made with. Each new connection checks it before any other command.

A transaction's shard follows from its id and this number. A process that is set to another number would look in
the wrong one, accept anew what is there already, and leave what it accepted where no worker comes.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from redis.exceptions import RedisError

from riskline.shared.store.keys import FIRST, Keys

Step = tuple[str | int, ...]
"""A command and its arguments."""


class OtherLayoutError(RedisError):
    """The store was made with another number of shards than this process is set to."""


class UnknownLayoutError(RedisError):
    """A shard has no shard count, and the first shard has not confirmed this process's count yet.

    It may be new, or belong to a store with another number of shards.
    """


class Confirmation:
    """True once the first shard has confirmed this process's count; shared by all connections to one store."""

    def __init__(self) -> None:
        self.given = False


def check(
    shards: int, keys: Keys, *, confirmation: Confirmation | None = None, makes: bool = True
) -> Callable[[Any], None]:
    """The first commands of a new connection to a shard with these keys; with `makes` it creates a new one.

    Any but the first is made only where the first has confirmed the number before.

    Raises, when it is called:
        OtherLayoutError: the store was made with another number of shards.
        UnknownLayoutError: the shard is new, and the first was not reached yet.
    """
    confirmed = Confirmation() if confirmation is None else confirmation

    def on_connect(connection: Any) -> None:
        connection.on_connect()
        steps, answer = _steps(shards, keys, confirmed, makes=makes), None
        while (step := _next(steps, answer)) is not None:
            connection.send_command(*step)
            answer = connection.read_response()

    return on_connect


def check_async(
    shards: int, keys: Keys, *, confirmation: Confirmation | None = None
) -> Callable[[Any], Awaitable[None]]:
    """The same for a connection of the event loop."""
    confirmed = Confirmation() if confirmation is None else confirmation

    async def on_connect(connection: Any) -> None:
        await connection.on_connect()
        steps, answer = _steps(shards, keys, confirmed, makes=True), None
        while (step := _next(steps, answer)) is not None:
            await connection.send_command(*step)
            answer = await connection.read_response()

    return on_connect


def _next(steps: Generator[Step, Any, None], answer: Any) -> Step | None:
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _steps(shards: int, keys: Keys, confirmation: Confirmation, *, makes: bool) -> Generator[Step, Any, None]:
    made_with = yield ("GET", keys.shards)
    if made_with is None and shards > 1:
        if keys == FIRST and (yield ("EXISTS", keys.totals)):
            # by a release, or a process, that knew one shard only
            made_with = b"1"
        elif makes and not (keys == FIRST or confirmation.given):
            raise UnknownLayoutError(
                f"shard {keys.shard} does not say how many shards the store has; it is not used before the shard that "
                f"is tagged {FIRST.shard} has said that there are {shards}"
            )
        elif makes:
            yield ("SET", keys.shards, shards, "NX")
            made_with = yield ("GET", keys.shards)
    # a store of one shard need not say so: one that is full or old could not
    if made_with not in (None, str(shards).encode()):
        number = made_with.decode(errors="replace") if isinstance(made_with, bytes) else str(made_with)
        raise OtherLayoutError(
            f"this store was made with {_shards(number)}, and RISKLINE_SHARDS says {shards}: set RISKLINE_SHARDS to "
            f"{number}, or name an empty store in RISKLINE_STORE_URL"
        )
    if keys == FIRST and made_with is not None:
        confirmation.given = True


def _shards(number: str) -> str:
    return f"{number} shard" + ("" if number == "1" else "s")
