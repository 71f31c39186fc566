"""The totals of all processes at each full minute; the first API process to come writes them."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import Keys

KEPT_MINUTES = 180

QUARTER_MINUTES = 15

KEPT_QUARTERS = 7 * 24 * 4 + 1
"""A week of quarters of an hour: one or two megabytes."""

MINUTE_MS = 60_000

FAR_MS = 10 * MINUTE_MS
"""Any clock that is set at all is less far ahead."""


class Snapshot(NamedTuple):
    """The numbers at a time in seconds since 1970; the totals only ever grow."""

    at: float
    numbers: Mapping[str, float]


class RedisMinuteCounts:
    """The snapshots in Redis; every method raises StoreUnavailableError where Redis fails."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = Keys()

    async def keep(self, snapshot: Snapshot) -> None:
        """Stores the snapshot of a minute, unless there is one of that minute or a later one."""
        minute_ms = int(snapshot.at // 60) * MINUTE_MS
        fields: Any = {"at": repr(snapshot.at), "numbers": orjson.dumps(dict(snapshot.numbers))}
        with redis_faults_named():
            try:
                await self._redis.xadd(
                    self._keys.history, fields, id=f"{minute_ms}-1", maxlen=KEPT_MINUTES, approximate=False
                )
            except ResponseError as error:
                if "equal or smaller" not in str(error):
                    raise
                await self._forget_the_future(minute_ms)
                return
            await self._keep_quarter(minute_ms, fields)

    async def _keep_quarter(self, minute_ms: int, fields: Any) -> None:
        """Stores the first snapshot of a quarter of an hour for a week."""
        quarter_ms = minute_ms - minute_ms % (QUARTER_MINUTES * MINUTE_MS)
        try:
            await self._redis.xadd(
                self._keys.history_week, fields, id=f"{quarter_ms}-1", maxlen=KEPT_QUARTERS, approximate=False
            )
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise

    async def _forget_the_future(self, minute_ms: int) -> None:
        """Deletes snapshots of the future, left by a clock that was ahead: they block all snapshots until then."""
        newest: Any = await self._redis.xrevrange(self._keys.history, count=1)
        if newest and int(newest[0][0].partition(b"-")[0]) > minute_ms + FAR_MS:
            await self._redis.delete(self._keys.history, self._keys.history_week)

    async def since(self, at: float) -> list[Snapshot]:
        """The snapshots since a time, oldest first."""
        with redis_faults_named():
            entries: Any = await self._redis.xrange(self._keys.history, min=int(at * 1000))
        return [snapshot for _, fields in entries if (snapshot := _snapshot(fields)) is not None]

    async def of_the_week(self, at: float, *, apart_seconds: float) -> list[Snapshot]:
        """The snapshots of quarters of an hour since a time, oldest first, at least this far apart."""
        with redis_faults_named():
            entries: Any = await self._redis.xrange(self._keys.history_week, min=int(at * 1000))
        kept: list[Snapshot] = []
        next_ms = 0.0
        for place, fields in entries:
            at_ms = int(place.partition(b"-")[0])
            if at_ms >= next_ms and (snapshot := _snapshot(fields)) is not None:
                kept.append(snapshot)
                next_ms = at_ms + apart_seconds * 1000
        return kept


def _snapshot(fields: Mapping[bytes, bytes]) -> Snapshot | None:
    """The snapshot of an entry; None where another program wrote the entry."""
    try:
        at, numbers = float(fields[b"at"]), orjson.loads(fields[b"numbers"])
    except (KeyError, ValueError):
        return None
    if not (isfinite(at) and isinstance(numbers, dict)):
        return None
    return Snapshot(at, {name: number for name, number in numbers.items() if type(number) in (int, float)})
