"""The identity of a shard, by which the loss of accepted transactions is found.

A Redis that was emptied, lost its file, or fell back to a replica's older state looks healthy: nothing in
it is wrong. So each shard gets an id. Processes and the data directory remember it, with the number of
transactions that it had ever accepted. A process that finds another id or a smaller number notes it in the shard,
where the note stays until an operator runs `riskline doctor --accept-loss`.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST, Keys

FIELDS = ("id", "made_at", "before", "lost", "lost_at")


class RememberedShard(NamedTuple):
    """A shard as remembered outside Redis."""

    identity: str
    accepted: int
    """Transactions ever accepted by the shard."""


class ShardState(NamedTuple):
    """A shard's state as stored in it."""

    identity: str | None
    made_at: str | None
    before: str | None
    """The id of the store that was here before, where a process noted a change."""
    lost: str | None
    """The loss in words, until an operator accepts it."""
    lost_at: str | None
    accepted: int
    at_seconds: float
    """The time by Redis's clock, since 1970."""

    def differs_from(self, known: RememberedShard | None) -> str | None:
        """The loss since the remembered state, in words; None where nothing was lost or remembered."""
        if known is None:
            return None
        if self.identity != known.identity:
            if self.before == known.identity:
                return None
            return (
                "it is not the store that was here before: it was emptied, came back without its file, or another "
                f"Redis answers; {known.accepted} transactions had been accepted there"
            )
        if self.accepted < known.accepted:
            return went_back(known.accepted - self.accepted)
        return None


def went_back(number: int) -> str:
    """The message for a store that fell back to an earlier state."""
    return (
        f"it has fallen back to an earlier state: at least {number} of the transactions that it had accepted are gone"
    )


class Witness:
    """The number of transactions that a shard has accepted, by its answers: a failover may lose the last of them."""

    def __init__(self) -> None:
        self.accepted = 0
        """The highest number of any answer."""
        self.lost = 0
        """The sum of the amounts by which answers were below that."""

    def saw(self, accepted: int, *, new: int) -> None:
        """Notes an answer: the shard has accepted this many in total, `new` of them by this call."""
        self.lost += max(0, self.accepted - (accepted - new))
        self.accepted = accepted


class Identity:
    """A shard's identity, for commands; every method raises StoreUnavailableError where Redis fails."""

    def __init__(self, redis: Redis, *, keys: Keys = FIRST) -> None:
        self._redis = redis
        self._keys = keys

    def read(self) -> ShardState:
        """The shard's state."""
        with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(self._keys.identity, FIELDS)
            pipeline.hget(self._keys.totals, "accepted")
            pipeline.time()
            return _state(pipeline.execute())

    def accept_loss(self) -> None:
        """Clears the note of a loss."""
        with redis_faults_named():
            self._redis.hdel(self._keys.identity, "lost", "lost_at")


class AsyncIdentity:
    """The same for an API process's event loop, which also writes; raises as above."""

    def __init__(self, redis: AsyncRedis, *, keys: Keys = FIRST) -> None:
        self._redis = redis
        self._keys = keys

    @property
    def shard(self) -> str:
        """The shard's tag."""
        return self._keys.shard

    async def read(self) -> ShardState:
        """The shard's state."""
        with redis_faults_named():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hmget(self._keys.identity, FIELDS)
                pipeline.hget(self._keys.totals, "accepted")
                pipeline.time()
                return _state(await pipeline.execute())

    async def make(self, identity: str, *, made_at: str) -> None:
        """Gives it an id, unless it has one."""
        with redis_faults_named():
            await self._redis.hsetnx(self._keys.identity, "id", identity)
            await self._redis.hsetnx(self._keys.identity, "made_at", made_at)

    async def note_loss(self, lost: str, *, lost_at: str, before: str | None) -> None:
        """Notes a loss unless another process has; and the id of the store that was here before, where it changed."""
        with redis_faults_named():
            await self._redis.hsetnx(self._keys.identity, "lost", lost)
            await self._redis.hsetnx(self._keys.identity, "lost_at", lost_at)
            if before is not None:
                await self._redis.hset(self._keys.identity, "before", before)


class ShardMemory:
    """The remembered shards of a store, in a file of the data directory, which outlives the processes."""

    def __init__(self, path: Path, *, url: str) -> None:
        """Another URL is another store. The file has the URL's hash only, since a URL may have a password."""
        self._path = path
        self._url = sha256(url.encode()).hexdigest()

    def read(self) -> dict[str, RememberedShard]:
        """The remembered shards by tag; empty where there is no file, or one of another store."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["url"] != self._url:
                return {}
            return {
                tag: RememberedShard(str(each["id"]), int(each["accepted"])) for tag, each in kept["shards"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def write(self, known: Mapping[str, RememberedShard]) -> None:
        """Replaces it in one step.

        Raises:
            OSError: it cannot be written.
        """
        shards = {tag: {"id": each.identity, "accepted": each.accepted} for tag, each in known.items()}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".store-")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({"url": self._url, "shards": shards}, file)
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def memory_of(data: Path, store_url: str) -> ShardMemory:
    """The remembered shards of an installation."""
    return ShardMemory(data / "store.json", url=store_url)


def _state(answers: list[Any]) -> ShardState:
    fields, accepted, (seconds, microseconds) = answers
    identity, made_at, before, lost, lost_at = (None if each is None else each.decode() for each in fields)
    at_seconds = seconds + microseconds / 1_000_000
    # another program may have written anything here
    number = int(accepted) if accepted is not None and accepted.isdigit() else 0
    return ShardState(identity, made_at, before, lost, lost_at, number, at_seconds)
