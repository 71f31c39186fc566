"""The console's data in Redis: sessions, one-time sign-in links, and the audit log."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import Keys

AUDIT_LENGTH = 10_000
"""Entries kept of changes, and of looks: years of them, one or two megabytes each."""


NOTED = {"at", "who", "what", "about", "request_id"}
"""The fields of an entry; skips whatever else is in the streams."""


class ConsoleStore:
    """The console's data; every method raises StoreUnavailableError where Redis fails.

    A session or link is stored under a hash of its token: reading Redis gives nobody access.
    """

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = Keys()

    async def open_session(self, digest: str, session: str, *, idle_seconds: int) -> None:
        """Stores a session until it is unused for this long."""
        with redis_faults_named():
            await self._redis.set(self._keys.console_session(digest), session, ex=idle_seconds)

    async def session(self, digest: str) -> str | None:
        """The session; None where there is none, or it has expired."""
        with redis_faults_named():
            found: Any = await self._redis.get(self._keys.console_session(digest))
        return None if found is None else str(found, "utf-8")

    async def keep_session(self, digest: str, *, idle_seconds: int) -> None:
        """Restarts the session's idle time."""
        with redis_faults_named():
            await self._redis.expire(self._keys.console_session(digest), idle_seconds)

    async def close_session(self, digest: str) -> None:
        """Deletes the session."""
        with redis_faults_named():
            await self._redis.delete(self._keys.console_session(digest))

    async def take_link(self, digest: str) -> bool:
        """Deletes a link; True where it existed."""
        with redis_faults_named():
            return bool(await self._redis.getdel(self._keys.console_link(digest)))

    async def note(self, entry: Mapping[str, str], *, is_change: bool) -> None:
        """Appends an entry to the changes, or to the looks: a separate stream, so that looks displace no change."""
        key = self._keys.console_changes if is_change else self._keys.console_looks
        fields: Any = dict(entry)
        with redis_faults_named():
            await self._redis.xadd(key, fields, maxlen=AUDIT_LENGTH, approximate=True)

    async def notes(self, limit: int, *, before: str | None = None, changes_only: bool = False) -> list[dict[str, str]]:
        """The last entries of both streams, or of the changes, before a place; newest first, each with its `place`."""
        newest = "+" if before is None else f"({before}"
        found: list[tuple[tuple[int, ...], dict[str, str]]] = []
        with redis_faults_named():
            for key in (self._keys.console_changes, self._keys.console_looks)[: 1 if changes_only else 2]:
                entries: Any = await self._redis.xrevrange(key, max=newest, count=limit)
                for place, fields in entries:
                    named = {
                        name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()
                    }
                    if not named.keys() >= NOTED:
                        continue
                    found.append((tuple(map(int, place.split(b"-"))), named | {"place": place.decode()}))
        found.sort(key=itemgetter(0), reverse=True)
        return [entry for _, entry in found[:limit]]


def offer_link(redis: Redis, digest: str, *, seconds: int) -> None:
    """Makes a link that signs in once, within this many seconds.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    with redis_faults_named():
        redis.set(Keys().console_link(digest), "1", ex=seconds)
