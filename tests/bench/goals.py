"""What the benchmark must show, and what it showed."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from riskline.ingest.recording.recorder import AHEAD, MOST_AT_ONCE
from tests.bench.results import Results, Rounds, number, ratios
from tests.bench.scenarios import draining, files, footprint, history, latency, singles, submitting, sync, workers

At = tuple[str, str, str, str]
"""Where a figure is: scenario, case, variant, name."""


@dataclass(frozen=True)
class Goal:
    """A line of the table; with neither bound it is there for information."""

    what: str
    unit: str
    rounds: Callable[[Results], Rounds]
    least: float | None = None
    most: float | None = None

    def asked(self) -> str:
        """The bound in words."""
        if self.least is not None:
            return f"at least {number(self.least)} {self.unit}"
        return "" if self.most is None else f"at most {number(self.most)} {self.unit}"

    def verdict(self, rounds: Rounds) -> str:
        """Whether the median keeps the bound."""
        median = statistics.median(rounds)
        if self.least is None and self.most is None:
            return ""
        kept = (self.least is None or median >= self.least) and (self.most is None or median <= self.most)
        return "yes" if kept else "**no**"


def goals() -> list[Goal]:
    """All lines, in the order of the scenarios."""
    return [*_sync(), *_history(), *_queue(), *_drain(), *_latency(), *_rest()]


def _figure(*at: str) -> Callable[[Results], Rounds]:
    return lambda results: results.get(*at)


def _ratio(one: At, other: At) -> Callable[[Results], Rounds]:
    return lambda results: ratios(results.get(*one), results.get(*other))


def _sync() -> list[Goal]:
    def at(label: str, connections: str, name: str) -> At:
        return ("sync", label, connections, name)

    def against(label: str, connections: str, name: str) -> Callable[[Results], Rounds]:
        return _ratio(at(sync.RISKLINE, connections, name), at(label, connections, name))

    one, many, most = map(sync.variant, sync.CONNECTIONS)
    slowest = at(sync.RISKLINE, most, "p99_ms")
    return [
        Goal("sync, 32 connections", "x the guide's app", against(sync.GUIDE, many, "per_second"), least=120),
        Goal("sync, 32 connections", "x an empty Falcon app", against(sync.FALCON, many, "per_second"), least=0.75),
        Goal("sync, 1 connection, p50", "x an empty Falcon app", against(sync.FALCON, one, "p50_ms"), most=1.3),
        Goal("sync, 1 connection, p99", "ms", _figure(*at(sync.RISKLINE, one, "p99_ms")), most=1),
        Goal("sync, 512 connections", "errors", _figure(*at(sync.RISKLINE, most, "errors")), most=0),
        Goal("sync, 512 connections, p99", "x its p50", _ratio(slowest, at(sync.RISKLINE, most, "p50_ms")), most=10),
        Goal(
            "sync, 512 connections",
            "decisions not recorded as the load ends",
            _figure(*at(sync.RISKLINE, most, "unrecorded")),
            most=sync.PROCESSES * (AHEAD + MOST_AT_ONCE),
        ),
    ]


def _history() -> list[Goal]:
    def rate(label: str, variant: str) -> At:
        return ("history", label, variant, "per_second")

    def against(label: str, variant: str) -> Callable[[Results], Rounds]:
        return _ratio(rate(history.COMPUTED, variant), rate(label, variant))

    one, many = map(sync.variant, history.CONNECTIONS)
    p50 = ("history", history.COMPUTED, one, "p50_ms")
    sent = "x the same columns sent"
    return [
        Goal("sync with history, 32 connections", sent, against(history.SENT, many), least=0.4),
        Goal("sync with history, 1 connection, p50", "ms", _figure(*p50), most=0.6),
        Goal(f"with history, {history.QUEUE}", sent, against(history.SENT, history.QUEUE), least=0.6),
        Goal(f"with history, {history.DRAIN}", sent, against(history.SENT, history.DRAIN), least=0.7),
        Goal("sync with history, 32 connections", "x FastAPI + Feast", against(history.FEAST, many), least=50),
        Goal("sync with history, 1 connection", "x FastAPI + Feast", against(history.FEAST, one)),
        Goal("one merchant's history, flooded", "bytes", _flooded("state_bytes"), most=8_192),
        Goal("sync with history, flooded, p50", "x that of the first fifth", _flooded_ratio("p50_ms"), most=1.25),
    ]


def _flooded(name: str) -> Callable[[Results], Rounds]:
    """The last part's figure."""
    return lambda results: results.get("history", history.FLOODED, history.FLOOD_PARTS_NAMED[-1], name)


