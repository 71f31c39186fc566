"""`python -m tests.bench.swaps`: swaps of the model under load; says whether any client noticed.

A service of two API processes and a worker answers 32 connections through both doors, first in peace and then, for as
long, while its model is swapped again and again between versions that differ in every score.
"""

import argparse
import asyncio
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from riskline.shared.model.registry import Registry
from riskline.shared.store.status.processes import Processes
from tests.bench import service
from tests.bench.processes import BenchError
from tests.bench.workspace import ROOT, Workspace
from tests.integration.swapping import QUEUE, SCORE, Answered, Oracle, Traffic, write_forests

SWAPS = 20
EACH_SECONDS = 2.0
"""From one swap to the next: a process looks once a second."""

WARM_SECONDS = 3.0
SCORING, QUEUEING = 24, 8
PAUSE_SECONDS = 0.02
"""Of each client: cores that are always busy would hide what a swap costs behind their own waiting."""

VERSIONS, TREES, DEPTH = 3, 100, 10
MOST_TIMES = 3.0
"""How much longer the slowest hundredth of answers may take while models are swapped."""

DOORS = {"at once": SCORE, "through the queue": QUEUE}
Report = tuple[list[Answered], Counter[tuple[str, str]], list[str]]


def generate(pipe: Connection, port: int, models: Path, versions: list[str], pause_seconds: float) -> None:
    """The process of the load: asks until it is told to stop, then tells what it saw."""

    async def ask() -> Traffic:
        traffic = Traffic(port, Oracle(models, versions), pause_seconds=pause_seconds)
        load = asyncio.create_task(traffic.run(scoring=SCORING, queueing=QUEUEING))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        traffic.stopping.set()
        await load
        return traffic

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        traffic = runner.run(ask())
    pipe.send((traffic.answered, traffic.versions, traffic.errors[:20]))


def measure(bench: Workspace, *, swaps: int, pause_seconds: float) -> dict[str, Any]:
    """One run.

    Raises:
        BenchError: the service or the load failed.
    """
    versions = write_forests(bench.models, VERSIONS, trees=TREES, depth=DEPTH)
    registry = Registry(bench.models)
    registry.activate(versions[0])
    with service.up(bench, processes=2, workers=1) as ours:
        processes = Processes(ours.redis)
        _until(lambda: len(processes.living()) == 3)
        before = {state.process for state in processes.living()}
        pipe, others = multiprocessing.get_context("spawn").Pipe()
        load = multiprocessing.get_context("spawn").Process(
            target=generate, args=(others, ours.port, bench.models, versions, pause_seconds), daemon=True
        )
        load.start()
        time.sleep(WARM_SECONDS)
        _until(lambda: _answered(ours.port))
        peace = time.monotonic()
        time.sleep(swaps * EACH_SECONDS)
        war = time.monotonic()
        took = [_swap(registry, processes, versions[(swap + 1) % VERSIONS], bench.say) for swap in range(swaps)]
        over = time.monotonic()
        pipe.send("stop")
        answered, by_version, errors = _received(pipe, load)
        after = {state.process for state in processes.living()}
    if before != after:
        errors.append(f"processes were replaced: {before} by {after}")
    return {
        "errors": errors,
        "answers": len(answered),
        "by_version": {f"{door} {version}": number for (door, version), number in sorted(by_version.items())},
        "swap_seconds": {"median": float(np.median(took)), "most": max(took)},
        "doors": {name: _compared(answered, door, peace, war, over) for name, door in DOORS.items()},
    }


def _swap(registry: Registry, processes: Processes, version: str, say: Callable[[str], None]) -> float:
    """Activates a version, waits until all serve it, and fills up the time; how long it took until all did."""
    started = time.monotonic()
    registry.activate(version)
    _until(lambda: {state.version for state in processes.living()} == {version})
    took = time.monotonic() - started
    say(f"{version} serves everywhere after {took:.2f} s")
    time.sleep(max(0.0, EACH_SECONDS - took))
    return took


def _compared(answered: list[Answered], door: str, peace: float, war: float, over: float) -> dict[str, Any]:
    """The answers of one door in peace and during the swaps, times in ms."""
    times = np.array([(each.at, each.seconds * 1000) for each in answered if each.door == door])
    found = {}
    for name, start, end in (("before", peace, war), ("swaps", war, over)):
        spent = times[(times[:, 0] >= start) & (times[:, 0] < end), 1]
        found[name] = {
            "per_second": len(spent) / (end - start),
            **{f"p{share:g}": float(np.percentile(spent, share)) for share in (50, 99, 99.9)},
            "most": float(spent.max()),
        }
    return {**found, "times_p99": found["swaps"]["p99"] / found["before"]["p99"]}


def _answered(port: int) -> bool:
    return service.answers(port, "/health/live")()


def _received(pipe: Connection, load: multiprocessing.process.BaseProcess) -> Report:
    if not pipe.poll(60):
        raise BenchError(f"the load told nothing (exit code {load.exitcode})")
    report: Report = pipe.recv()
    load.join(10)
    return report


def _until(ready: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds:.0f} s")
        time.sleep(0.02)


def main() -> int:
    """Runs it; 1 where a client noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=SWAPS)
    parser.add_argument(
        "--pause", type=float, default=PAUSE_SECONDS, help="seconds between an answer and the next request (0: none)"
    )
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="swaps-", dir=_made(ROOT / ".riskline")))
    try:
        bench = Workspace(directory, Path(), Path(), 1, arguments.swaps * EACH_SECONDS, quick=False, say=_say)
        result = measure(bench, swaps=arguments.swaps, pause_seconds=arguments.pause)
    except BenchError as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(result, indent=2))
    slow = [name for name, found in result["doors"].items() if found["times_p99"] > MOST_TIMES]
    for name in slow:
        _say(f"{name}: p99 is {result['doors'][name]['times_p99']:.1f} x that before, more than {MOST_TIMES:g} x")
    return 1 if result["errors"] or slow else 0


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
