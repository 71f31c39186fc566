"""`riskline bench`: the benchmark, where this is a checkout."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from riskline.shared.errors import InstallationError

ROOT = Path(__file__).resolve().parents[2]


# Typer takes one parameter an option
def bench(
    *,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Some of sync,keys,fields,history,async,drain,singles,latency,workers,files,footprint (default: all).",
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="Rounds of each measurement (default 3).")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="Seconds of each load (default 5).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One short round: whether everything works.")] = False,
    render: Annotated[bool, typer.Option("--render", help="Measure nothing, only write the report again.")] = False,
    rows: Annotated[Path | None, typer.Option("--rows", help="A labelled file (default: simulated rows).")] = None,
    guide: Annotated[Path | None, typer.Option("--guide", help="The directory of the guide's app.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The directory of the report (default docs/benchmarks).")
    ] = None,
) -> None:
    """Measure this service and its peers side by side on this machine; half an hour, in a checkout only."""
    if not (ROOT / "tests/bench/__main__.py").is_file():
        raise InstallationError("`riskline bench` needs the source: clone the repository, then `make bench` there")
    given = {"only": only, "rounds": rounds, "seconds": seconds, "rows": rows, "guide": guide, "out": out}
    words = [f"--{name}" for name, wanted in (("quick", quick), ("render", render)) if wanted]
    for name, value in given.items():
        if value is not None:
            words += (f"--{name}", str(value.resolve() if isinstance(value, Path) else value))
    os.chdir(ROOT)
    # in this process's place, so that Ctrl-C reaches it alone
    os.execv(sys.executable, [sys.executable, "-m", "tests.bench", *words])  # noqa: S606  # no shell wanted
