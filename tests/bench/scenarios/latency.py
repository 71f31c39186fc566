"""From submission to decision over HTTP, through the queue."""

from collections.abc import Iterator
from functools import partial

from tests.bench import service
from tests.bench.load import wrk
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import Workspace

WAIT = "wait=5"
RISKLINE = "POST /transactions, Prefer: wait=5"

RATES = {2: (1, 30), 200: (32, 10), 1_000: (64, 10)}
"""Arrivals a second: connections among which they are spread, so that none idles until it is closed, and seconds."""


def variant(rate: int) -> str:
    """How a rate is called in the report."""
    return f"{rate:,} a second"


def cases(bench: Workspace) -> list[Case]:
    """One service, the rates one after the other."""
    return [Case(RISKLINE, partial(_riskline, bench))]


def _riskline(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.up(bench) as ours:
        for rate, (connections, seconds) in RATES.items():
            yield (
                variant(rate),
                wrk(
                    ours.port,
                    "/transactions",
                    bench.rows,
                    connections=connections,
                    seconds=max(2, seconds / 5) if bench.quick else seconds,
                    prefer=WAIT,
                    mean_delay_ms=str(1000 * connections / rate),
                ),
            )


SCENARIO = Scenario(
    name="latency",
    title="Submission to decision through the queue",
    note="`Prefer: wait=5`: the request is answered with the decision. One API process and one worker; arrivals are "
    "random (Poisson) at the given mean rate. A request passes API, Redis (written to disk), worker, Redis (written to "
    "disk), API.",
    columns={
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
        "max_ms": "longest ms",
        "per_second": "answered/s",
        "requests": "requests",
        "errors": "errors",
    },
    cases=cases,
)
