"""The feed: the decisions of all doors in the order in which Redis took them, read in pages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

from redis.asyncio import Redis

from riskline.shared.domain.decision import decision_in
from riskline.shared.log import get_logger
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST, Keys

MAX_PAGE = 1000
"""Decisions in one page: few milliseconds of Redis and of the event loop, and a few hundred kilobytes."""

log = get_logger(__name__)

_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_ID_LIMIT = 2**64
FIELD = b"d"
"""An entry's field that has the decision."""


class Cursor(NamedTuple):
    """A place in the feed: right after the entry that has this stream id."""

    milliseconds: int
    sequence: int

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return "0" if self == OLDEST else f"{self.milliseconds}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The cursor of a text; None where the text is not a cursor."""
        found = _CURSOR.fullmatch("0-0" if text == "0" else text)
        cursor = None if found is None else cls(int(found[1]), int(found[2]))
        return None if cursor is None or max(cursor) >= _ID_LIMIT else cursor

    @classmethod
    def of(cls, stream_id: bytes) -> Self:
        """The cursor right after the entry that has this id."""
        milliseconds, _, sequence = stream_id.partition(b"-")
        return cls(int(milliseconds), int(sequence))

    @property
    def following(self) -> "Cursor":
        """The smallest cursor above this one."""
        ends = self.sequence == _ID_LIMIT - 1
        return Cursor(self.milliseconds + 1, 0) if ends else Cursor(self.milliseconds, self.sequence + 1)

    @property
    def preceding(self) -> "Cursor":
        """The largest cursor below this one; not for the oldest."""
        begins = self.sequence == 0
        return Cursor(self.milliseconds - 1, _ID_LIMIT - 1) if begins else Cursor(self.milliseconds, self.sequence - 1)

    def before_both(self, other: Self) -> Self:
        """The earlier of the two."""
        return min(self, other)

    def misses(self, other: Self) -> bool:
        """True where a read from the other skips an entry after this one."""
        return self < other


OLDEST = Cursor(0, 0)
"""Before the oldest entry that is kept."""


class FeedPosition(Protocol):
    """A position in the feed of one or several shards; clients see its text."""

    def before_both(self, other: Any) -> Self:
        """The last position that skips nothing after either."""

    def misses(self, other: Any) -> bool:
        """True where a read from the other skips an entry after this one."""


@dataclass(frozen=True)
class Page:
    """Decisions as they are stored, and the cursor after them."""

    decisions: Sequence[bytes]
    next: FeedPosition

    @cached_property
    def json(self) -> bytes:
        """The page as clients see it: the stored bytes joined, none of them parsed, once for all who read the page."""
        return b'{"decisions":[%b],"next":"%b"}' % (b",".join(self.decisions), str(self.next).encode())


class Decisions(Protocol):
    """The stored feed; every method raises StoreUnavailableError where Redis fails."""

    async def page(self, after: Any, *, limit: int) -> Page | None:
        """Up to `limit` decisions after the cursor; None where the cursor's entry is no longer stored."""

    async def newest(self) -> FeedPosition:
        """The cursor after the newest entry."""

    async def wait_for_more(self, after: Any, *, timeout_seconds: float) -> bool:
        """Waits for an entry after the cursor; False where none came in time."""

    async def close(self) -> None:
        """Closes the connections that `wait_for_more` holds."""


class RedisDecisions:
    """Decisions over Redis; `blocking` is a separate client whose timeout is longer than any wait."""

    def __init__(self, redis: Redis, *, blocking: Redis, keys: Keys = FIRST) -> None:
        # on the same connections, but without the 1,000 dicts that redis-py makes of a page: they take longer than
        # all the rest of it
        self._redis = Redis(connection_pool=redis.connection_pool)
        self._redis.set_response_callback("XRANGE", as_received)
        self._redis.set_response_callback("XREVRANGE", as_received)
        self._blocking = blocking
        self._keys = keys
        self._key = keys.feed
        self._told = OLDEST

    async def page(self, after: Cursor, *, limit: int) -> Page | None:
        """See Decisions."""
        found = await self._after(after, limit)
        if found is None:
            return None
        decisions = [decision for _, decision in self._checked(found) if decision is not None]
        return Page(decisions, Cursor.of(found[-1][0]) if found else after)

    async def entries(self, after: Cursor, *, limit: int) -> list[tuple[Cursor, bytes | None]] | None:
        """The same as `page`, each decision with its position; None for an entry that another program added.

        The cursor may also stand right before an entry that is still stored.
        """
        found = await self._after(after, limit, may_be_before=True)
        if found is None:
            return None
        return self._checked(found)

    def _checked(self, entries: list[Any]) -> list[tuple[Cursor, bytes | None]]:
        """The positions and decisions of entries; skips entries that another program added."""
        found = [
            (Cursor.of(entry), fields[1] if fields[0] == FIELD and decision_in(fields[1]) is not None else None)
            for entry, fields in entries
        ]
        strange = [place for place, decision in found if decision is None and place > self._told]
        if strange:
            self._told = strange[-1]
            log.warning("entries of the feed are no decisions, and are passed over", count=len(strange), key=self._key)
        return found

    async def _after(self, after: Cursor, limit: int, *, may_be_before: bool = False) -> list[Any] | None:
        # from the cursor's own entry on: if that has gone, so may have entries after it that the client has not seen
        known = after != OLDEST
        with redis_faults_named():
            entries = await self._entries("XRANGE", str(after) if known else "-", "+", limit + known)
        if known and entries and entries[0][0] == str(after).encode():
            entries.pop(0)
        elif known and may_be_before and entries and entries[0][0] == str(after.following).encode():
            # nothing can be between the two, so nothing has gone
            pass
        elif known and not await self._only_erased(after):
            return None
        del entries[limit:]
        return entries

    async def _only_erased(self, after: Cursor) -> bool:
        """True where a missing entry was erased and no later entry has left the feed since."""
        with redis_faults_named():
            if await self._redis.zscore(self._keys.feed_gaps, str(after)) is None:
                return False
            oldest = await self._entries("XRANGE", "-", "+", 1)
        return bool(oldest) and Cursor.of(oldest[0][0]) < after

    async def newest(self) -> Cursor:
        """See Decisions."""
        with redis_faults_named():
            entries = await self._entries("XREVRANGE", "+", "-", 1)
        return Cursor.of(entries[0][0]) if entries else OLDEST

    async def wait_for_more(self, after: Cursor, *, timeout_seconds: float) -> bool:
        """See Decisions."""
        milliseconds = max(1, int(timeout_seconds * 1000))  # 0 would be for ever
        with redis_faults_named():
            return bool(await self._blocking.xread({self._key: str(after)}, count=1, block=milliseconds))

    async def _entries(self, command: str, start: str, end: str, count: int) -> list[Any]:
        """Each entry's id, and its fields and values in turn."""
        entries: list[Any] = await self._redis.execute_command(  # type: ignore[no-untyped-call]  # redis-py has no types
            command, self._key, start, end, "COUNT", count
        )
        return entries

    async def close(self) -> None:
        """See Decisions."""
        await self._blocking.aclose()


def named(transaction_id: str) -> bytes:
    """The bytes that only the entry of this transaction's decision contains; an id needs no escape."""
    return b'"transaction_id":"%b"' % transaction_id.encode()


def as_received(response: Any, **_options: Any) -> Any:
    """A stream's answer without the dicts that redis-py makes of it."""
    return response
