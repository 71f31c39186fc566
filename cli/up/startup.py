"""The whole service in one terminal: Redis, API and workers, started, watched and stopped together."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from redis.exceptions import BusyLoadingError, RedisError

from riskline.cli.installation import Installation, RunningState, open_store
from riskline.cli.up.api_probe import ReadinessPoll, base_url, free_port, say
from riskline.cli.up.console_link import console_lines
from riskline.cli.up.demo import cli_command, cli_environment, ensure_model, example_call, require_model
from riskline.cli.up.first_key import Admission, admission
from riskline.cli.up.redis_fault import without_password, without_redis
from riskline.cli.up.redis_server import command, end_leftover, find_server, probe, socket_path, wait_until_ready
from riskline.cli.up.supervisor import Child, Supervisor
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import InstallationError
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.connect.connection import require_layout
from riskline.shared.wording import counted

API_STOP_SECONDS = 13.5
"""More than the API itself takes behind its RISKLINE_STOP_DELAY: for requests under way, and with several processes."""

WORKER_STOP_SECONDS = 15.0

REDIS_STOP_SECONDS = 10.0

READY_POLL_SECONDS = 0.1


def run_up(settings: Settings, *, workers: int) -> None:
    """Runs everything until it is told to stop.

    Raises:
        InstallationError: something that is needed is missing or in use; everything that was started is stopped.
        SettingsError: a setting names something that is not there.
    """
    transaction_class = load_transaction_class(settings.transaction)
    installation = Installation(settings.data.resolve())
    with installation.locked():
        settings = load_settings(
            **{
                **settings.model_dump(),
                "data": installation.data,
                "models": settings.models_dir.resolve(),
                "port": free_port(settings.host, settings.port),
            }
        )
        redis = None if settings.redis_url is not None else EmbeddedRedis(installation)
        supervisor = Supervisor(say=say)
        try:
            ensure_model(settings, say=say)
            require_model(settings, transaction_class)
            say(f"starting {'' if redis is None else 'Redis, '}the API and {counted(workers, 'scoring worker')}")
            with admission(settings) as admitted, supervisor.running():
                _serve(settings, workers, supervisor, redis, transaction_class, admitted=admitted)
                say("stopping")
        finally:
            if redis is not None:
                redis.clean_up()
            installation.state_file.unlink(missing_ok=True)


def _serve(
    settings: Settings,
    workers: int,
    supervisor: Supervisor,
    redis: "EmbeddedRedis | None",
    transaction_class: type[TransactionModel],
    *,
    admitted: Admission,
) -> None:
    if redis is not None:
        redis.start(supervisor)
        settings = settings.model_copy(update={"redis_url": redis.url})
    else:
        _require_redis(str(settings.redis_url))
    _require_store(settings)
    installation = Installation(settings.data)

    def write_state() -> None:
        installation.write_state(_state(settings, supervisor, redis_started=redis is not None))

    supervisor.changed = write_state
    *work, api = _children(settings, workers)
    supervisor.start(*work)
    supervisor.start(api)
    write_state()
    readiness = ReadinessPoll(settings.host, settings.port)
    if supervisor.watch(until=readiness.reached, poll_seconds=READY_POLL_SECONDS):
        supervisor.note_all_work()
        console = console_lines(
            base_url(settings.host, settings.port),
            redis_url=str(settings.redis_url),
            asks_for_keys=admitted.asks,
            data=settings.data,
        )
        print(banner(settings, transaction_class, admitted, console), flush=True)  # noqa: T201  # what the command says
        admitted.shown = True
        supervisor.watch()


def _state(settings: Settings, supervisor: Supervisor, *, redis_started: bool) -> RunningState:
    return RunningState(
        pid=os.getpid(),
        host=settings.host,
        port=settings.port,
        redis_url=str(settings.redis_url),
        redis_started=redis_started,
        store_url=settings.store_url,
        shards=settings.shards,
        history_url=settings.history_url,
        children={child.name: child.pid for child in supervisor.children()},
    )


def _children(settings: Settings, workers: int) -> Iterator[Child]:
    """The workers, and the API as the last one."""
    environment = cli_environment(settings)
    for queue, number in _workers(settings, workers):
        yield Child(
            name=f"{queue} worker {number}",
            command=cli_command("worker", "--queue", queue),
            environment=environment,
            stop_seconds=WORKER_STOP_SECONDS,
            # without Redis it could not say goodbye and would wait for it
            orphaned_signal=signal.SIGKILL,
        )
    yield Child(
        name="API",
        command=cli_command("api"),
        environment=environment,
        stop_seconds=settings.stop_delay + API_STOP_SECONDS,
        interruptible=True,
    )


def _workers(settings: Settings, scoring: int) -> Iterator[tuple[str, int]]:
    """The workers to start, each with its queue and number: one queue a process."""
    yield from (("scoring", number) for number in range(1, scoring + 1))
    if settings.callback_secret is not None:
        yield "callbacks", 1


@dataclass
class EmbeddedRedis:
    """The Redis that is started for this installation; finding it fails before anything runs."""

    installation: Installation
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self._server = find_server(self.installation.redis_dir)
        last = self.installation.last_state()
        if last is not None and last.redis_started and end_leftover(last.redis_url):
            say("ended the Redis that an earlier run had left")
        self._socket = socket_path(self.installation.run_dir)
        self.url = f"unix://{quote(str(self._socket))}"

    def start(self, supervisor: Supervisor) -> None:
        """Starts it and returns once it has loaded its data.

        Raises:
            InstallationError: it does not start; says why.
        """
        log_file = self.installation.run_dir / "redis.log"
        log_file.unlink(missing_ok=True)
        child = Child(
            name="Redis",
            command=command(
                self._server, redis_dir=self.installation.redis_dir, socket=self._socket, log_file=log_file
            ),
            stop_seconds=REDIS_STOP_SECONDS,
            complaint=f"its log is {log_file}",
        )
        supervisor.start(child)
        wait_until_ready(self.url, exit_status=child.exit_status, log_file=log_file)

    def clean_up(self) -> None:
        """Removes the socket, and its directory where that is a temporary one."""
        if self._socket.parent == self.installation.run_dir:
            self._socket.unlink(missing_ok=True)
        else:
            shutil.rmtree(self._socket.parent, ignore_errors=True)


def _require_redis(url: str) -> None:
    try:
        probe(url, timeout_seconds=5.0).ping()
    except BusyLoadingError:
        # it is there, and API and workers wait for it
        return
    except (RedisError, OSError) as error:
        raise InstallationError(
            f"{without_redis(without_password(url), error)}, or unset REDIS_URL to have one started"
        ) from error


def _require_store(settings: Settings) -> None:
    """Sees that the store is there, where it is another Redis, and has as many shards as are set."""
    require_layout(settings.required_store_url, shards=settings.shards, timeout_seconds=5.0)
    if settings.store_url is None:
        return
    try:
        with open_store(settings) as store:
            store.first.ping()
    except BusyLoadingError:
        return
    except (RedisError, OSError) as error:
        url = without_password(settings.store_url)
        raise InstallationError(without_redis(url, error, variable="RISKLINE_STORE_URL")) from error


def banner(settings: Settings, transaction_class: type[TransactionModel], admitted: Admission, console: str) -> str:
    """The text that is shown once everything runs."""
    signed = "are signed and sent" if settings.callback_secret else "are off: RISKLINE_CALLBACK_SECRET is not set"
    url = base_url(settings.host, settings.port)
    return (
        f"\nRiskline is ready (Ctrl-C stops everything)\n"
        f"  API      {url}\n"
        f"{console}\n"
        f"  docs     {url}/docs\n"
        f"  health   {url}/health/ready\n"
        f"  data     {settings.data}\n"
        f"  calls    callbacks {signed}\n"
        f"{admitted.lines()}\n"
        f"Try it:\n  {example_call(url, transaction_class, with_key=admitted.asks)}\n"
    )


def pin_bundle(model: str | None) -> dict[str, object]:
    """The settings that make `--model` serve: a bundle's directory, or a version of the installation."""
    if model is None:
        return {}
    directory = Path(model)
    if (directory / "manifest.json").is_file():
        return {"models": directory.resolve().parent, "model_version": directory.resolve().name}
    return {"model_version": model}
