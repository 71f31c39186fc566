"""The load generator: wrk with a Lua script, one thread of C that is never the bottleneck."""

import json
import os
import subprocess
import time
from pathlib import Path

from tests.bench.processes import BenchError
from tests.bench.results import Figures

SCRIPTS = Path(__file__).with_name("lua")

TIMEOUT_SECONDS = 30
"""Above the latency of the slowest peer at 512 connections, so that slow is not counted as an error."""


def wrk(
    port: int,
    path: str,
    rows: Path,
    *,
    connections: int,
    seconds: float,
    script: str = "rows",
    words: tuple[str, ...] = (),
    **variables: str,
) -> Figures:
    """One run of load; each run's ids begin otherwise than those of all other runs.

    Raises:
        BenchError: wrk failed, or nothing was answered well.
    """
    prefix = f"b{time.time_ns() // 1000 % 10**10:010d}-"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", f"--timeout={TIMEOUT_SECONDS}s"]
    command += ["-s", f"{SCRIPTS}/{script}.lua", f"http://127.0.0.1:{port}", "--", path, str(rows), prefix, *words]
    environment = {
        **os.environ,
        "LUA_PATH": f"{SCRIPTS}/?.lua",
        **{f"WRK_{k.upper()}": v for k, v in variables.items()},
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return parse(done.stdout, done.stderr)


def parse(output: str, complaints: str = "") -> Figures:
    """What the script printed at its end.

    Raises:
        BenchError: there is no such line, or no request was answered well.
    """
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise BenchError(f"wrk gave no result: {(complaints or output).strip()[-300:]}")
    figures: Figures = json.loads(line.removeprefix("RESULT ").replace("-nan", "0").replace("nan", "0"))
    if not figures["per_second"]:
        raise BenchError(f"none of {figures['requests']:,.0f} requests was answered well")
    return figures
