"""One data directory is one installation: its files, its lock, its state and its Redis."""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from redis import Redis

from riskline.shared.errors import InstallationError, StoreUnavailableError
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.connect.connection import connect, connect_store
from riskline.shared.store.sharding.shards import first_shard

COMMAND_TIMEOUT_SECONDS = 5.0
"""The longest wait of a command for an answer of Redis."""

LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.02
"""A command that looks whether an `up` runs holds the lock for microseconds."""


@dataclass(frozen=True)
class RunningState:
    """The state that a running `riskline up` writes for other commands."""

    pid: int
    host: str
    port: int
    redis_url: str
    redis_started: bool
    children: dict[str, int]
    store_url: str | None = None
    shards: int = 1
    history_url: str | None = None


@dataclass(frozen=True)
class Installation:
    """The files of one data directory that are not the model's."""

    data: Path

    @property
    def run_dir(self) -> Path:
        """The files that have a meaning only while `riskline up` runs."""
        return self.data / "run"

    @property
    def redis_dir(self) -> Path:
        """The append-only file of the Redis that `riskline up` starts."""
        return self.data / "redis"

    @property
    def state_file(self) -> Path:
        """Written by `riskline up` once its processes run."""
        return self.run_dir / "state.json"

    def create(self) -> None:
        """Makes the directories, readable by their owner only.

        Raises:
            InstallationError: the directory cannot be made or written to.
        """
        try:
            for directory in (self.data, self.run_dir, self.redis_dir):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InstallationError(
                f"the data directory {self.data} cannot be used ({error.strerror}): name another one with --data"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for this process; the lock goes with the process, however it ends.

        Raises:
            InstallationError: another process holds it.
        """
        self.create()
        with (self.run_dir / "lock").open("a+") as lock:
            if not _try_lock(lock):
                lock.seek(0)
                raise InstallationError(
                    f"`riskline up` already runs on {self.data} (pid {lock.read().strip() or 'unknown'}): "
                    "stop it, or name another directory with --data"
                )
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_locked(self) -> bool:
        """True while a `riskline up` runs on this directory."""
        try:
            with (self.run_dir / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def write_state(self, state: RunningState) -> None:
        """Replaces the state file in one step."""
        with tempfile.NamedTemporaryFile("w", dir=self.run_dir, delete=False) as file:
            json.dump(asdict(state), file)
        Path(file.name).replace(self.state_file)

    def last_state(self) -> RunningState | None:
        """The state that the last `riskline up` wrote; it may have ended."""
        try:
            return RunningState(**json.loads(self.state_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def running_state(self) -> RunningState | None:
        """The state of the running `riskline up`; None where none runs."""
        return self.last_state() if self.is_locked() else None


def _try_lock(lock: IO[str]) -> bool:
    for _ in range(LOCK_ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(LOCK_PAUSE_SECONDS)
    return False


def installation_settings(**overrides: object) -> Settings:
    """The settings; where no Redis is named, the one of the `riskline up` that runs on the data directory.

    Raises:
        SettingsError: a setting has a value that cannot be used.
    """
    settings = load_settings(**overrides)
    if settings.redis_url is not None:
        return settings
    state = Installation(settings.data).running_state()
    if state is None:
        return settings
    running = {name: getattr(state, name) for name in ("redis_url", "store_url", "shards", "history_url")}
    return load_settings(**{**overrides, **running})


@dataclass(frozen=True)
class OpenStore:
    """The store of an installation, for commands."""

    shards: Sequence[Redis]
    tickets: Redis

    @property
    def first(self) -> Redis:
        """The shard with the data of the store as a whole."""
        return self.shards[first_shard(len(self.shards))]


@contextmanager
def open_store(settings: Settings, *, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> Iterator[OpenStore]:
    """Connections to the store of the settings, which name one.

    Raises:
        SettingsError: they name none.
    """
    options: dict[str, Any] = {"timeout_seconds": timeout_seconds, "retries": 0}
    # commands look at a store, and leave it to the service to make one
    shards = connect_store(settings.required_store_url, shards=settings.shards, makes=False, **options)
    tickets = connect(settings.required_redis_url, **options)
    try:
        yield OpenStore(shards, tickets)
    finally:
        for redis in dict.fromkeys((*shards, tickets)):
            redis.close()


@contextmanager
def installation_store(**overrides: object) -> Iterator[OpenStore]:
    """Connections to the store of the settings, or of the `riskline up` that runs on the data directory.

    Raises:
        InstallationError: there is none.
        SettingsError: a setting has a value that cannot be used.
    """
    settings = installation_settings(**overrides)
    if settings.redis_url is None:
        raise InstallationError(
            f"no `riskline up` runs on {settings.data}, and REDIS_URL names no Redis: name its directory with --data, "
            "or its Redis in REDIS_URL"
        )
    try:
        with open_store(settings) as store:
            yield store
    except StoreUnavailableError as error:
        raise InstallationError(f"{error}; `riskline doctor` says more") from error
