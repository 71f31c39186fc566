"""Checks the whole store for broken invariants, also while it is in use."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from redis import Redis

from riskline.shared.domain.lifecycle import CallbackStatus, Status
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.records import readable
from riskline.shared.store.status.counts import Counts, count_call, counted

PAGE = 512

LOOKS = 3
PAUSE_SECONDS = 0.2
"""A transaction that moved between two reads does not look wrong three times."""


class Audit:
    """The invariants of the store in Redis; every method raises StoreUnavailableError where Redis fails."""

    def __init__(self, redis: Redis, *, pause: Callable[[float], None] = time.sleep, keys: Keys = FIRST) -> None:
        self._redis = redis
        self._keys = keys
        self._pause = pause

    def counts(self) -> Counts:
        """The counts, at one moment."""
        with redis_faults_named():
            return counted(scripts.run(self._redis, *count_call(self._keys)))

    def out_of_line(self) -> set[str]:
        """The undecided transactions that no worker will ever claim: neither waiting nor claimed."""
        return self._steadily(lambda: self._undecided() - self._in_line())

    def without_record(self) -> set[str]:
        """The undecided transactions whose record is missing, unreadable or already decided."""
        return self._steadily(self._without_record)

    def callbacks_out_of_line(self) -> set[str]:
        """The pending callbacks that no delivery worker will ever take."""
        return self._steadily(lambda: self._pending() - self._due())

    def callbacks_without_record(self) -> set[str]:
        """The pending callbacks whose record is missing or finished."""
        return self._steadily(
            lambda: {each for each in self._pending() if self._status(each) != CallbackStatus.PENDING}
        )

    def put_in_line(self, transaction_ids: set[str]) -> None:
        """Queues undecided transactions; one that waits already is still decided once."""
        ids = sorted(transaction_ids)
        with redis_faults_named():
            for start in range(0, len(ids), PAGE):
                self._redis.rpush(self._keys.waiting, *ids[start : start + PAGE])

    def _steadily(self, look: Callable[[], set[str]]) -> set[str]:
        with redis_faults_named():
            found = look()
            for _ in range(LOOKS - 1):
                if not found:
                    break
                self._pause(PAUSE_SECONDS)
                found &= look()
        return found

    def _undecided(self) -> set[str]:
        return {_text(transaction_id) for transaction_id, _ in self._redis.zscan_iter(self._keys.undecided, count=PAGE)}

    def _in_line(self) -> set[str]:
        workers: Any = self._redis.zrange(self._keys.workers, 0, -1)
        # in the direction in which they move, so that one that moves is seen at least once
        lists = (self._keys.waiting, self._keys.suspects, *(self._keys.claimed(_text(each)) for each in workers))
        found: list[Any] = [each for name in lists for each in self._redis.lrange(name, 0, -1)]
        return {_text(transaction_id) for transaction_id in found}

    def _pending(self) -> set[str]:
        return {_text(each) for each, _ in self._redis.zscan_iter(self._keys.callbacks, count=PAGE)}

    def _due(self) -> set[str]:
        hosts = [_text(host) for host, _ in self._redis.zscan_iter(self._keys.callback_hosts, count=PAGE)]
        names = [self._keys.callback_host_prefix + host for host in hosts]
        return {_text(each) for name in names for each, _ in self._redis.zscan_iter(name, count=PAGE)}

    def _status(self, transaction_id: str) -> str:
        found: Any = self._redis.hget(self._keys.callback(transaction_id), "status")
        return _text(found or b"")

    def _without_record(self) -> set[str]:
        return {
            transaction_id
            for transaction_id, record in self._records(sorted(self._undecided()))
            if (readable(record) or {}).get("status") != Status.QUEUED
        }

    def _records(self, ids: list[str]) -> Iterator[tuple[str, bytes | None]]:
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            found: Any = self._redis.mget([self._keys.transaction(each) for each in page])
            yield from zip(page, found, strict=True)


def _text(raw: bytes) -> str:
    """An id, a host or a name as text, also where its bytes are malformed."""
    return raw.decode(errors="replace")
