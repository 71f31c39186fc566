"""Our own processes as the scenarios need them: everything by `riskline up`, or each alone with a Redis of its own."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from subprocess import Popen
from urllib.parse import quote
from uuid import uuid4

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.cli.installation import Installation
from riskline.cli.up.redis_server import command, find_server, socket_path, wait_until_ready
from riskline.shared.clock import utc_now
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.process.jobs import Tickets
from riskline.shared.store.keys import Keys
from riskline.shared.store.records import Queueing, Submission
from riskline.shared.store.redis_queue import RedisIntake
from tests.bench.processes import START_SECONDS, BenchError, answers, exit_status, free_port, running, wait_until
from tests.bench.workspace import ROOT, Workspace

KEYS = Keys()
RISKLINE = (sys.executable, "-m", "riskline.cli")
QUIET = {"RISKLINE_LOG_LEVEL": "ERROR", "RISKLINE_STOP_DELAY": "0", "PYTHONPATH": str(ROOT)}
FILL_BATCH = 256
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Running:
    """A process of ours: where it listens (the API), its Redis, and how long it took to be ready."""

    process: Popen[bytes]
    redis: Redis
    redis_url: str
    port: int = 0
    ready_seconds: float = 0.0


@contextmanager
def up(bench: Workspace, *, processes: int = 1, workers: int = 1, **settings: str) -> Iterator[Running]:
    """The whole service with an empty Redis, as `riskline up` starts it."""
    data = _fresh(bench, "up")
    port = free_port()
    words = ["up", "--port", port, "--processes", processes, "--workers", workers, "--data", data]
    environment = {**QUIET, "RISKLINE_MODELS": str(bench.models), **settings}
    log = bench.run_directory / "up.log"
    with running([*RISKLINE, *map(str, words)], log=log, environment=environment, directory=ROOT) as process:
        seconds = wait_until(answers(port, "/health/ready"), process, log=log)
        state = Installation(data).running_state()
        url = "" if state is None else state.redis_url
        yield Running(process, Redis.from_url(url), url, port, seconds)
    shutil.rmtree(data, ignore_errors=True)


@contextmanager
def redis_server(bench: Workspace) -> Iterator[str]:
    """An empty Redis as `riskline up` sets one up: append-only file, each write on disk before it is acknowledged."""
    directory = _fresh(bench, "redis")
    socket = socket_path(directory)
    log = directory / "redis.log"
    url = f"unix://{quote(str(socket))}"
    words = command(find_server(directory), redis_dir=directory, socket=socket, log_file=log)
    try:
        with running(words, log=directory / "output.log", directory=directory) as process:
            wait_until_ready(url, exit_status=partial(exit_status, process), log_file=log)
            yield url
    finally:
        shutil.rmtree(socket.parent, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def api(bench: Workspace, redis_url: str, *, processes: int = 1, **settings: str) -> Iterator[Running]:
    """`riskline api` alone."""
    port = free_port()
    words = ["api", "--port", str(port), "--processes", str(processes)]
    with _ours(bench, words, redis_url, settings=settings) as process:
        seconds = wait_until(answers(port, "/health/ready"), process, log=bench.run_directory / "api.log")
        yield Running(process, Redis.from_url(redis_url), redis_url, port, seconds)


@contextmanager
def workers(bench: Workspace, redis_url: str, count: int = 1, **settings: str) -> Iterator[list[Running]]:
    """`riskline worker`, so many of them; returns when all are registered."""
    redis = Redis.from_url(redis_url)
    with ExitStack() as stack:
        started = [
            stack.enter_context(_ours(bench, ["worker"], redis_url, number, settings)) for number in range(count)
        ]
        log = bench.run_directory / "worker.log"
        seconds = wait_until(lambda: redis.scard("rq:workers") >= count, started[0], log=log)
        yield [Running(process, redis, redis_url, ready_seconds=seconds) for process in started]


@contextmanager
def _ours(
    bench: Workspace, words: list[str], redis_url: str, number: int = 0, settings: Mapping[str, str] | None = None
) -> Iterator[Popen[bytes]]:
    environment = {**QUIET, "REDIS_URL": redis_url, "RISKLINE_MODELS": str(bench.models), **(settings or {})}
    log = bench.run_directory / (f"{words[0]}{number or ''}.log")
    with running([*RISKLINE, *words], log=log, environment=environment, directory=ROOT) as process:
        yield process


def _fresh(bench: Workspace, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=bench.run_directory))


def submissions(bench: Workspace, count: int, *, explain: bool = False) -> list[Submission]:
    """So many records of the benchmark's rows, each with an id of its own."""
    rows = [Transaction.parse(line) for line in bench.rows.read_bytes().splitlines()]
    return records(islice(cycle(rows), count), explain=explain)


def records(transactions: Iterator[TransactionModel], *, explain: bool = False) -> list[Submission]:
    """What the API would write for these transactions, numbered anew."""
    queueing = Queueing(submitted_at=utc_now(), explain=explain, request_id=uuid4().hex)
    return [queueing.submission(_renamed(each, f"w-{i:08d}")) for i, each in enumerate(transactions)]


def _renamed(transaction: TransactionModel, name: str) -> TransactionModel:
    """The transaction by another id, with the history that it has."""
    renamed, values = transaction.model_copy(update={"transaction_id": name}), transaction.history_values()
    return renamed.with_history(list(values.values())) if values else renamed


def fill(redis_url: str, waiting: list[Submission], *, batch: int = FILL_BATCH) -> None:
    """Accepts them as the API does, in batches, and enqueues the ticket."""

    async def accept() -> None:
        async with AsyncRedis.from_url(redis_url) as redis:
            intake = RedisIntake(redis, result_ttl_seconds=86_400, feed_length=1_000_000, queue_limit=1_000_000)
            for start in range(0, len(waiting), batch):
                await intake.accept(waiting[start : start + batch])

    asyncio.run(accept())
    Tickets(Redis.from_url(redis_url)).ensure()


def undecided(redis: Redis) -> Callable[[], int]:
    """How many transactions have no decision yet."""
    return lambda: int(redis.zcard(KEYS.undecided))


def recorded(redis: Redis) -> Callable[[], int]:
    """How many decisions of the synchronous door are in Redis."""
    return lambda: int(redis.hget(KEYS.totals, "recorded") or 0)


def drain_rate(
    remaining: Callable[[], int], total: int, *, limit_seconds: float = 60.0, from_share: float = 1.0
) -> float:
    """Transactions a second, from the last moment at which that share of them was left to the end.

    What takes longer than the limit is measured up to there.

    Raises:
        BenchError: none was decided in a minute.
    """
    asked = began = time.perf_counter()
    at_beginning = total
    while True:
        left, now = remaining(), time.perf_counter()
        if left >= total * from_share:
            began, at_beginning = now, left
            if now - asked > START_SECONDS:
                raise BenchError(f"{left} of {total} are left after {START_SECONDS:.0f} s: nothing works on them")
        elif left == 0 or now - began > limit_seconds:
            return (at_beginning - left) / (now - began)
        time.sleep(POLL_SECONDS)
