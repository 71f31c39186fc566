"""Whether it matters to the worker how transactions came: one by one, or in batches."""

from collections.abc import Iterator
from functools import partial

from tests.bench import service
from tests.bench.load import wrk
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import Workspace

WAITING = 20_000
SUBMITTERS = 200

SINGLES, BATCHES = f"accepted one by one from {SUBMITTERS} connections", f"accepted in batches of {service.FILL_BATCH}"
LIVE = f"one worker while {SUBMITTERS} connections submit"


def cases(bench: Workspace) -> list[Case]:
    """Both ways to arrive, then both sides at work at once."""
    return [
        Case(SINGLES, partial(_singles, bench)),
        Case(BATCHES, partial(_batches, bench)),
        Case(LIVE, partial(_live, bench)),
    ]


def _singles(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    total = bench.scaled(WAITING)
    with service.redis_server(bench) as url:
        with service.api(bench, url) as api:
            waiting = service.undecided(api.redis)
            while waiting() < total:
                wrk(api.port, "/transactions", bench.rows, connections=SUBMITTERS, seconds=1)
        yield "", _drained(bench, url, waiting())


def _batches(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    total = bench.scaled(WAITING)
    with service.redis_server(bench) as url:
        service.fill(url, service.submissions(bench, total))
        yield "", _drained(bench, url, total)


def _drained(bench: Workspace, url: str, total: int) -> Figures:
    with service.workers(bench, url) as (worker,):
        return {"per_second": service.drain_rate(service.undecided(worker.redis), total)}


def _live(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.up(bench) as ours:
        load = wrk(ours.port, "/transactions", bench.rows, connections=SUBMITTERS, seconds=bench.seconds)
        left = service.undecided(ours.redis)()
        decided = load["per_second"] * (1 - left / load["requests"])
        yield "", {"per_second": decided, "accepted_per_second": load["per_second"], "left": left}


SCENARIO = Scenario(
    name="singles",
    title="One worker, transactions that came one by one",
    note=f"At least {WAITING:,} transactions, accepted before the worker starts, then drained by one worker; and API "
    "(one process), worker, Redis and the load generator all at work on the same cores.",
    columns={
        "per_second": "decided/s",
        "accepted_per_second": "accepted/s meanwhile",
        "left": "undecided at the end of the load",
    },
    cases=cases,
)
