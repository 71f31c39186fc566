"""The synchronous door with a team's own transaction of 25 fields, next to the built-in one of five."""

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from tests.bench import service
from tests.bench.environments import run
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.scenarios.sync import COLUMNS, loads
from tests.bench.workspace import LABEL, ROOT, Workspace, is_older

EXAMPLES = ROOT / "docs/examples"
TEAM = {
    "RISKLINE_TRANSACTION": "acquiring:CardPayment",
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, EXAMPLES))),
}
ROWS = 60_000
REQUEST_ROWS = 20_000
CONNECTIONS = (1, 32)

FIVE, MANY = "5 fields", "25 fields, 35 columns"


def cases(bench: Workspace) -> list[Case]:
    """The built-in transaction, then the example's."""
    return [Case(FIVE, partial(_five, bench)), Case(MANY, partial(_many, bench))]


def _five(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.up(bench, processes=2) as ours:
        yield from loads(bench, ours.port, all_connections=CONNECTIONS, recorded=service.recorded(ours.redis))


def _many(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    directory = bench.directory / "acquiring"
    rows = directory / "rows.ndjson"
    sources = [EXAMPLES / "acquiring.py", EXAMPLES / "acquiring_sample.py"]
    if any(is_older(rows, source) for source in sources):
        _prepare(bench, directory, rows)
    with service.up(bench, processes=2, RISKLINE_MODELS=str(directory / "models"), **TEAM) as ours:
        yield from loads(
            bench, ours.port, rows=rows, all_connections=CONNECTIONS, recorded=service.recorded(ours.redis)
        )


def _prepare(bench: Workspace, directory: Path, rows: Path) -> None:
    """A model of the example's class, by the same algorithm as the built-in one's, and rows to send."""
    bench.say("training a model of 25 fields")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    sample = directory / "payments.csv"
    run([sys.executable, EXAMPLES / "acquiring_sample.py", sample, str(ROWS)])
    run([sys.executable, "-m", "riskline.cli", "train", sample, "--data", directory], TEAM)
    flags = [pl.col(name).cast(pl.Boolean) for name in ("is_authenticated", "is_cvc_right")]
    # the last, so that an interrupted run begins anew
    pl.read_csv(sample).drop(LABEL).tail(REQUEST_ROWS).with_columns(flags).write_ndjson(rows)


SCENARIO = Scenario(
    name="fields",
    title="More fields",
    note="`POST /score-transaction` by `riskline up --processes 2`: the built-in transaction, and the 25 fields of "
    "`docs/examples/acquiring.py` (six of text, one a time), of which 35 columns are made, five of them by methods of "
    "the class. Each is decided by a forest of 100 trees that was trained for it.",
    columns=COLUMNS,
    cases=cases,
)
