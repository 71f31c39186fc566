"""The Prometheus metrics, named by Prometheus's conventions; no transaction's value or id is ever a label."""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

disable_created_metrics()  # type: ignore[no-untyped-call]

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own variable: set before this module is imported where several processes share a port."""

LATENCY_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("riskline_http_requests", "HTTP requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "riskline_http_request_duration_seconds", "Time to answer a request.", ["route"], buckets=LATENCY_BUCKETS
)
DECISIONS = Counter("riskline_decisions", "Decisions made, by door and action.", ["door", "action"])
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
REDIS_FAULTS = Counter("riskline_redis_faults", "Calls of Redis that failed.", ["call"])
MODEL_INFO = Gauge("riskline_model_info", "1 for the model version that serves.", ["version"], multiprocess_mode="max")


def exposition() -> bytes:
    """All metrics as Prometheus text, summed over the processes that share the port."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
