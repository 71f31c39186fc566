"""The live processes and their model versions. Each publishes its state every few seconds; a dead one expires."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST, Keys

LIFETIME_SECONDS = 10.0
"""The time a silent process stays listed: several periods, since a busy Redis may miss some."""

MAX_PROBLEM = 500
"""The most characters of a problem: every process publishes its own through Redis."""

Kind = Literal["api", "worker"]


class RecentWork(BaseModel):
    """A worker's work since its last heartbeat."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    transactions: int
    batches: int


class ProcessState(BaseModel):
    """A process's heartbeat: itself and the model that it serves."""

    model_config = ConfigDict(frozen=True)

    process: str = Field(description="Its name: host, process id and a random part.")
    kind: Kind
    host: str
    pid: int
    version: Annotated[str | None, Field(description="The version that it serves; null where none does.")]
    since: Annotated[str | None, Field(description="The time it began to serve that version, in UTC.")]
    wanted: Annotated[str | None, Field(description="The version that it should serve.")]
    pinned: bool = Field(description="True where RISKLINE_MODEL_VERSION names the version to serve.")
    problem: Annotated[str | None, Field(description="The reason that it does not serve the version that it should.")]
    said_at: Annotated[str | None, Field(description="The time of its last heartbeat, in UTC.")] = None
    lately: Annotated[RecentWork | None, Field(description="A worker's work since its previous heartbeat.")] = None

    @property
    def bare(self) -> "ProcessState":
        """The state without the fields that change with every heartbeat."""
        return self.model_copy(update={"said_at": None, "lately": None})


class VersionCount(NamedTuple):
    """The number of processes of each kind that serve a version; None for those without a model."""

    version: str | None
    api: int
    workers: int

    def __str__(self) -> str:
        """As in `api 2, workers 3`."""
        return f"api {self.api}, workers {self.workers}"


def by_version(states: Iterable[ProcessState]) -> list[VersionCount]:
    """The processes counted by version, oldest first; those without a model come before all."""
    counts = Counter((state.version, state.kind) for state in states)
    versions = sorted({version for version, _ in counts}, key=lambda version: version or "")
    return [VersionCount(version, counts[version, "api"], counts[version, "worker"]) for version in versions]


def refusing(states: Iterable[ProcessState]) -> list[ProcessState]:
    """The processes that do not serve the version they should, with their problem."""
    return [state for state in states if state.problem]


class Processes:
    """The heartbeats in Redis, for a worker and for commands."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = FIRST

    def announce(self, state: ProcessState) -> None:
        """Publishes a process's state.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            scripts.run(self._redis, *_announce(self._keys, state))

    def leave(self, process: str) -> None:
        """Removes a process that ends.

        Raises:
            StoreUnavailableError: Redis failed; the entry expires within seconds.
        """
        with redis_faults_named():
            self._redis.hdel(self._keys.processes, process)

    def living(self) -> list[ProcessState]:
        """The states of the live processes.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hvals(self._keys.processes)
            return _living(pipeline.execute())


class AsyncProcesses:
    """The heartbeats, for an API process's event loop."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = FIRST

    async def announce(self, state: ProcessState) -> list[ProcessState]:
        """Publishes a process's state; returns the states of all live processes.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            return _states(await scripts.run_async(self._redis, *_announce(self._keys, state)))

    async def living(self) -> list[ProcessState]:
        """The states of the live processes.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.hvals(self._keys.processes)
                return _living(await pipeline.execute())

    async def leave(self, process: str) -> None:
        """Removes a process that ends.

        Raises:
            StoreUnavailableError: Redis failed; the entry expires within seconds.
        """
        with redis_faults_named():
            await self._redis.hdel(self._keys.processes, process)


def _announce(keys: Keys, state: ProcessState) -> scripts.Call:
    return "announce", [keys.processes], [state.process, state.model_dump_json(), int(LIFETIME_SECONDS * 1000)]


def _living(answers: list[Any]) -> list[ProcessState]:
    (seconds, microseconds), values = answers
    now_ms = seconds * 1000 + microseconds // 1000
    parts = (value.partition(b" ") for value in values)
    return _states([state for until_ms, _, state in parts if until_ms.isdigit() and int(until_ms) > now_ms])


def _states(texts: Sequence[bytes]) -> list[ProcessState]:
    states = []
    for text in texts:
        try:
            states.append(ProcessState.model_validate_json(text))
        except ValidationError:
            # of another release, during an upgrade
            continue
    return sorted(states, key=lambda state: (state.kind, state.process))
