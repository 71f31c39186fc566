"""`python -m tests.chaos.run`: minutes of faults, then the proof that what was acknowledged was decided, once."""

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from redis import Redis

from riskline.shared.errors import RisklineError
from riskline.shared.store.keys import Keys
from tests.chaos.callbacks import CALLBACK_ALLOWED_SECONDS, CallbackEvidence
from tests.chaos.evidence import gather, read_states, whereabouts
from tests.chaos.faults import plan
from tests.chaos.fleet import CALLBACK_SCHEDULE, Fleet
from tests.chaos.injector import Injected, Injector
from tests.chaos.kept import read_callbacks
from tests.chaos.peer import DATABASE as PEER_DATABASE
from tests.chaos.peer import PeerResult, Producer, count
from tests.chaos.processes import ChaosError
from tests.chaos.report import Report
from tests.chaos.traffic import GRACE_SECONDS, Traffic
from tests.chaos.verdict import ALLOWED_SECONDS, Verdict, judge

SECONDS = 300.0
PER_SECOND = 150.0
POLL_SECONDS = 0.05

PEER_MORE_SECONDS = 60.0
"""What RQ alone is given beyond Riskline's ten seconds."""

LONG_SECONDS = 200.0
"""A run from here on has time for that."""

PROGRESS_SECONDS = 10.0

SWITCH_SECONDS = 0.0005
"""For how long a thread of ours goes on where another wants to: every answer of Redis comes through the proxy's."""

SHOWN = 20
"""Of each kind of problem."""


def main(words: list[str]) -> int:
    """Exit code 0: the promise was kept; 1: it was not, or the run failed."""
    options = _options().parse_args(words)
    if options.plan:
        for fault in plan(options.seed, seconds=options.seconds):
            print(f"{fault.at_seconds:6.1f} s  {fault}")
        return 0
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    sys.setswitchinterval(SWITCH_SECONDS)
    directory = Path(tempfile.mkdtemp(prefix="riskline-chaos-"))
    say = Progress()
    say(f"seed {options.seed}, {options.seconds:g} s; logs in {directory}/logs")
    kept = False
    try:
        report = Run(options, directory, say).go()
        kept = report.verdict.kept
        print(f"\n{report.text()}\n")
        _write(options, report)
        for problem in _problems(report.verdict):
            print(problem)
        print(f"{'kept' if kept else 'BROKEN'}; the same plan again: {report.command}", flush=True)
    except (ChaosError, RisklineError) as error:
        say(f"the run failed: {error}")
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        if kept and not options.keep:
            shutil.rmtree(directory)
        else:
            say(f"logs and Redis's file are kept in {directory}")
    return 0 if kept else 1


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m tests.chaos.run")
    options.add_argument("--seconds", type=float, default=SECONDS, help="how long there are faults")
    options.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeats a plan of faults")
    options.add_argument("--plan", action="store_true", help="only show the plan of a seed")
    options.add_argument("--rate", type=float, default=PER_SECOND, help="transactions a second, at most")
    options.add_argument("--no-peer", action="store_true", help="leave out RQ alone")
    options.add_argument("--keep", action="store_true", help="keep the logs whatever comes of it")
    options.add_argument("--json", type=Path, help="write the figures there")
    options.add_argument("--report", type=Path, help="write the tables there, as Markdown")
    return options


def _write(options: argparse.Namespace, report: Report) -> None:
    if options.json is not None:
        options.json.write_text(json.dumps(report.figures(), indent=2) + "\n")
    if options.report is not None:
        options.report.write_text(report.markdown())


def _problems(verdict: Verdict) -> list[str]:
    lines = [f"violation, {times} times: {each}" for each, times in Counter(verdict.violations).most_common(SHOWN)]
    lines += [f"{name} {id_}: {why}" for name in ("lost", "wrong") for id_, why in _some(getattr(verdict, name))]
    ours = verdict.callbacks
    lines += [f"callback missing {id_}: {why}" for id_, why in _some(ours.missing)]
    lines += [f"callback wrong {id_}: {why}" for id_, why in _some(ours.wrong)]
    lines += [f"callbacks late: {', '.join(ours.late[:SHOWN])}"] if ours.late else []
    lines += [f"twice: {', '.join(verdict.twice[:SHOWN])}"] if verdict.twice else []
    lines += [f"late: {', '.join(verdict.late[:SHOWN])}"] if verdict.late else []
    return lines


def _some(found: dict[str, str]) -> list[tuple[str, str]]:
    return list(found.items())[:SHOWN]


