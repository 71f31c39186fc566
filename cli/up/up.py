"""The whole service in one terminal: Redis, API and workers, started, watched and stopped together."""

import errno
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from riskline.cli.installation import Installation, RunningState, open_store
from riskline.cli.up.console_link import console_lines
from riskline.cli.up.demo import cli_command, cli_environment, ensure_model, example_call, require_model
from riskline.cli.up.first_key import Admission, admission
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

ANSWER_SECONDS = 2.0
"""For /health/ready, which itself gives Redis a second."""

MOST_BYTES = 1_000_000
"""Of an answer that is read: what listens there need not be ours."""

IMPATIENT_POLLS = 300
"""Polls without readiness after which we say what is missing: 30 s."""


def say(message: str) -> None:
    """One line for whoever sits at the terminal."""
    print(f"riskline: {message}", file=sys.stderr, flush=True)  # noqa: T201  # what the command says


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

    def tell() -> None:
        installation.write_state(
            RunningState(
                pid=os.getpid(),
                host=settings.host,
                port=settings.port,
                redis_url=str(settings.redis_url),
                redis_started=redis is not None,
                store_url=settings.store_url,
                shards=settings.shards,
                children={child.name: child.pid for child in supervisor.children()},
            )
        )

    environment = cli_environment(settings)
    supervisor.changed = tell
    supervisor.start(
        *(
            Child(
                name=f"{queue} worker {number}",
                command=cli_command("worker", "--queue", queue),
                environment=environment,
                stop_seconds=WORKER_STOP_SECONDS,
                # without Redis it could not say goodbye and would wait for it
                orphaned_signal=signal.SIGKILL,
            )
            for queue, number in _workers(settings, workers)
        )
    )
    supervisor.start(
        Child(
            name="API",
            command=cli_command("api"),
            environment=environment,
            stop_seconds=settings.stop_delay + API_STOP_SECONDS,
            interruptible=True,
        )
    )
    tell()
    readiness = Readiness(settings.host, settings.port)
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


def without_redis(url: str, error: BaseException | None, *, variable: str = "REDIS_URL") -> str:
    """Why the Redis at a URL, which may be shown, cannot be used, and what to do."""
    if isinstance(error, AuthenticationError) or "NOAUTH" in str(error) or "HELLO must be called" in str(error):
        return f"Redis at {url} wants another user or password: correct {variable}"
    if isinstance(error, ResponseError):
        return f"Redis at {url} refuses us ({error}): correct {variable}"
    if isinstance(error, RedisTimeoutError):
        return f"Redis does not answer in time at {url} ({error}): see whether it hangs, or correct {variable}"
    return f"no Redis answers at {url} ({error}): start it, or correct {variable}"


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    # by hand: several hosts, or a / in a password that should have been encoded, are beyond urlsplit
    url = re.sub(r"(?<=://)([^:@/]*):.*@", r"\1:***@", url)
    return re.sub(r"(?<=[?&])(\w*password)=[^&]*", r"\1=***", url)


def free_port(host: str, port: int) -> int:
    """The port, or one that is free for 0.

    Raises:
        InstallationError: the port is in use, or the address is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            chosen: int = trial.getsockname()[1]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InstallationError(
                f"port {port} on {host} is in use: stop what listens there, or choose another with --port 9000 "
                "(0 picks a free one), which with make is: make run UP_FLAGS='--port 9000'"
            ) from error
        raise InstallationError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    return chosen


def base_url(host: str, port: int) -> str:
    """Where a browser on this machine finds the API."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


@dataclass
class Readiness:
    """Asks the API whether everything is there; says once what is missing if that takes long."""

    host: str
    port: int
    say: Callable[[str], None] = say
    polls: int = 0

    def reached(self) -> bool:
        """Whether /health/ready answers 200 now."""
        self.polls += 1
        answered = self.ask()
        if self.polls == IMPATIENT_POLLS and (answered is None or not answered.is_ready):
            self.say(f"still not ready: {'the API does not answer' if answered is None else answered.sentence}")
        return answered is not None and answered.is_ready

    def ask(self) -> "Answered | None":
        """What an API of ours says of its readiness; None where none answers within ANSWER_SECONDS."""
        parts = urlsplit(base_url(self.host, self.port))
        connection = http.client.HTTPConnection(str(parts.hostname), self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            told = json.loads(response.read(MOST_BYTES))
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if not isinstance(told, dict) or "missing" not in told:
            return None
        return Answered(response.status == http.client.OK, told)


class Answered(NamedTuple):
    """What /health/ready says."""

    is_ready: bool
    told: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """Whether it is ready, and what is missing or amiss."""
        checks = self.told.get("checks", {})
        names = self.told["missing"] if not self.is_ready else self.told.get("degraded", [])
        reasons = "; ".join(f"{name} ({checks.get(name, 'no reason is given')})" for name in names)
        if self.is_ready:
            return "is ready" + (f", but degraded: {reasons}" if reasons else "")
        return f"is not ready: {reasons}"


def banner(settings: Settings, transaction_class: type[TransactionModel], admitted: Admission, console: str) -> str:
    """What is shown once everything runs."""
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
