"""`python -m tests.bench`: measures, keeps the figures, writes the report."""

import argparse
import os
import signal
import sys
from pathlib import Path

from redis.exceptions import RedisError

from riskline.shared.errors import RisklineError
from tests.bench import report
from tests.bench.environments import about, commit, require_tools
from tests.bench.processes import BenchError
from tests.bench.results import Results, Section
from tests.bench.scenarios import Case, Scenario
from tests.bench.scenarios.listed import SCENARIOS
from tests.bench.workspace import ROOT, Workspace

GUIDE, ROWS = ROOT / "../shared/guide", ROOT / "../shared/data/transactions.csv.gz"
"""Beside the checkout, where they are there; what is named by an option must be there."""


def main(words: list[str]) -> int:
    """Exit code 0: all was measured; 1: something was not, and it said what."""
    options = _options()
    given = options.parse_args(words)
    for missing in (path for path in (given.guide, given.rows) if path is not None and not path.exists()):
        options.error(f"there is no {missing}")
    # what is measured has its defaults, and a Redis of its own
    for name in [name for name in os.environ if name.startswith("RISKLINE_") or name == "REDIS_URL"]:
        del os.environ[name]
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    bench = Workspace(
        directory=given.work.resolve(),
        guide=(given.guide or GUIDE).resolve(),
        data=(given.rows or ROWS).resolve(),
        rounds=1 if given.quick else given.rounds,
        seconds=1 if given.quick else given.seconds,
        quick=given.quick,
        say=_say,
    )
    # a quick run proves nothing, so it replaces no figure that was measured
    kept = "quick" if given.quick else "results"
    out = given.out or (bench.directory / "quick" if given.quick else ROOT / "docs/benchmarks")
    results = bench.directory / f"{kept}.json"
    try:
        bench.lock()
        bench.prepare_environment()
        failures = 0 if given.render else _measure(bench, [SCENARIOS[name] for name in given.only], results)
        report.write(Results(results), out.resolve(), python=bench.python)
    except (BenchError, RisklineError) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; what was measured before is kept")
        return 130
    _say(f"written: {out}/README.md and its charts")
    return 1 if failures else 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="riskline bench")
    options.add_argument("--only", type=_names, default=list(SCENARIOS), help=f"some of {','.join(SCENARIOS)}")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--quick", action="store_true", help="one short round: whether everything works")
    options.add_argument("--render", action="store_true", help="only write the report again")
    options.add_argument("--guide", type=Path)
    options.add_argument("--rows", type=Path)
    options.add_argument("--work", type=Path, default=ROOT / ".riskline/bench")
    options.add_argument("--out", type=Path)
    return options


def _names(listed: str) -> list[str]:
    unknown = sorted(set(listed.split(",")) - set(SCENARIOS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return listed.split(",")


def _say(message: str) -> None:
    print(f"riskline bench: {message}", file=sys.stderr, flush=True)


def _measure(bench: Workspace, scenarios: list[Scenario], kept: Path) -> int:
    """Runs the scenarios one after the other; how many cases failed."""
    require_tools(bench.directory, say=_say)
    bench.prepare()
    results = Results(kept)
    guide = bench.guide_directory
    results.about = about(bench.python, None if guide is None else guide / "env/bin/python", bench.directory)
    for scenario in scenarios:
        section = results.begin(
            scenario.name, rounds=bench.rounds, seconds=bench.seconds, quick=bench.quick, commit=commit()
        )
        for number in range(bench.rounds):
            for case in scenario.cases(bench):
                if number == 0 or not case.once:
                    _say(f"{scenario.name}, round {number + 1} of {bench.rounds}: {case.label}")
                    _run(case, section)
        results.keep(section)
    return sum(len(results.sections[scenario.name].failed) for scenario in scenarios)


def _run(case: Case, section: Section) -> None:
    """One round of a case; one that fails is noted and does not end the others."""
    try:
        for variant, figures in case.run():
            section.add(case.label, variant, figures)
            _say(
                "  " + ", ".join(filter(None, [variant, *(f"{name} {value:,.4g}" for name, value in figures.items())]))
            )
    except (BenchError, RisklineError, RedisError, OSError) as error:
        _say(f"  failed: {error}")
        section.fail(case.label, str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