class Progress:
    """Prints lines with the time since the begin, or since `restart`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """From here on the time is counted."""
        self._begin = time.monotonic()

    def __call__(self, message: str) -> None:
        print(f"{time.monotonic() - self._begin:6.1f} s  {message}", flush=True)


class Run:
    """One run on a fleet of its own."""

    def __init__(self, options: argparse.Namespace, directory: Path, say: Progress) -> None:
        self._options = options
        self._say = say
        self._said_at = time.monotonic()
        self._with_peer = not options.no_peer
        self._faults = plan(options.seed, seconds=options.seconds)
        self._fleet = Fleet(directory, with_peer=self._with_peer, seed=options.seed)
        self._traffic = Traffic(
            self._fleet.api_urls, self._fleet.destinations, seed=options.seed, per_second=options.rate
        )
        self._producer = Producer(self._fleet.peer_url)

    def go(self) -> Report:
        """Starts everything, lets it suffer, and judges what is left."""
        try:
            self._fleet.start()
            self._say.restart()
            self._say(f"all is up; the plan has {len(self._faults)} faults")
            done = self._suffer()
            settled_seconds = self._recover(done)
            peers = self._count_peer(done, 0)
            with ThreadPoolExecutor(1) as pool:
                judging = pool.submit(self._judge, done)
                self._tend_until(judging.done)
            verdict, audit = judging.result()
            if self._options.seconds >= LONG_SECONDS:
                peers |= self._count_peer(done, PEER_MORE_SECONDS)
        finally:
            left = self._fleet.close()
        verdict.violations += left
        verdict.settled_seconds = settled_seconds
        return Report(
            seed=self._options.seed,
            seconds=self._options.seconds,
            redis=str(self._fleet.server).rpartition(" ")[2].strip("()"),
            faults=dict(sorted(done.counts.items())),
            verdict=verdict,
            peers=peers,
            answers=self._answers(),
            audit=audit,
        )

    def _suffer(self) -> Injected:
        self._traffic.start()
        if self._with_peer:
            self._producer.start()
        injector = Injector(self._fleet, tend=self._tend, say=self._say)
        injector.run(self._faults, seconds=self._options.seconds)
        return injector.done

    def _tend(self) -> None:
        self._fleet.tend()
        if not self._traffic.idle and time.monotonic() > self._said_at + PROGRESS_SECONDS:
            self._said_at = time.monotonic()
            acknowledged, under_way = len(self._traffic.ledger.acknowledged), self._traffic.under_way
            self._say(f"{acknowledged} acknowledged, {under_way} clients without an answer")

    def _tend_until(self, condition: Callable[[], bool], *, seconds: float = float("inf")) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self._tend()
            time.sleep(POLL_SECONDS)

    def _recover(self, done: Injected) -> float:
        """Waits until nobody waits, or until the time for that is over; how long after the last fault that was."""
        self._traffic.stop()
        self._producer.stop()
        self._tend_until(lambda: self._traffic.idle, seconds=2 * GRACE_SECONDS)
        store = self._fleet.store()
        undecided = Keys().undecided
        self._tend_until(lambda: store.zcard(undecided) == 0, seconds=ALLOWED_SECONDS)
        seconds = time.time() - done.healed_at
        self._say(f"{store.zcard(undecided)} undecided {seconds:.2f} s after the end of the last fault")
        store.close()
        return seconds

    def _await_deliveries(self, done: Injected) -> None:
        """Waits until nothing is pending for the receiver that lives, or until the time for that is over."""
        store = self._fleet.store()
        line = Keys().callback_host_prefix + self._fleet.destinations.live
        seconds = done.healed_at + CALLBACK_ALLOWED_SECONDS - time.time()
        deadline = time.monotonic() + seconds
        # the main thread tends the fleet meanwhile
        while store.zcard(line) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        waited = time.time() - done.healed_at
        self._say(f"{store.zcard(line)} callbacks to be delivered {waited:.2f} s after the end of the last fault")
        store.close()

    def _judge(self, done: Injected) -> tuple[Verdict, str]:
        self._traffic.finish()
        ledger = self._traffic.ledger
        self._say(f"reading {len(ledger.acknowledged)} transactions")
        store = self._fleet.store()
        states = read_states(self._fleet.api_urls, ledger.acknowledged)
        self._await_deliveries(done)
        evidence = gather(store, states, self._fleet.environment)
        callbacks = CallbackEvidence(
            kept=read_callbacks(store),
            arrivals=self._fleet.receiver.arrivals_now(),
            live_host=self._fleet.destinations.live,
            attempts=len(CALLBACK_SCHEDULE),
        )
        verdict = judge(
            ledger,
            evidence,
            callbacks,
            followed=self._traffic.followed,
            windows=done.windows,
            healed_at=done.healed_at,
        )
        verdict.violations += self._fleet.receiver.strange
        verdict.violations += [f"{id_}: {whereabouts(store, id_)}" for id_ in verdict.suspicious()[:SHOWN]]
        store.close()
        return verdict, "not available" if evidence.audit is None else evidence.audit or "nothing to say"

    def _count_peer(self, done: Injected, more_seconds: float) -> dict[int, PeerResult]:
        """RQ alone, at the end of Riskline's own time or so much later."""
        if not self._with_peer:
            return {}
        seconds = ALLOWED_SECONDS + more_seconds
        self._tend_until(lambda: time.time() >= done.healed_at + seconds)
        self._producer.join()
        with Redis(unix_socket_path=self._fleet.redis_url.removeprefix("unix://"), db=PEER_DATABASE) as store:
            return {round(seconds): count(store, self._producer.accepted)}

    def _answers(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for (what, answer), times in sorted(self._traffic.ledger.answers.items()):
            counts[f"{what} {answer}"] += times
        return dict(counts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
