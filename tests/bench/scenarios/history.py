"""A class with history, next to the same columns sent by the client, and to a service over a feature store."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from urllib.request import Request, urlopen

import orjson
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from riskline.cli.up.redis_server import find_server
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.store.keys import ENTITY_PATTERN
from tests.bench import cards, service
from tests.bench.environments import make_environment, run
from tests.bench.load import wrk
from tests.bench.processes import answers, free_port, running, wait_until
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.scenarios.sync import PATH, loads
from tests.bench.workspace import ROOT, Workspace, is_older

CONNECTIONS = (1, 32)
PROCESSES, PEER_PROCESSES = 2, 4
QUEUE_CONNECTIONS = 64
PEER_START_SECONDS = 180.0
"""Each of its processes imports pandas, pyarrow and dask."""

WARM_REQUESTS, WARM_SECONDS = 40, 60
WAITING = 40_000
FLOOD, FLOOD_CONNECTIONS = 100_000, 32
FLOOD_PARTS_NAMED = ("the first fifth", "the second", "the third", "the fourth", "the last fifth")

COMPUTED = "Riskline, history computed"
SENT = "Riskline, the same columns sent by the client"
FEAST = "FastAPI + Feast + scikit-learn, 4 processes"
FLOODED = f"Riskline, {FLOOD:,} payments at one merchant"

QUEUE = f"POST /transactions, {QUEUE_CONNECTIONS} connections"
DRAIN = "one worker drains the queue"

WITHOUT_HISTORY = "riskline_decisions_without_history_total"

FROM = "2026-01-31"
"""The first day whose windows are warm."""

SECRET = "a secret of the benchmark alone"  # so that the backfill and the service hash alike


@dataclass(frozen=True)
class Way:
    """A class of ours: where it is, its model, and the requests."""

    transaction_class: type[TransactionModel]
    directory: Path
    models: str
    rows: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings of its service."""
        return {
            "RISKLINE_TRANSACTION": f"{self.transaction_class.__module__}:{self.transaction_class.__name__}",
            "RISKLINE_MODELS": str(self.directory / self.models / "models"),
            "RISKLINE_HISTORY_SECRET": SECRET,
            # a decision without history costs less, and would be counted like one with it
            "RISKLINE_HISTORY_TIMEOUT": "1",
        }


def cases(bench: Workspace) -> list[Case]:
    """Ours in both ways, the peer, and the flood."""
    return [
        Case(COMPUTED, partial(_ours, bench, has_history=True)),
        Case(SENT, partial(_ours, bench, has_history=False)),
        Case(FEAST, partial(_feast, bench)),
        Case(FLOODED, partial(_flood, bench), once=True),
    ]


def _way(bench: Workspace, *, has_history: bool) -> Way:
    directory = _prepared(bench)
    if has_history:
        return Way(cards.CardPayment, directory, "computed", "rows.ndjson")
    return Way(cards.SentPayment, directory, "sent", "sent.ndjson")


def _prepared(bench: Workspace) -> Path:
    """The files, and a model of each class: forests of the same size over the same rows and columns."""
    directory = bench.directory / "cards"
    done = directory / "done"
    if is_older(done, Path(cards.__file__)):
        bench.say("making card payments, and training a model with history")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        run([sys.executable, "-m", "tests.bench.cards", directory], {"PYTHONPATH": str(ROOT)})
        for way, file in (
            (Way(cards.CardPayment, directory, "computed", ""), "cards.parquet"),
            (Way(cards.SentPayment, directory, "sent", ""), "sent.parquet"),
        ):
            words = ["train", directory / file, "--train-from", FROM, "--data", directory / way.models]
            run([*service.RISKLINE, *words], {**service.QUIET, **way.settings})
        run(
            [
                _peer_python(bench),
                ROOT / "tests/bench/train_forest.py",
                directory / "training.csv",
                directory / "forest.joblib",
            ]
        )
        done.touch()
    return directory


def _peer_python(bench: Workspace) -> Path:
    """The Python of an environment of Feast's own."""
    directory = bench.directory / "feast"
    make_environment(directory, ROOT / "requirements/bench_history.txt", "--require-hashes", say=bench.say)
    return directory / "bin/python"


def _ours(bench: Workspace, *, has_history: bool) -> Iterator[tuple[str, Figures]]:
    way = _way(bench, has_history=has_history)
    rows = way.directory / way.rows
    with service.up(bench, processes=PROCESSES, **way.settings) as ours:
        if has_history:
            _backfill(way, ours.redis_url)
        yield from loads(
            bench, ours.port, rows=rows, all_connections=CONNECTIONS, recorded=service.recorded(ours.redis)
        )
        if has_history:
            yield "all of these", {"away": _without_history(ours.port)}
    with (
        service.redis_server(bench) as url,
        service.api(bench, url, processes=PROCESSES, **way.settings) as ours,
    ):
        if has_history:
            _backfill(way, url)
        yield QUEUE, wrk(ours.port, "/transactions", rows, connections=QUEUE_CONNECTIONS, seconds=bench.seconds)
    yield DRAIN, _drained(bench, way)


