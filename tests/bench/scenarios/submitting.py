"""How fast transactions are accepted into the queue, one by one and in batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.bench import service
from tests.bench.load import wrk
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import Workspace

CONNECTIONS = 64
BATCH_CONNECTIONS = 4
BATCH_ROWS = 1_000

ACCEPT_ONLY, WITH_WORKER = "nothing works on them yet", "one worker decides them meanwhile"
AT_ONCE = "decided by the API, recorded afterwards"
SYNC = "POST /score-transaction, for comparison"
SINGLE = "POST /transactions"
ARRAY = "POST /transactions/batch, JSON array"
LINES = "POST /transactions/batch, NDJSON"


def cases(bench: Workspace) -> list[Case]:
    """The synchronous door first: the figure to compare with."""
    return [
        Case(SYNC, partial(_load, bench, "/score-transaction", variants=(AT_ONCE,))),
        Case(SINGLE, partial(_load, bench, "/transactions")),
        Case(ARRAY, partial(_batches, bench, "array")),
        Case(LINES, partial(_batches, bench, "lines")),
    ]


@contextmanager
def _started(bench: Workspace, variant: str) -> Iterator[service.Running]:
    if variant == WITH_WORKER:
        with service.up(bench, processes=2, workers=1) as ours:
            yield ours
        return
    with service.redis_server(bench) as url, service.api(bench, url, processes=2) as ours:
        yield ours


def _load(
    bench: Workspace, path: str, *, variants: tuple[str, ...] = (ACCEPT_ONLY, WITH_WORKER)
) -> Iterator[tuple[str, Figures]]:
    for variant in variants:
        with _started(bench, variant) as ours:
            yield variant, wrk(ours.port, path, bench.rows, connections=CONNECTIONS, seconds=bench.seconds)


def _batches(bench: Workspace, form: str) -> Iterator[tuple[str, Figures]]:
    for variant in (ACCEPT_ONLY, WITH_WORKER):
        with _started(bench, variant) as ours:
            figures = wrk(
                ours.port,
                "/transactions/batch",
                bench.rows,
                connections=BATCH_CONNECTIONS,
                seconds=bench.seconds,
                script="batch",
                words=(form,),
            )
            yield variant, {**figures, "per_second": figures["per_second"] * BATCH_ROWS}


SCENARIO = Scenario(
    name="async",
    title="Accepting into the queue",
    note=f"Two API processes, Redis with `appendfsync always`; {CONNECTIONS} connections with one transaction a "
    f"request, or {BATCH_CONNECTIONS} with {BATCH_ROWS:,} a request. A transaction counts when its 202 is there, and "
    "so when it is on disk; the times are those of a request.",
    columns={
        "per_second": "transactions/s",
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
        "max_ms": "longest ms",
        "errors": "errors",
    },
    cases=cases,
)
