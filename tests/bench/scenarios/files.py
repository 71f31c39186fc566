"""`riskline score` on large files."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from riskline.shared.domain.transaction import Transaction
from tests.bench import service
from tests.bench.memory import PeakMemory
from tests.bench.processes import BenchError, running
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import ROOT, Workspace, is_older

SMALL, LARGE = 1_000_000, 4_000_000
FORMATS = {"Parquet": "parquet", "CSV": "csv"}


def label(form: str) -> str:
    """How a format is called in the report."""
    return f"riskline score, {form}"


def variant(rows: int) -> str:
    """How a size is called in the report."""
    return f"{rows:,} rows"


def cases(bench: Workspace) -> list[Case]:
    """Each format in each size."""
    return [
        Case(label(form), partial(_score, bench, rows, ending), once=rows == LARGE)
        for rows in (SMALL, LARGE)
        for form, ending in FORMATS.items()
    ]


def _score(bench: Workspace, rows: int, ending: str) -> Iterator[tuple[str, Figures]]:
    count = bench.scaled(rows)
    file = _file(bench, count, ending)
    out, log = bench.run_directory / "decisions.ndjson", bench.run_directory / "score.log"
    words = [*service.RISKLINE, "score", file, "--out", out]
    environment = {**service.QUIET, "RISKLINE_MODELS": str(bench.models)}
    started = time.perf_counter()
    with running(words, log=log, environment=environment, directory=ROOT) as process, PeakMemory(process.pid) as memory:
        code = process.wait()
        seconds = time.perf_counter() - started
    if code:
        raise BenchError(f"`riskline score` ended with {code}; see {log}")
    out.unlink()
    yield (
        variant(rows),
        {"per_second": count / seconds, "largest_mb": memory.largest_mb, "together_mb": memory.together_mb},
    )


def _file(bench: Workspace, rows: int, ending: str) -> Path:
    """The requests' rows, repeated, each with an id of its own."""
    path = bench.directory / f"rows-{rows}.{ending}"
    if is_older(path, bench.rows):
        unfinished = path.with_name(f"unfinished-{path.name}")
        sample = pl.read_ndjson(bench.rows)
        frame = pl.concat([sample] * (rows // len(sample) + 1)).head(rows)
        numbered = pl.format("F{}", pl.int_range(rows)).alias(Transaction.ID_FIELD)
        write = (
            frame.with_columns(numbered).write_parquet
            if ending == "parquet"
            else frame.with_columns(numbered).write_csv
        )
        write(unfinished)
        unfinished.replace(path)
    return path


SCENARIO = Scenario(
    name="files",
    title="Files",
    note=f"From the start of the command to its end, on {os.cpu_count()} cores; the decisions go to an NDJSON file.",
    columns={
        "per_second": "rows/s",
        "largest_mb": "peak MB of its largest process",
        "together_mb": "peak MB of all its processes",
    },
    cases=cases,
)
