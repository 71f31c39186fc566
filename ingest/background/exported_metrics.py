"""The metrics that are counted in Redis for all processes and restarts together, as of the last read.

Each API process exports the same numbers: over several APIs take their `max`, never their sum. Where Redis was away at
the last read none are exported, since unknown is not 0. The queue's are left out, too, until every shard of the store
has been read once: a shard's total would otherwise count as the work of one second.
"""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from riskline.shared.store.status.counts import CALLBACK_TOTALS, TRANSACTION_TOTALS, Counts
from riskline.shared.store.status.tallies import SCORE, WITHOUT_HISTORY, Measured, Tallied
from riskline.shared.telemetry.histograms import ATTEMPT_SECONDS, BATCH, PROBABILITY, QUEUE_SECONDS, Measure

LITTLE = 0.1
"""The part of a counter by which it may go back and is still exported at its former value: a replica that takes over
may lack the last seconds. Prometheus takes any step back for a restart from 0, and would count everything again. A
histogram's number of values decides for all its buckets alike, since each bucket includes the one below."""

Labels = tuple[tuple[str, str], ...]

MEASURES = {
    "batch": (BATCH, "riskline_worker_batch_transactions", "Transactions that a worker assessed together."),
    "queue_seconds": (
        QUEUE_SECONDS,
        "riskline_queue_duration_seconds",
        "Time from a transaction's acceptance to its decision by a worker.",
    ),
    "attempt_seconds": (
        ATTEMPT_SECONDS,
        "riskline_callback_attempt_duration_seconds",
        "Time that an attempt to deliver a callback took.",
    ),
}


class QueueStatus(Protocol):
    """The queue's counts as of the last read."""

    @property
    def counts(self) -> Counts | None:
        """None where Redis failed it."""


class WorkerTotals(Protocol):
    """The workers' counts as of the last read; None where Redis failed."""

    decided: Tallied | None
    measured: Measured | None


class WorkerTimes(Protocol):
    """The workers' busy time as of the last read."""

    busy_seconds: float | None
    """None where Redis failed it."""


class ExportedMetrics(Collector):
    """The Prometheus collector of these counts."""

    def __init__(self, queue: QueueStatus, workers: WorkerTotals, times: WorkerTimes) -> None:
        self._queue = queue
        self._workers = workers
        self._times = times
        self._last: dict[tuple[str, Labels], float] = {}
        self._last_totals: dict[tuple[str, Labels], float] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> bytes:
        """The metrics as Prometheus text."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """The metrics that there can be, without numbers."""
        yield from (*_totals(Counts()), *_decided(Tallied()), *_measured(Measured()), _busy(0.0))

    def collect(self) -> Iterator[Metric]:
        """The metrics as of the last read."""
        counts, decided, measured = self._queue.counts, self._workers.decided, self._workers.measured
        if counts is not None and counts.whole:
            yield from map(self._steady, _totals(counts))
        if decided is not None:
            yield from map(self._steady, _decided(decided))
        if measured is not None:
            yield from map(self._steady, _measured(measured))
        if self._times.busy_seconds is not None:
            yield self._steady(_busy(self._times.busy_seconds))

    def _steady(self, metric: Metric) -> Metric:
        anew = self._began_anew(metric)
        for place, sample in enumerate(metric.samples):
            key = (sample.name, tuple(sample.labels.items()))
            last = 0.0 if _series(sample) in anew else self._last.get(key, 0.0)
            self._last[key] = max(last, sample.value)
            metric.samples[place] = sample._replace(value=self._last[key])
        return metric

    def _began_anew(self, metric: Metric) -> set[Labels]:
        """The series of this metric that went back by more than LITTLE, and so began anew."""
        totals: dict[Labels, float] = {}
        for sample in metric.samples:
            if not sample.name.endswith("_sum"):
                series = _series(sample)
                totals[series] = max(totals.get(series, 0.0), sample.value)
        anew = set()
        for series, total in totals.items():
            last = self._last_totals.get((metric.name, series), 0.0)
            if total <= last * (1 - LITTLE):
                anew.add(series)
                last = 0.0
            self._last_totals[metric.name, series] = max(last, total)
        return anew


def _series(sample: Sample) -> Labels:
    return tuple(each for each in sample.labels.items() if each[0] != "le")


def _totals(counts: Counts) -> Iterator[Metric]:
    transactions = CounterMetricFamily(
        "riskline_queue_transactions",
        "Transactions that were ever accepted, decided, failed and so on, all processes and restarts together.",
        labels=["event"],
    )
    for total in TRANSACTION_TOTALS:
        transactions.add_metric([total], getattr(counts, total))
    callbacks = CounterMetricFamily(
        "riskline_callbacks",
        "Callbacks that were ever announced, attempted, delivered and so on, all processes and restarts together.",
        labels=["event"],
    )
    for total in CALLBACK_TOTALS:
        callbacks.add_metric([total.removeprefix("callbacks_")], getattr(counts, total))
    yield from (transactions, callbacks)


def _decided(decided: Tallied) -> Iterator[Metric]:
    decisions = CounterMetricFamily(
        "riskline_queue_decisions",
        "Decisions that workers have made, by action and model version, all processes and restarts together.",
        labels=["action", "model_version"],
    )
    probabilities = HistogramMetricFamily(
        "riskline_queue_fraud_probability", "Fraud probabilities of these decisions.", labels=["model_version"]
    )
    parts: dict[str, dict[str, int]] = {}
    for (version, what), number in decided.items():
        if what.startswith(SCORE):
            parts.setdefault(version, {})[what.removeprefix(SCORE)] = number
        else:
            decisions.add_metric([what, version], number)
    for version, counts in parts.items():
        _add(probabilities, [version], PROBABILITY, counts)
    yield from (decisions, probabilities)


def _measured(measured: Measured) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "riskline_callback_attempts",
        "Attempts to deliver a callback, by the class of the answer's status, or why there was none.",
        labels=["outcome"],
    )
    without_history = CounterMetricFamily(
        "riskline_queue_decisions_without_history",
        "Decisions that workers have made without the history of their transaction, all processes and restarts "
        "together.",
        labels=[],
    )
    parts: dict[str, dict[str, int]] = {name: {} for name in MEASURES}
    for field, number in measured.items():
        if field.measure == "attempts":
            attempts.add_metric([field.label], number)
        elif field.measure == WITHOUT_HISTORY:
            without_history.add_metric([], number)
        elif field.measure in parts:
            parts[field.measure][field.part] = number
    yield from (attempts, without_history)
    for name, (measure, family_name, about) in MEASURES.items():
        family = HistogramMetricFamily(family_name, about, labels=[])
        if parts[name]:
            _add(family, [], measure, parts[name])
        yield family


def _busy(seconds: float) -> Metric:
    return CounterMetricFamily(
        "riskline_worker_busy_seconds", "Time that workers have spent on batches, all of them together.", value=seconds
    )


def _add(family: HistogramMetricFamily, labels: list[str], measure: Measure, counts: dict[str, int]) -> None:
    buckets, total = measure.shown(counts)
    family.add_metric(labels, buckets=buckets, sum_value=total)
