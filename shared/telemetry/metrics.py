"""The metrics of an API process, named by Prometheus's conventions; no transaction's value or id is ever a label.

Metrics that Redis counts, over all processes and restarts, are in ingest/background/exported_metrics.py.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from riskline.shared.telemetry.histograms import PROBABILITY as PROBABILITIES
from riskline.shared.telemetry.histograms import SECONDS

disable_created_metrics()  # type: ignore[no-untyped-call]

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own variable: set before this module is imported where several processes share a port."""

LATENCY_BUCKETS = SECONDS

REQUESTS = Counter("riskline_http_requests", "HTTP requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "riskline_http_request_duration_seconds",
    "Time to answer a request, by whether it asked to wait for a decision.",
    ["route", "waits"],
    buckets=LATENCY_BUCKETS,
)
DECISIONS = Counter(
    "riskline_decisions", "Decisions made, by door, action and model version.", ["door", "action", "model_version"]
)
PROBABILITY_BUCKETS = PROBABILITIES.bounds
PROBABILITY = Histogram(
    "riskline_fraud_probability",
    "Fraud probabilities of the decisions made.",
    ["door", "model_version"],
    buckets=PROBABILITY_BUCKETS,
)
WITHOUT_HISTORY = Counter(
    "riskline_decisions_without_history",
    "Decisions made without the history of their transaction, by the model's twin, by door.",
    ["door"],
)
ACCEPTED = Counter("riskline_transactions_accepted", "Transactions accepted into the queue.")
COMMIT_SIZE = Histogram(
    "riskline_commit_transactions",
    "Transactions that shared one accept call.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
RECORDED = Counter("riskline_recordings", "Synchronous decisions recorded in Redis.")
RECORDINGS_DROPPED = Counter("riskline_recordings_dropped", "Synchronous decisions not recorded: the buffer was full.")
RECORDINGS_PENDING = Gauge(
    "riskline_recordings_pending", "Synchronous decisions not yet recorded.", multiprocess_mode="livesum"
)
UNDECIDED = Gauge(
    "riskline_transactions_undecided", "Accepted transactions without a decision.", multiprocess_mode="mostrecent"
)
OLDEST_SECONDS = Gauge(
    "riskline_oldest_undecided_seconds", "Age of the oldest undecided transaction.", multiprocess_mode="mostrecent"
)
QUEUE_LIMIT = Gauge(
    "riskline_queue_limit_transactions",
    "The most undecided transactions; further submissions are refused.",
    multiprocess_mode="mostrecent",
)
FAILED = Gauge(
    "riskline_transactions_failed", "Failed transactions that can be replayed.", multiprocess_mode="mostrecent"
)
WORKERS = Gauge("riskline_workers", "Live workers.", multiprocess_mode="mostrecent")
WORKERS_NEEDED = Gauge(
    "riskline_workers_needed",
    "Workers that the present load and backlog need; absent until the arrival rate is known.",
    ["queue"],
    multiprocess_mode="mostrecent",
)
WORKER_PACE = Gauge(
    "riskline_worker_pace_per_second",
    "Transactions that one worker decides in a second when it is never idle.",
    ["queue"],
    multiprocess_mode="mostrecent",
)
CALLBACKS_PENDING = Gauge(
    "riskline_callbacks_pending", "Callbacks neither delivered nor given up.", multiprocess_mode="mostrecent"
)
CALLBACKS_OVERDUE_SECONDS = Gauge(
    "riskline_callbacks_overdue_seconds",
    "Time that a due callback has waited without any delivery worker taking one.",
    multiprocess_mode="mostrecent",
)
CALLBACKS_DEAD = Gauge(
    "riskline_callbacks_dead", "Callbacks given up that can be sent again.", multiprocess_mode="mostrecent"
)
CLASS_ERRORS = Counter(
    "riskline_transaction_class_errors",
    "Unexpected errors of the transaction class at the HTTP doors.",
)
RECEIVERS_PAUSED = Gauge(
    "riskline_callback_receivers_paused",
    "Receivers paused after too many failed attempts in a row.",
    multiprocess_mode="mostrecent",
)
CALLBACKS_HELD = Gauge(
    "riskline_callbacks_held", "Callbacks that wait for paused receivers.", multiprocess_mode="mostrecent"
)
RATE_LIMITED = Counter(
    "riskline_rate_limited_requests", "Requests refused by the rate limit of their API key.", ["key"]
)
REDIS_UP = Gauge("riskline_redis_up", "1 where Redis answers each process, else 0.", multiprocess_mode="livemin")
REDIS_MEMORY = Gauge(
    "riskline_redis_memory_used_bytes", "Memory that Redis reports as used.", multiprocess_mode="mostrecent"
)
REDIS_MEMORY_LIMIT = Gauge(
    "riskline_redis_memory_limit_bytes",
    "Redis's maxmemory, above which it refuses writes; 0 where it has none.",
    multiprocess_mode="mostrecent",
)
STORE_LOSSES = Gauge(
    "riskline_store_losses",
    "Shards of the store with a loss of data that no operator has accepted.",
    multiprocess_mode="mostrecent",
)
REDIS_CLOCK_AHEAD = Gauge(
    "riskline_redis_clock_ahead_seconds",
    "Seconds by which Redis's clock is ahead of the API's; negative where it is behind.",
    multiprocess_mode="mostrecent",
)
HISTORY_AWAY = Gauge(
    "riskline_history_away",
    "1 where a process decides without history, as its Redis does not answer, else 0.",
    multiprocess_mode="livemax",
)
HISTORY_AWAY_SECONDS = Counter(
    "riskline_history_away_seconds", "Seconds for which processes decided without history, or refused to."
)
HISTORY_OBSERVATIONS = Counter(
    "riskline_history_observations",
    "Transactions that were added to the history, or not: added, late, repeated, too_old, dropped, unreadable.",
    ["outcome"],
)
HISTORY_PENDING = Gauge(
    "riskline_history_pending",
    "Transactions that are yet to be added to the history, as it was away.",
    multiprocess_mode="livesum",
)
HISTORY_CALL_SECONDS = Histogram(
    "riskline_history_call_duration_seconds",
    "Time of a round trip to the history's Redis.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
)
HISTORY_CALL_TRANSACTIONS = Histogram(
    "riskline_history_call_transactions",
    "Transactions that shared a round trip to the history's Redis.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
REDIS_FAULTS = Counter("riskline_redis_faults", "Failed calls of Redis.", ["call"])
MODEL_INFO = Gauge("riskline_model_info", "1 for the serving model version.", ["version"], multiprocess_mode="livemax")
MODEL_PROCESSES = Gauge(
    "riskline_model_processes",
    "Processes of the installation that serve a model version.",
    ["kind", "version"],
    multiprocess_mode="mostrecent",
)
MODEL_REFUSALS = Gauge(
    "riskline_model_refusals",
    "Processes of the installation that do not serve their wanted version.",
    multiprocess_mode="mostrecent",
)


class Tally:
    """Counts and times frequent events, and adds them to the metrics once a turn of the event loop.

    With several processes a metric is a memory-mapped file: writing it for each request costs as much as a score. A
    busy turn has a dozen requests, and is over before a client could ask for the metrics.
    """

    def __init__(
        self, counter: Counter, histogram: Histogram | None = None, buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> None:
        """`buckets` are those of the histogram."""
        self._counter = counter
        self._histogram = histogram
        self._bounds = buckets
        self._count = 0
        self._sum = 0.0
        self._buckets: dict[int, int] = {}

    def add(self) -> None:
        """Counts one event."""
        if self._count == 0:
            asyncio.get_running_loop().call_soon(self.flush)
        self._count += 1

    def add_observed(self, value: float) -> None:
        """Counts one event with its value for the histogram: its duration in seconds, or its probability."""
        # as `add` does: a call for each decision would cost as much as the sum
        if self._count == 0:
            asyncio.get_running_loop().call_soon(self.flush)
        self._count += 1
        self._sum += value
        bucket = bisect_left(self._bounds, value)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def flush(self) -> None:
        """Adds the counts since the last flush to the metrics."""
        self._counter.inc(self._count)
        if self._histogram is not None:
            # what Histogram.observe does for one, for all of them
            self._histogram._sum.inc(self._sum)  # noqa: SLF001  # there is no public way to add many
            for bucket, count in self._buckets.items():
                self._histogram._buckets[bucket].inc(count)  # noqa: SLF001  # same
            self._buckets.clear()
            self._sum = 0.0
        self._count = 0


def forget_dead_processes() -> None:
    """Removes the gauges of dead processes that shared the port."""
    directory = os.environ.get(MULTIPROCESS_VARIABLE)
    if directory is None:
        return
    for pid in {int(path.stem.rpartition("_")[2]) for path in Path(directory).glob("gauge_live*_*.db")}:
        if not _lives(pid):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def exposition() -> bytes:
    """All metrics as Prometheus text, summed over the processes that share the port."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