def _flooded_ratio(name: str) -> Callable[[Results], Rounds]:
    first, last = (("history", history.FLOODED, history.FLOOD_PARTS_NAMED[at], name) for at in (0, -1))
    return _ratio(last, first)


def _queue() -> list[Goal]:
    def rate(label: str, variant: str) -> At:
        return ("async", label, variant, "per_second")

    own_sync = rate(submitting.SYNC, submitting.AT_ONCE)
    alone, busy = submitting.ACCEPT_ONLY, submitting.WITH_WORKER
    unit, what = "x our own synchronous rate", f"accepting one by one, {submitting.CONNECTIONS} connections"
    found = [
        Goal(what, unit, _ratio(rate(submitting.SINGLE, alone), own_sync), least=0.5),
        Goal(f"{what}, {busy}", unit, _ratio(rate(submitting.SINGLE, busy), own_sync)),
    ]
    for label in (submitting.ARRAY, submitting.LINES):
        what = f"{label}, {submitting.BATCH_ROWS:,} rows a request"
        found.append(Goal(what, "rows/s", _figure(*rate(label, alone)), least=40_000))
        found.append(Goal(f"{what}, {busy}", "rows/s", _figure(*rate(label, busy))))
    return found


def _drain() -> list[Goal]:
    def against(variant: str, peer: str) -> Callable[[Results], Rounds]:
        ours = ("drain", draining.RISKLINE, variant, "per_second")
        return _ratio(ours, ("drain", peer, draining.KERNEL, "per_second"))

    peers = {draining.RQ_SIMPLE: 150, draining.CELERY_PREFORK: 40, draining.DRAMATIQ: 15}
    what = f"one worker drains {draining.WAITING:,}"
    return [
        *(Goal(what, f"x {peer}", against(draining.NORMAL, peer), least=least) for peer, least in peers.items()),
        *(Goal(f"{what}, {draining.EXPLAINED}", f"x {peer}", against(draining.EXPLAINED, peer)) for peer in peers),
    ]


def _latency() -> list[Goal]:
    asked = {2: (4, 10), 200: (2, 5), 1_000: (2, 5)}
    return [
        Goal(
            f"submission to decision, {latency.variant(rate)}, {name}",
            "ms",
            _figure("latency", latency.RISKLINE, latency.variant(rate), f"{name}_ms"),
            most=most,
        )
        for rate, bounds in asked.items()
        for name, most in zip(("p50", "p99"), bounds, strict=True)
    ]


def _rest() -> list[Goal]:
    def rate(scenario: str, label: str) -> At:
        return (scenario, label, "", "per_second")

    two_to_one = _ratio(rate("workers", workers.TWO), rate("workers", workers.ONE))
    singles_to_batches = _ratio(rate("singles", singles.SINGLES), rate("singles", singles.BATCHES))
    unit = f"x the rate when {singles.BATCHES}"
    return [
        Goal("2 workers where the model is the work", "x 1 worker", two_to_one, least=1.8),
        Goal(f"drain of what was {singles.SINGLES}", unit, singles_to_batches, least=0.7),
        *(goal for form in files.FORMATS for goal in _files(form)),
        *(goal for label in (footprint.API, footprint.WORKER) for goal in _process(label)),
        *(
            Goal(
                f"Redis memory, {label}, {variant}",
                "bytes a transaction",
                _figure("footprint", label, variant, "bytes"),
                most=most,
            )
            for label in (footprint.RECORD, footprint.DRAIN)
            for variant, most in ((footprint.NORMAL, 1_000), (footprint.EXPLAINED, None))
        ),
    ]


def _files(form: str) -> list[Goal]:
    label, small, large = files.label(form), files.variant(files.SMALL), files.variant(files.LARGE)
    before, after = (("files", label, variant, "together_mb") for variant in (small, large))
    return [
        Goal(f"{label}, {small}", "rows/s", _figure("files", label, small, "per_second"), least=100_000),
        Goal(f"{label}, {small}, peak memory of all processes", "MB", _figure(*before), most=300),
        Goal(f"{label}, {large}, peak memory of all processes", "MB", _figure(*after), most=300),
        Goal(f"{label}, {large}, peak memory", f"x that of {small}", _ratio(after, before), most=1.1),
    ]


def _process(label: str) -> list[Goal]:
    return [
        Goal(f"{label}, memory when idle", "MB", _figure("footprint", label, "", "idle_mb"), most=80),
        Goal(f"{label}, memory after load", "MB", _figure("footprint", label, "", "after_load_mb"), most=80),
        Goal(f"{label}, ready", "s after its start", _figure("footprint", label, "", "ready_seconds"), most=1),
    ]
