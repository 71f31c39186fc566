"""Counts of the workers' decisions by model version, and their measurements; added about once a second, best effort."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.domain.decision import Decision
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST
from riskline.shared.telemetry.histograms import PROBABILITY

KEPT_VERSIONS = 20

SCORE = "p:"
"""The prefix of a bucket of fraud probabilities; other fields have an action instead."""

WITHOUT_HISTORY = "without_history"
"""The measure of decisions that workers made without the history of their transaction."""

Tallied = Counter[tuple[str, str]]
"""Decisions by model version and action, and by model version and bucket of their probability."""


class Field(NamedTuple):
    """A measured number: its name, its one label (empty for none), and its bucket or the like."""

    measure: str
    label: str
    part: str


Measured = Counter[Field]


def tallied(decisions: Sequence[Decision]) -> Tallied:
    """The decisions, counted."""
    counts: Tallied = Counter((decision.model_version, decision.action.value) for decision in decisions)
    for version in {version for version, _ in counts}:
        scores = (decision.fraud_probability for decision in decisions if decision.model_version == version)
        counts.update({(version, SCORE + part): number for part, number in PROBABILITY.counted(scores).items()})
    return counts


def measured(measure: str, counts: Mapping[str, int], label: str = "") -> Measured:
    """The counts under their names in Redis."""
    return Counter({Field(measure, label, part): number for part, number in counts.items()})


class Tallies:
    """The counts in Redis, for a worker."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = FIRST

    def add(self, counts: Tallied) -> None:
        """Adds decisions.

        Raises:
            StoreUnavailableError: Redis failed; the counts may have been added.
        """
        flat = [each for (version, what), number in counts.items() for each in (version, what, number)]
        with redis_faults_named():
            scripts.run(self._redis, "tally", [self._keys.decided_by], [KEPT_VERSIONS, *flat])

    def add_measured(self, counts: Measured) -> None:
        """Adds measurements.

        Raises:
            StoreUnavailableError: Redis failed; the counts may have been added.
        """
        with redis_faults_named(), self._redis.pipeline(transaction=True) as pipeline:
            for field, number in counts.items():
                pipeline.hincrby(self._keys.measured, " ".join(field), number)
            pipeline.execute()


class AsyncTallies:
    """The counts, for an API process's event loop."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = FIRST

    async def read(self) -> Tallied:
        """The workers' total decisions by the model versions that are still listed.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            found: dict[Any, Any] = await self._redis.hgetall(self._keys.decided_by)
        counts: Tallied = Counter()
        for field, number in _numbers(found):
            version, _, what = field.rpartition(" ")
            counts[version, what] = number
        return counts

    async def add_measured(self, counts: Measured) -> None:
        """Adds an API process's measurements.

        Raises:
            StoreUnavailableError: Redis failed; the counts may have been added.
        """
        with redis_faults_named():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for field, number in counts.items():
                    pipeline.hincrby(self._keys.measured, " ".join(field), number)
                await pipeline.execute()

    async def read_measured(self) -> Measured:
        """The workers' total measurements.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            found: dict[Any, Any] = await self._redis.hgetall(self._keys.measured)
        named = ((field.split(" "), number) for field, number in _numbers(found))
        # skips fields of another release
        return Counter({Field(*names): number for names, number in named if len(names) == len(Field._fields)})


def _numbers(found: Mapping[bytes, bytes]) -> Iterator[tuple[str, int]]:
    """The counts of a hash; skips what another program wrote."""
    for field, number in found.items():
        with suppress(ValueError):
            yield field.decode(), int(number)
