"""`python -m tests.bench.soak`: minutes of all that clients do, at half capacity; says whether memory is flat."""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from redis.exceptions import RedisError

from riskline.cli.installation import Installation
from riskline.cli.up.redis_server import find_server
from riskline.shared.clock import utc_now
from riskline.shared.errors import RisklineError
from tests.bench import service
from tests.bench.environments import OURS, commit
from tests.bench.memory import MEGABYTE, resident_mb
from tests.bench.processes import BenchError
from tests.bench.results import number
from tests.bench.soak_figures import JUDGED_COUNTS, JUDGED_MB, Figures, Line, private_mb
from tests.bench.soak_load import ANSWER_SECONDS, ANSWERS, generating
from tests.bench.workspace import ROOT, Workspace
from tests.integration.conftest import write_stump

TRIAL_SECONDS, BURST_SECONDS, DECIDED_SECONDS = 10.0, 3.0, 10.0
SAMPLE_SECONDS, PROGRESS_SAMPLES, POLL_SECONDS = 2.0, 5, 0.05
WARM_UP_SHARE, LEAST_SECONDS = 0.2, 15.0

TTL_SECONDS, TTL_SHARE, LEAST_TTL_SECONDS, FEED_LENGTH = 30, 0.1, 3, 20_000
"""So short, and shorter in a short run, that what Redis keeps is steady before the warm-up is over."""

CHILDREN = {"API": "API", "worker": "scoring worker 1", "Redis": "Redis"}


