"""Which process serves which model version: each says so once a second, and is forgotten soon after it dies."""

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
"""How long a process is listed that says nothing any more: several of its seconds, as a busy Redis may miss some."""

MAX_PROBLEM = 500
"""Characters of a problem that are told: each process carries its own through Redis once a second."""

Kind = Literal["api", "worker"]


class RecentWork(BaseModel):
    """What a worker has done since it last gave a sign of life."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    transactions: int
    batches: int


class ProcessState(BaseModel):
    """What a process says of itself and the model that it serves."""

    model_config = ConfigDict(frozen=True)

    process: str = Field(description="Its name: host, process id and a random part.")
    kind: Kind
    host: str
    pid: int
    version: Annotated[str | None, Field(description="The version that it serves; null where none does.")]
    since: Annotated[str | None, Field(description="Since when it serves that, in UTC.")]
    wanted: Annotated[str | None, Field(description="The version that it should serve.")]
    pinned: bool = Field(description="Whether RISKLINE_MODEL_VERSION says which, whatever is active.")
    problem: Annotated[str | None, Field(description="Why it does not serve the version that it should.")]
    said_at: Annotated[str | None, Field(description="When it last gave a sign of life, in UTC.")] = None
    lately: Annotated[RecentWork | None, Field(description="What a worker has done since the sign before.")] = None

    @property
    def bare(self) -> "ProcessState":
        """Without what is new at every sign of life."""
        return self.model_copy(update={"said_at": None, "lately": None})


class VersionCount(NamedTuple):
    """How many processes of each kind serve a version; None where they serve none."""

    version: str | None
    api: int
    workers: int

    def __str__(self) -> str:
        """As in `api 2, workers 3`."""
        return f"api {self.api}, workers {self.workers}"


def by_version(states: Iterable[ProcessState]) -> list[VersionCount]:
    """The processes counted by the version that they serve, oldest version first, without one before all."""
    counts = Counter((state.version, state.kind) for state in states)
    versions = sorted({version for version, _ in counts}, key=lambda version: version or "")
    return [VersionCount(version, counts[version, "api"], counts[version, "worker"]) for version in versions]


def refusing(states: Iterable[ProcessState]) -> list[ProcessState]:
    """Those that do not serve what they should, with their problem."""
    return [state for state in states if state.problem]


class Processes:
    """The signs of life in Redis, for a worker and for commands."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = FIRST

    def announce(self, state: ProcessState) -> None:
        """Says what a process serves.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            scripts.run(self._redis, *_announce(self._keys, state))

    def leave(self, process: str) -> None:
        """Forgets a process that ends.

        Raises:
            StoreUnavailableError: Redis failed; it is forgotten by itself soon.
        """
        with redis_faults_named():
            self._redis.hdel(self._keys.processes, process)

    def living(self) -> list[ProcessState]:
        """What each process says that lives.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hvals(self._keys.processes)
            return _living(pipeline.execute())


class AsyncProcesses:
    """The same for the event loop of an API process, which sees the others when it announces itself."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._keys = FIRST

    async def announce(self, state: ProcessState) -> list[ProcessState]:
        """Says what a process serves; answers what all say that live.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            return _states(await scripts.run_async(self._redis, *_announce(self._keys, state)))

    async def living(self) -> list[ProcessState]:
        """What each process says that lives.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        with redis_faults_named():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.hvals(self._keys.processes)
                return _living(await pipeline.execute())

    async def leave(self, process: str) -> None:
        """Forgets a process that ends.

        Raises:
            StoreUnavailableError: Redis failed; it is forgotten by itself soon.
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
            # of another release, while one takes the place of the other
            continue
    return sorted(states, key=lambda state: (state.kind, state.process))
