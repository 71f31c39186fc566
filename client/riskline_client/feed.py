"""The feed as an iterator for a `for` loop."""

from collections.abc import Awaitable, Callable
from typing import Self

from riskline_client.answers import Decision
from riskline_client.reading import Reader
from riskline_client.waiting import Steps


class Feed:
    """An iterator of decisions. `cursor` is where to go on once the decision at hand is dealt with: store it then.

    After an error the iteration can go on, from where it was.

    Raises:
        CursorExpired: the feed no longer has the cursor: decisions may be missing.
    """

    def __init__(self, run: Callable[[Steps[None]], None], reader: Reader) -> None:
        self._run = run
        self._reader = reader

    @property
    def cursor(self) -> str:
        """The cursor for `Client.decisions`."""
        return self._reader.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Decision:
        while (decision := self._reader.pop()) is None:
            if self._reader.is_over:
                raise StopIteration
            self._run(self._reader.read())
        return decision


class AsyncFeed:
    """`Feed` for `async for`."""

    def __init__(self, run: Callable[[Steps[None]], Awaitable[None]], reader: Reader) -> None:
        self._run = run
        self._reader = reader

    @property
    def cursor(self) -> str:
        """The cursor for `AsyncClient.decisions`."""
        return self._reader.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Decision:
        while (decision := self._reader.pop()) is None:
            if self._reader.is_over:
                raise StopAsyncIteration
            await self._run(self._reader.read())
        return decision