class Soak:
    """One service, what it is given, and what is measured of it."""

    def __init__(
        self,
        bench: Workspace,
        ours: service.Running,
        *,
        rate: float | None,
        ttl_seconds: int,
        feed_length: int,
    ) -> None:
        self._bench = bench
        self._ours = ours
        self._ttl_seconds = ttl_seconds
        self._feed_length = feed_length
        self._warm_up_seconds = max(WARM_UP_SHARE * bench.seconds, ttl_seconds)
        self._data = next(bench.run_directory.glob("up-*"))
        self._pids = self._children()
        self._undecided = service.undecided(ours.redis)
        self.rate = rate
        self.capacity: float | None = None
        self.counts: Counter[str] = Counter()
        self.samples: list[Figures] = []
        self.problems: list[str] = []

    def _children(self) -> dict[str, int]:
        state = Installation(self._data).running_state()
        return {} if state is None else {name: state.children[child] for name, child in CHILDREN.items()}

    def run(self) -> None:
        """Finds the rate, drives it, and looks at what is left."""
        # also at a given rate: what a process takes once, when it has most to do, is no growth
        capacity = self._try_capacity(TRIAL_SECONDS if self.rate is None else BURST_SECONDS)
        if self.rate is None:
            self.capacity, self.rate = capacity, capacity / 2
            self._bench.say(f"{capacity:,.0f} transactions/s; half of it from here on")
        seconds, begin = self._bench.seconds, time.monotonic()
        self.samples.append({"at": -1.0, **self._sample()})
        with generating(self._ours.port, "s", seconds=seconds, per_second=self.rate) as wait:
            while (passed := time.monotonic() - begin) < seconds:
                self.samples.append({"at": passed, **self._sample()})
                if len(self.samples) % PROGRESS_SAMPLES == 0:
                    self._bench.say(self._progress())
                self.counts = wait(min(SAMPLE_SECONDS, seconds - passed))
            self.counts = wait(ANSWER_SECONDS + SAMPLE_SECONDS)
        self._settle()
        self.samples.append({"at": time.monotonic() - begin, **self._sample()})
        self._judge()

    def _try_capacity(self, seconds: float) -> float:
        """Transactions a second of all doors, from the first request until all were decided."""
        self._bench.say(f"as fast as it can for {seconds:g} s")
        with generating(self._ours.port, "t", seconds=seconds) as wait:
            counts = wait(seconds + ANSWER_SECONDS)
        return counts["transactions"] / (seconds + self._settle())

    def _settle(self) -> float:
        """How long it took until all was decided."""
        begin = time.monotonic()
        while self._undecided() and time.monotonic() < begin + DECIDED_SECONDS:
            time.sleep(POLL_SECONDS)
        return time.monotonic() - begin

    def _sample(self) -> Figures:
        figures: Figures = {}
        for name, pid in self._pids.items():
            figures |= {f"{name} MB": resident_mb(pid), f"{name} private MB": private_mb(pid)}
        info = self._ours.redis.info()
        figures |= {"Redis used MB": info["used_memory"] / MEGABYTE, "Redis clients": info["connected_clients"]}
        for name in ("API", "worker"):
            figures[f"{name} descriptors"] = len(list(Path(f"/proc/{self._pids[name]}/fd").iterdir()))
        return {**figures, "undecided": self._undecided()}

    def _progress(self) -> str:
        figures = self.samples[-1]
        shown = ", ".join(f"{name} {number(figures[name])}" for name in (*JUDGED_MB, *JUDGED_COUNTS, "undecided"))
        return f"{figures['at']:5.0f} s: {self.counts['transactions']:,} transactions, {self.errors} errors; {shown}"

    @property
    def errors(self) -> int:
        """Answers that should not have been, but for 503."""
        return sum(times for name, times in self.counts.items() if name.startswith("error"))

    @property
    def lines(self) -> list[Line]:
        """All figures under load, those that are judged first."""
        warm = [each for each in self.samples[1:-1] if each["at"] >= self._warm_up_seconds]
        names = dict.fromkeys((*JUDGED_MB, *JUDGED_COUNTS, *self.samples[0]))
        return [Line.through(name, warm, seconds=self._bench.seconds) for name in names if name != "at"]

    def _judge(self) -> None:
        self.problems += [f"{line.name}: it rises" for line in self.lines if line.verdict not in ("", "flat")]
        self.problems += [f"{times} times {name}" for name, times in self.counts.items() if name.startswith("error")]
        log = (self._bench.run_directory / "up.log").read_text(errors="replace")
        self.problems += [f"log: {line}" for line in log.splitlines() if '"level":"error"' in line.replace(" ", "")]
        if self._children() != self._pids:
            self.problems.append("a process was started again")
        if left := self._undecided():
            self.problems.append(f"{left} transactions are undecided after {DECIDED_SECONDS:g} s")
        words = [*service.RISKLINE, "doctor", "--audit", "--json", "--data", str(self._data)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
        checks = json.loads(done.stdout)["checks"] if done.stdout else []
        failed = [f"doctor, {each['check']}: {each['detail']}" for each in checks if each["verdict"] == "fail"]
        self.problems += failed or ([] if done.returncode == 0 else [f"doctor: {done.stderr.strip()[-300:]}"])

    def page(self) -> Iterator[str]:
        """The report, line by line."""
        seconds, before, after = self._bench.seconds, self.samples[0], self.samples[-1]
        versions = [f"{name} {version(name)}" for name in ("riskline", *OURS)]
        found = "as asked for" if self.capacity is None else f"half of {self.capacity:,.0f} in a trial before"
        answers = [f"{name} {times:,}" for name, times in sorted(self.counts.items()) if name in ANSWERS]
        yield "# Soak\n"
        yield "All that clients do at once, for a while: is memory flat? One API process, one worker, a Redis that puts"
        yield "each change on disk before it acknowledges it, and the load on the same cores. To repeat it:\n"
        asked = "" if self.capacity else f" --rate {self.rate:g}"
        yield f"    python -m tests.bench.soak --seconds {seconds:g}{asked}\n"
        yield f"- {utc_now()[:10]}, commit {commit()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
        yield f"- Python {platform.python_version()}, {find_server(self._bench.directory)}, {', '.join(versions)}"
        yield f"- {seconds:g} s with {self.counts['transactions'] / seconds:,.0f} transactions/s"
        yield f"- wanted were {self.rate:,.0f}, {found}"
        yield f"- Redis keeps records for {self._ttl_seconds} s, and the last {self._feed_length:,} decisions"
        yield f"- answers: {', '.join(answers)}; {self.counts['503']} times 503, {self.errors} errors"
        yield f"- **{'not as it must be' if self.problems else 'flat, and everything was decided'}**"
        yield from (f"- {problem}" for problem in self.problems)
        yield f"\nFrom {self._warm_up_seconds:g} s on, with a line through samples {SAMPLE_SECONDS:g} s apart. MB are"
        yield "resident where nothing else is said. Redis is judged by what it uses, not by what its allocator keeps.\n"
        heads = ["", "first", "last", "largest", "slope an hour", "rise in the run", "allowed", "verdict"]
        heads += ["at rest before", "at rest after"]
        rows = [[*line.cells(), number(before[line.name]), number(after[line.name])] for line in self.lines]
        yield from (f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def main(words: list[str]) -> int:
    """Exit code 0: memory is flat and nothing is wrong; 1: it is not, or the run failed."""
    options = argparse.ArgumentParser(prog="python -m tests.bench.soak")
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--rate", type=float, help="transactions a second, instead of half of what a trial finds")
    options.add_argument("--json", type=Path, help="write the samples there")
    options.add_argument("--report", type=Path, help="write the page there, as Markdown")
    given = options.parse_args(words)
    if given.seconds < LEAST_SECONDS or (given.rate is not None and given.rate <= 0):
        options.error(f"--seconds must be at least {LEAST_SECONDS:g}, and --rate above 0")
    signal.signal(signal.SIGTERM, lambda number_, _frame: sys.exit(128 + number_))
    directory = ROOT / ".riskline/soak"
    bench = Workspace(
        directory=directory, guide=directory, data=directory, rounds=1, seconds=given.seconds, quick=False, say=say
    )
    ttl_seconds = max(min(TTL_SECONDS, round(given.seconds * TTL_SHARE)), LEAST_TTL_SECONDS)
    feed_length = min(FEED_LENGTH, round((given.rate or FEED_LENGTH) * ttl_seconds))
    for name in [name for name in os.environ if name.startswith("RISKLINE_") or name == "REDIS_URL"]:
        del os.environ[name]
    os.environ |= {
        "RISKLINE_MODELS": str(bench.models),
        "RISKLINE_RESULT_TTL": str(ttl_seconds),
        "RISKLINE_FEED_LENGTH": str(feed_length),
    }
    try:
        bench.lock()
        shutil.rmtree(bench.models, ignore_errors=True)
        write_stump(bench.models)
        with service.up(bench) as ours:
            soak = Soak(bench, ours, rate=given.rate, ttl_seconds=ttl_seconds, feed_length=feed_length)
            soak.run()
    except (BenchError, RisklineError, RedisError, OSError) as error:
        say(f"the run failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    page = "\n".join(soak.page()) + "\n"
    print(page)
    if given.report is not None:
        given.report.write_text(page)
    if given.json is not None:
        figures = {"rate": soak.rate, "capacity": soak.capacity, "counts": soak.counts, "problems": soak.problems}
        given.json.write_text(json.dumps({**figures, "samples": soak.samples}, indent=1) + "\n")
    return 1 if soak.problems else 0


def say(message: str) -> None:
    """A line of progress."""
    print(f"soak: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
