"""What is counted in Redis is shown as counters and histograms that Prometheus can take rates of."""

from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from riskline.ingest.background.exported_metrics import ExportedMetrics
from riskline.shared.store.status.counts import Counts
from riskline.shared.store.status.tallies import SCORE, WITHOUT_HISTORY, Field, measured
from riskline.shared.telemetry.histograms import ATTEMPT_SECONDS, BATCH, PROBABILITY, QUEUE_SECONDS, Measure
from riskline.worker.scoring.measurements import measured_attempt
from tests.support.api import Api


class Seen:
    """The last look."""

    counts: Counts | None = None
    decided: Any = None
    measured: Any = None
    busy_seconds: float | None = None


def shown(kept: ExportedMetrics) -> dict[str, float]:
    families = text_string_to_metric_families(kept.exposition().decode())
    samples = [sample for each in families for sample in each.samples]
    return {"|".join((name, *(labels[each] for each in sorted(labels)))): value for name, labels, value, *_ in samples}


def test_nothing_is_shown_of_a_redis_that_is_away_not_even_zeros() -> None:
    kept = ExportedMetrics(Seen(), Seen(), Seen())

    assert kept.exposition() == b""


def test_what_was_ever_counted_are_counters_and_what_was_measured_are_histograms() -> None:
    seen = Seen()
    seen.counts = Counts(accepted=7, decided=5, callbacks_dead=2)
    seen.decided = Counter({("v1", "DECLINE"): 3, ("v1", SCORE + "0.9"): 2, ("v1", SCORE + "+Inf"): 1})
    seen.decided["v1", SCORE + "sum"] = 27_500
    seen.busy_seconds = 2.5
    seen.measured = measured("batch", BATCH.counted([1, 3, 256])) + measured("attempts", {"number": 4}, "5xx")
    seen.measured += measured(WITHOUT_HISTORY, {"number": 6})

    told = shown(ExportedMetrics(seen, seen, seen))

    assert told["riskline_queue_transactions_total|accepted"] == 7
    assert told["riskline_callbacks_total|dead"] == 2
    assert told["riskline_queue_decisions_total|DECLINE|v1"] == 3
    assert told["riskline_queue_fraud_probability_bucket|0.85|v1"] == 0
    assert told["riskline_queue_fraud_probability_bucket|0.9|v1"] == 2
    assert told["riskline_queue_fraud_probability_count|v1"] == 3
    assert told["riskline_queue_fraud_probability_sum|v1"] == 2.75
    assert told["riskline_worker_batch_transactions_bucket|2.0"] == 1
    assert told["riskline_worker_batch_transactions_sum"] == 260
    assert told["riskline_callback_attempts_total|5xx"] == 4
    assert told["riskline_queue_decisions_without_history_total"] == 6
    assert told["riskline_worker_busy_seconds_total"] == 2.5


def test_a_replica_that_lacks_the_last_second_does_not_look_like_a_million_decisions() -> None:
    seen = Seen()
    kept = ExportedMetrics(seen, seen, seen)
    name = "riskline_queue_transactions_total|decided"
    seen.counts = Counts(decided=1_000_000)
    assert shown(kept)[name] == 1_000_000

    seen.counts = Counts(decided=999_990)
    assert shown(kept)[name] == 1_000_000
    seen.counts = Counts(decided=1_000_004)
    assert shown(kept)[name] == 1_000_004
    seen.counts = Counts(decided=12)
    assert shown(kept)[name] == 12


@pytest.mark.parametrize(
    ("later", "smalls", "count", "total"),
    [
        # a tenth of all is gone: it began anew, in each bucket
        ([1] * 95 + [256], 95, 96, 351),
        # a few are gone, and of the large ones more than a tenth
        ([1] * 99 + [256] * 5, 100, 108, 2_148),
        # a few are gone, and more have come
        ([1] * 95 + [256] * 20, 100, 115, 5_215),
    ],
)
def test_a_histogram_is_held_in_all_its_buckets_or_in_none(
    later: list[float], smalls: int, count: int, total: int
) -> None:
    seen = Seen()
    kept = ExportedMetrics(seen, seen, seen)
    seen.measured = measured("batch", BATCH.counted([1] * 100 + [256] * 8))
    kept.exposition()

    seen.measured = measured("batch", BATCH.counted(later))
    told = shown(kept)

    name = "riskline_worker_batch_transactions"
    buckets = [told[f"{name}_bucket|{bound}"] for bound in (*map(float, BATCH.bounds), "+Inf")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1], told[f"{name}_count"], told[f"{name}_sum"]) == (smalls, count, count, total)


@pytest.mark.parametrize("measure", [PROBABILITY, BATCH, QUEUE_SECONDS, ATTEMPT_SECONDS])
def test_a_value_at_a_bound_is_in_its_bucket_and_what_is_shown_is_what_was_counted(measure: Measure) -> None:
    values = [*measure.bounds, measure.bounds[-1] * 2]

    counts = measure.counted(values)
    buckets, total = measure.shown(counts)

    assert [bound for bound, _ in buckets] == [*(str(float(each)) for each in measure.bounds), "+Inf"]
    assert [number for _, number in buckets] == list(range(1, len(values) + 1))
    assert total == pytest.approx(sum(values), rel=1e-4)


def test_counts_of_another_releases_buckets_are_not_lost() -> None:
    buckets, _ = Measure((1, 4), 1).shown({"2.0": 5, "9.0": 1, "sum": 19})

    assert buckets == [("1.0", 0), ("4.0", 5), ("+Inf", 6)]


def test_what_another_release_counts_beside_its_buckets_is_left_out() -> None:
    seen = Seen()
    seen.measured = measured("batch", {"1.0": 2, "zz": 7, "nan": 1, "sum": 2})
    seen.decided = Counter({("v1", SCORE + "zz"): 1, ("v1", SCORE + "0.9"): 2})

    told = shown(ExportedMetrics(seen, seen, seen))

    assert told["riskline_worker_batch_transactions_count"] == 2
    assert told["riskline_queue_fraud_probability_count|v1"] == 2


@pytest.mark.parametrize(
    ("status", "latency_ms", "outcome"),
    [(204, 1.5, "2xx"), (503, 80.0, "5xx"), (None, 10_000.0, "no_answer"), (None, None, "not_tried")],
)
def test_an_attempt_is_counted_by_how_it_went(status: int | None, latency_ms: float | None, outcome: str) -> None:
    counts = measured_attempt({"status": status, "latency_ms": latency_ms})

    assert counts[Field("attempts", outcome, "number")] == 1
    assert sum(number for field, number in counts.items() if field.part not in ("sum", "number")) == (
        latency_ms is not None
    )


def test_what_it_can_show_is_known_before_there_is_anything_to_show() -> None:
    seen = Seen()
    seen.counts, seen.decided = Counts(), Counter({("v1", "APPROVE"): 1})
    seen.measured = measured("attempts", {"number": 1}, "2xx")
    seen.busy_seconds = 1.0
    kept = ExportedMetrics(seen, seen, seen)

    assert {each.name for each in kept.describe()} == {each.name for each in kept.collect()}


def test_requests_that_ask_to_wait_are_timed_apart() -> None:
    api = Api()
    for path in ("/transactions/none", "/transactions/none?wait=0"):
        api.client.simulate_get(path)

    text = api.client.simulate_get("/metrics").text

    for waits in ("yes", "no"):
        name = "riskline_http_request_duration_seconds_count"
        assert f'{name}{{route="/transactions/{{transaction_id}}",waits="{waits}"}}' in text
