"""What a process and a transaction cost: memory, seconds to be ready, bytes and commands in Redis."""

import time
from collections.abc import Iterator
from functools import partial

from redis import Redis

from tests.bench import service
from tests.bench.load import wrk
from tests.bench.memory import resident_mb
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import Workspace

KEPT = 20_000

API, WORKER = "API process", "worker process"
RECORD, ACCEPT, DRAIN = "recording synchronous decisions", "accepting", "draining"
NORMAL, EXPLAINED = "reasons for what it declines", "reasons for all"

CONNECTIONS = 32


def cases(bench: Workspace) -> list[Case]:
    """The processes, then a transaction at both doors."""
    return [
        Case(API, partial(_api, bench)),
        Case(RECORD, partial(_recorded, bench)),
        Case(WORKER, partial(_worker, bench)),
        Case(ACCEPT, partial(_accepted, bench)),
        Case(DRAIN, partial(_drained, bench)),
    ]


def _api(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.redis_server(bench) as url, service.api(bench, url) as api:
        idle = resident_mb(api.process.pid)
        for path in ("/score-transaction", "/transactions"):
            wrk(api.port, path, bench.rows, connections=CONNECTIONS, seconds=bench.seconds)
        after = resident_mb(api.process.pid)
        yield "", {"ready_seconds": api.ready_seconds, "idle_mb": idle, "after_load_mb": after}


def _worker(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    waiting = service.submissions(bench, KEPT)
    with service.redis_server(bench) as url, service.workers(bench, url) as (worker,):
        idle = resident_mb(worker.process.pid)
        service.fill(url, waiting)
        _until_decided(worker.redis)
        after = resident_mb(worker.process.pid)
        yield "", {"ready_seconds": worker.ready_seconds, "idle_mb": idle, "after_load_mb": after}


def _recorded(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    for variant, query in ((NORMAL, ""), (EXPLAINED, "?explain=true")):
        with service.redis_server(bench) as url, service.api(bench, url) as api:
            meter = Meter(api.redis)
            wrk(api.port, f"/score-transaction{query}", bench.rows, connections=CONNECTIONS, seconds=2)
            count, quiet = 0, 0
            while (now := api.redis.xlen(service.KEYS.feed)) != count or quiet < 3:  # polls
                quiet = quiet + 1 if now == count else 0
                count = now
                time.sleep(0.1)
            yield variant, meter.per_transaction(count)


def _accepted(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.redis_server(bench) as url, service.api(bench, url) as api:
        meter = Meter(api.redis)
        wrk(api.port, "/transactions", bench.rows, connections=64, seconds=2)
        yield "64 connections", meter.per_transaction(service.undecided(api.redis)())


def _drained(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    for variant, explain in ((NORMAL, False), (EXPLAINED, True)):
        waiting = service.submissions(bench, KEPT, explain=explain)
        with service.redis_server(bench) as url:
            redis = Redis.from_url(url)
            empty = Meter(redis)
            service.fill(url, waiting)
            meter = Meter(redis)
            with service.workers(bench, url):
                _until_decided(redis)
            figures = meter.per_transaction(KEPT)
            # what a decided transaction takes, not what deciding it adds to its record
            yield variant, {**figures, "bytes": empty.per_transaction(KEPT)["bytes"]}


def _until_decided(redis: Redis) -> None:
    while service.undecided(redis)():
        time.sleep(0.1)


class Meter:
    """What Redis did and holds since the meter was made, but for the few commands of the benchmark itself."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._before = self._now()

    def per_transaction(self, count: int) -> Figures:
        """The bytes that stay, the calls of our scripts, and all commands, those within scripts included."""
        now = self._now()
        return {name: (now[name] - self._before[name]) / count for name in now}

    def _now(self) -> Figures:
        stats = self._redis.info("commandstats")
        return {
            "bytes": self._redis.info("memory")["used_memory"],
            "scripts": sum(stats[name]["calls"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats),
            "commands": sum(each["calls"] for each in stats.values()),
        }


SCENARIO = Scenario(
    name="footprint",
    title="Memory, start, and what a transaction costs Redis",
    note="Resident memory and seconds to ready of one process, idle and after load; Redis's own `used_memory` and "
    f"command counts, divided by the transactions (about {KEPT:,} or two seconds of load). Commands within a script "
    "are counted, too.",
    columns={
        "ready_seconds": "seconds to ready",
        "idle_mb": "idle MB",
        "after_load_mb": "MB after load",
        "bytes": "bytes kept in Redis",
        "scripts": "script calls",
        "commands": "Redis commands",
    },
    cases=cases,
)
