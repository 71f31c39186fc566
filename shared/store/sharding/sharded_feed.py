"""The feed of a store of several shards: one cursor with a position in each, and each decision once."""

import asyncio
import base64
import heapq
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.feed import OLDEST, Cursor, Page, RedisDecisions
from riskline.shared.store.sharding.shards import share

ID_LIMIT = 2**64

LOOK_AT = 2
"""Each shard is read for this many times its share of a page: few pages then end early where one has more."""


@dataclass(frozen=True)
class ShardedCursor:
    """A position in the feed of each shard, by its number.

    As text it is the number of shards, a dot, and in base64 (RFC 4648, for URLs, without padding) of each place its
    milliseconds and its sequence, as numbers of 7 bits a byte with the lowest first (LEB128).
    """

    places: tuple[Cursor, ...]

    def __str__(self) -> str:
        """The text that `parse` reads."""
        if all(each == OLDEST for each in self.places):
            return "0"
        packed = b"".join(_packed(number) for each in self.places for number in each)
        return f"{len(self.places)}.{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"

    @classmethod
    def parse(cls, text: str, *, shards: int) -> Self | None:
        """The cursor of a text; None where the text is not a cursor of a store with this many shards."""
        if text == "0":
            return cls((OLDEST,) * shards)
        number, _, packed = text.partition(".")
        if number != str(shards):
            return None
        try:
            numbers = list(
                _unpacked(base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True))
            )
        except (Base64Error, ValueError):
            return None
        if len(numbers) != 2 * shards:
            return None
        cursor = cls(tuple(Cursor(*numbers[i : i + 2]) for i in range(0, len(numbers), 2)))
        # one spelling for each cursor: a client sends back what it was given
        return cursor if str(cursor) == text else None

    def before_both(self, other: Self) -> Self:
        """The last cursor that skips nothing after either."""
        return type(self)(tuple(map(min, self.places, other.places)))

    def misses(self, other: Self) -> bool:
        """True where a read from the other skips an entry after this one."""
        return any(mine < theirs for mine, theirs in zip(self.places, other.places, strict=True))


class ShardedDecisions:
    """Decisions over all shards. While one is away the others' go on; its own follow when it is back."""

    def __init__(self, parts: Sequence[RedisDecisions], *, is_away: Callable[[int], bool]) -> None:
        """A shard is not asked while `is_away` of its number is true."""
        self._parts = tuple(parts)
        self._is_away = is_away
        self._waits: dict[int, tuple[Cursor, asyncio.Task[bool]]] = {}

    async def page(self, after: ShardedCursor, *, limit: int) -> Page | None:
        """See Decisions; each shard's decisions keep their order, and shards are merged by their servers' clocks."""
        each = min(limit, LOOK_AT * share(limit, len(self._parts)))
        numbers = self._asked()
        answers = await asyncio.gather(
            *(self._parts[number].entries(after.places[number], limit=each) for number in numbers),
            return_exceptions=True,
        )
        read: dict[int, list[tuple[Cursor, bytes | None]]] = {}
        for number, answer in zip(numbers, answers, strict=True):
            if answer is None:
                return None
            if isinstance(answer, list):
                read[number] = answer
            elif not isinstance(answer, StoreUnavailableError) or len(numbers) == 1:
                raise answer
        if not read:
            raise StoreUnavailableError(str(answers[0]))
        return _merged(after, read, limit=limit, full=each)

    async def newest(self) -> ShardedCursor:
        """See Decisions; fails unless every shard answers: old decisions of a missing one would pass for new."""
        return ShardedCursor(tuple(await asyncio.gather(*(part.newest() for part in self._parts))))

    async def wait_for_more(self, after: ShardedCursor, *, timeout_seconds: float) -> bool:
        """See Decisions."""
        numbers = self._asked()
        for number in numbers:
            self._watch(number, after.places[number], timeout_seconds)
        waits = {self._waits[number][1] for number in numbers}
        time = asyncio.get_running_loop().time
        deadline, fault = time() + timeout_seconds, None
        answered = False
        while waits and (left := deadline - time()) > 0:
            done, waits = await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                if each.exception() is not None:
                    # a failed shard says nothing of the others
                    fault = each.exception()
                elif each.result():
                    return True
                else:
                    answered = True
        if fault is not None and not waits and not answered:
            raise StoreUnavailableError(str(fault))
        return False

    async def close(self) -> None:
        """See Decisions."""
        waits = [wait for _, wait in self._waits.values()]
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await asyncio.gather(*(part.close() for part in self._parts), return_exceptions=True)

    def _asked(self) -> list[int]:
        everyone = range(len(self._parts))
        return [number for number in everyone if not self._is_away(number)] or list(everyone)

    def _watch(self, number: int, after: Cursor, timeout_seconds: float) -> None:
        """Makes sure that a read waits for entries after this position; keeps the current one where it does."""
        if number in self._waits:
            begun_after, wait = self._waits[number]
            if not wait.done() and begun_after <= after:
                return
            wait.cancel()
        wait = asyncio.create_task(self._parts[number].wait_for_more(after, timeout_seconds=timeout_seconds))
        # its error may come after the last waiter has gone
        wait.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._waits[number] = (after, wait)


def _merged(after: ShardedCursor, read: dict[int, list[tuple[Cursor, bytes | None]]], *, limit: int, full: int) -> Page:
    places = list(after.places)
    for number, entries in read.items():
        if entries and places[number] == OLDEST:
            # its entries may leave the feed before the client reads them; only a position in this shard shows that
            places[number] = entries[0][0].preceding
    decisions: list[bytes] = []
    left = {number: len(entries) for number, entries in read.items()}
    lines = ([(at, number, decision) for at, decision in entries] for number, entries in read.items())
    for at, number, decision in heapq.merge(*lines, key=lambda entry: entry[0]):
        if len(decisions) == limit:
            break
        places[number] = at
        if decision is not None:
            decisions.append(decision)
        left[number] -= 1
        if left[number] == 0 and len(read[number]) == full:
            # its next entries may be older than the other shards'
            break
    return Page(decisions, ShardedCursor(tuple(places)))


def _packed(number: int) -> bytes:
    packed = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _unpacked(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the last of its number
            if number >= ID_LIMIT:
                raise ValueError("is more than a stream's id can be")
            yield number
            number = shift = 0
    if shift:
        raise ValueError("ends within a number")
