"""One worker against the queues' own, one transaction a job."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from redis import Redis

from tests.bench import service
from tests.bench.environments import run
from tests.bench.processes import running
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import ROOT, Workspace

WAITING = 100_000
PEER_LIMIT_SECONDS = 6.0
"""What takes longer is measured up to there: each of the peers' rates is steady."""

NORMAL, EXPLAINED = "reasons for what it declines", "reasons for all"
KERNEL, SKLEARN = "Riskline's engine", "scikit-learn"
ENGINES = {KERNEL: "kernel", SKLEARN: "scikit-learn"}

RISKLINE = "Riskline worker"
RQ_SIMPLE, RQ_FORK = "RQ SimpleWorker", "RQ Worker"
CELERY_PREFORK, CELERY_SOLO = "Celery prefork, 1 process", "Celery solo"
DRAMATIQ = "dramatiq, 1 process, 8 threads"

PEERS = "tests.bench.peers"


@dataclass(frozen=True)
class Queue:
    """A queue that carries one transaction a job."""

    module: str
    worker: tuple[str, ...]
    """The words after the peers' Python that start it."""
    remaining: Callable[[Redis], int]
    jobs: dict[str, int]
    """How many by engine: enough for seconds."""


_CELERY = ("-m", "celery", "--app", f"{PEERS}.celery_jobs", "worker", "--concurrency", "1", "--loglevel", "warning")
_RQ_JOBS = {KERNEL: 2_000, SKLEARN: 1_000}

QUEUES = {
    RQ_SIMPLE: Queue(
        "rq_jobs",
        ("-m", f"{PEERS}.rq_jobs", "work", "SimpleWorker"),
        lambda redis: redis.llen("rq:queue:default"),
        _RQ_JOBS,
    ),
    RQ_FORK: Queue(
        "rq_jobs", ("-m", f"{PEERS}.rq_jobs", "work", "Worker"), lambda redis: redis.llen("rq:queue:default"), _RQ_JOBS
    ),
    CELERY_PREFORK: Queue(
        "celery_jobs",
        (*_CELERY, "--pool", "prefork"),
        lambda redis: redis.llen("celery"),
        {KERNEL: 5_000, SKLEARN: 1_500},
    ),
    CELERY_SOLO: Queue(
        "celery_jobs", (*_CELERY, "--pool", "solo"), lambda redis: redis.llen("celery"), {KERNEL: 5_000, SKLEARN: 1_500}
    ),
    DRAMATIQ: Queue(
        "dramatiq_jobs",
        ("-m", "dramatiq", f"{PEERS}.dramatiq_jobs", "--processes", "1", "--threads", "8"),
        lambda redis: redis.hlen("dramatiq:default.msgs"),
        {KERNEL: 10_000, SKLEARN: 1_500},
    ),
}


def cases(bench: Workspace) -> list[Case]:
    """Ours, then each peer with both engines."""
    return [
        Case(RISKLINE, partial(_riskline, bench)),
        *(Case(label, partial(_peer, bench, queue)) for label, queue in QUEUES.items()),
    ]


def _riskline(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    total = bench.scaled(WAITING)
    for variant, explain in ((NORMAL, False), (EXPLAINED, True)):
        waiting = service.submissions(bench, total, explain=explain)
        with service.redis_server(bench) as url:
            service.fill(url, waiting)
            with service.workers(bench, url) as (worker,):
                yield variant, {"per_second": service.drain_rate(service.undecided(worker.redis), total)}


def _peer(bench: Workspace, queue: Queue) -> Iterator[tuple[str, Figures]]:
    for variant, engine in ENGINES.items():
        total = bench.scaled(queue.jobs[variant])
        with service.redis_server(bench) as url:
            redis = Redis.from_url(url)
            environment = {**bench.peer_environment, "BENCH_REDIS": url, "BENCH_ENGINE": engine}
            run([bench.python, "-m", f"{PEERS}.{queue.module}", "submit", str(total)], environment)
            log = bench.run_directory / "peer.log"
            with running([bench.python, *queue.worker], log=log, environment=environment, directory=ROOT):
                rate = service.drain_rate(partial(queue.remaining, redis), total, limit_seconds=PEER_LIMIT_SECONDS)
                yield variant, {"per_second": rate}


SCENARIO = Scenario(
    name="drain",
    title="One worker, many waiting transactions",
    note=f"Everything was accepted beforehand ({WAITING:,} transactions for Riskline, seconds of work for the peers); "
    "then one worker process starts, and the rate is counted from its first decision until nothing is left. Redis is "
    "the same for all: append-only file, `appendfsync always`. Riskline also writes reasons and the feed; the "
    "peers carry one transaction a job, as their documentation has it, and keep its return value as the result.",
    columns={"per_second": "transactions/s"},
    cases=cases,
)
