"""Two workers against one where the model is the work."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench import service, wide
from tests.bench.environments import run
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import ROOT, Workspace, is_older

WAITING = 80_000
ALL_AT_WORK = 0.9
"""The share that is left when counting starts: by then every worker has started."""

ONE, TWO = "1 worker", "2 workers"


def cases(bench: Workspace) -> list[Case]:
    """One, then two."""
    return [Case(ONE, partial(_riskline, bench, 1)), Case(TWO, partial(_riskline, bench, 2))]


def _riskline(bench: Workspace, count: int) -> Iterator[tuple[str, Figures]]:
    models = bench.directory / "wide"
    if is_older(models / "active", Path(wide.__file__)):
        bench.say(f"training a forest of {wide.TREES:,} trees (a minute, once)")
        shutil.rmtree(models, ignore_errors=True)
        run([service.RISKLINE[0], "-m", "tests.bench.wide", models], {"PYTHONPATH": str(ROOT)})
    total = bench.scaled(WAITING)
    settings = {"RISKLINE_TRANSACTION": "tests.bench.wide:WideTransaction", "RISKLINE_MODELS": str(models)}
    with service.redis_server(bench) as url:
        service.fill(url, service.records(wide.transactions(total)))
        with service.workers(bench, url, count, **settings) as started:
            remaining = service.undecided(started[0].redis)
            yield "", {"per_second": service.drain_rate(remaining, total, from_share=ALL_AT_WORK)}


SCENARIO = Scenario(
    name="workers",
    title="More workers where the model is the work",
    note=f"A forest of {wide.TREES:,} trees of depth {wide.DEPTH} over rows of {wide.WIDTH} numbers, {WAITING:,} "
    f"waiting transactions, counted from the moment when {ALL_AT_WORK:.0%} of them are left.",
    columns={"per_second": "transactions/s"},
    cases=cases,
)