def _without_history(port: int) -> float:
    """The decisions that were made without history, as a call took longer than its timeout: they cost less."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WARM_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(WITHOUT_HISTORY))


def _backfill(way: Way, redis_url: str) -> None:
    words = ["history", "backfill", way.directory / "past.parquet", "--data", way.directory / "backfill"]
    run([*service.RISKLINE, *words], {**service.QUIET, **way.settings, "REDIS_URL": redis_url})


def _drained(bench: Workspace, way: Way) -> Figures:
    total = bench.scaled(WAITING)
    with service.redis_server(bench) as url:
        service.fill(url, service.records(islice(cycle(_transactions(way)), total)))
        with service.workers(bench, url, **way.settings) as (worker,):
            return {"per_second": service.drain_rate(service.undecided(worker.redis), total)}


def _transactions(way: Way) -> list[TransactionModel]:
    """The requests as a worker finds them: with their columns of history."""
    history = history_of(way.transaction_class)
    names = [] if history is None else [column.name for column in history.columns]
    made = []
    for line in (way.directory / "sent.ndjson").read_bytes().splitlines():
        row = orjson.loads(line)
        values = [float(row.pop(name)) for name in names]
        transaction = way.transaction_class.parse(orjson.dumps(row))
        made.append(transaction.with_history(values) if names else transaction)
    return made


def _feast(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    directory, python = _prepared(bench), _peer_python(bench)
    repo = bench.run_directory / "feast"
    repo.mkdir(exist_ok=True)
    with _redis_on_a_port(bench) as redis_port:
        environment = {
            "PYTHONPATH": str(ROOT),
            "BENCH_REDIS": f"127.0.0.1:{redis_port}",
            "BENCH_REPO": str(repo),
            "BENCH_FOREST": str(directory / "forest.joblib"),
            "BENCH_COLUMNS": ",".join(cards.CardPayment.feature_names()),
            "FEAST_USAGE": "False",
        }
        run([python, "-m", "tests.bench.peers.feast_repo", repo, directory], environment)
        port, log = free_port(), bench.run_directory / "peer.log"
        words = ["-m", "uvicorn", "tests.bench.peers.feast_sklearn:app", "--workers", PEER_PROCESSES, "--port", port]
        command = [python, *words, "--log-level", "warning"]
        with running(command, log=log, environment=environment, directory=ROOT) as process:
            wait_until(answers(port, "/docs.json", any_status=True), process, log=log, limit_seconds=PEER_START_SECONDS)
            _warm(port, directory / "rows.ndjson")
            yield from loads(bench, port, rows=directory / "rows.ndjson", all_connections=CONNECTIONS)


def _warm(port: int, rows: Path) -> None:
    """Has each of the peer's processes read its registry, which takes seconds."""
    with rows.open("rb") as lines:
        for line in islice(lines, WARM_REQUESTS):
            request = Request(f"http://127.0.0.1:{port}{PATH}", line, {"Content-Type": "application/json"})  # ours
            with urlopen(request, timeout=WARM_SECONDS) as answer:  # noqa: S310  # same
                answer.read()


@contextmanager
def _redis_on_a_port(bench: Workspace) -> Iterator[int]:
    """A Redis that writes nothing to disk: the peer has no Redis by a socket, and is only read."""
    port, log = free_port(), bench.run_directory / "peer-redis.log"
    words = [find_server(bench.run_directory).path, "--port", str(port), "--save", "", "--daemonize", "no"]
    with running(words, log=log, directory=bench.run_directory) as process, Redis(port=port) as redis:
        wait_until(partial(_pings, redis), process, log=log)
        yield port


def _pings(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisConnectionError:
        return False


def _flood(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    way = _way(bench, has_history=True)
    history = history_of(cards.CardPayment)
    assert history is not None
    (merchant,) = (plan.fingerprint for plan in history.entities if plan.fields == ("merchant_id",))
    total, sent = bench.scaled(FLOOD), 0
    with service.up(bench, processes=PROCESSES, **way.settings) as ours:
        for part, name in enumerate(FLOOD_PARTS_NAMED, start=1):
            while sent < total * part / len(FLOOD_PARTS_NAMED):
                figures = wrk(ours.port, PATH, way.directory / "flood.ndjson", connections=FLOOD_CONNECTIONS, seconds=1)
                sent += int(figures["requests"])
            (key,) = ours.redis.scan_iter(f"{ENTITY_PATTERN}{merchant}:*")
            yield name, {**figures, "state_bytes": float(ours.redis.strlen(key))}


SCENARIO = Scenario(
    name="history",
    title="A transaction is judged by what came before it",
    note="The example class `riskline.examples.card:CardPayment`: 14 columns of history over five entities (card, "
    "merchant, device, and two pairs). Riskline reads and adds them in one round trip before the decision, and keeps "
    "the values with the record. The same columns sent by the client cost nothing but their bytes. The feature store "
    "is Feast with its online store in Redis and an on-demand feature view, read in a FastAPI service that scores by "
    "scikit-learn; it only reads: what adds a payment to its counts is another service that is not measured. All "
    "have forests of 100 trees, depth 10, over the same columns and rows. Riskline's Redis has `appendfsync always`; "
    "its history is waited for up to a second, where 10 ms are the default: no decision is to be made without it.",
    columns={
        "per_second": "transactions/s",
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
        "max_ms": "longest ms",
        "errors": "errors",
        "unrecorded": "not yet recorded at the end",
        "away": "decided without history",
        "state_bytes": "bytes of the merchant's history",
    },
    cases=cases,
)
