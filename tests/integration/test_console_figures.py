"""What the console's overview shows is what /metrics and the feed say."""

import json
import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from riskline.ingest.console.frame.rendering import duration
from riskline.shared.model.registry import Registry
from riskline.shared.telemetry.histograms import PROBABILITY
from tests.integration.running import RunningUp, eventually
from tests.integration.swapping import write_forests
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

AT_ONCE, QUEUED = 90, 30
DOORS = {"/score-transaction": "At once", "/transactions": "Queue: submitted"}


def overview(up: RunningUp) -> str:
    return unescape(up.read("/console").decode())


def actions_shown(page: str) -> dict[str, str]:
    """The share of each action in percent, of those that there are."""
    found = re.findall(r"</svg> (APPROVE|REVIEW|DECLINE) ([\d.]+) %", page)
    return {name: share for name, share in found if share != "0.0"}


def shares(counts: Counter[str]) -> dict[str, str]:
    return {name: f"{100 * count / counts.total():.1f}" for name, count in counts.items() if count}


def scores_shown(page: str) -> dict[str, int]:
    """The number of decisions in each bar that there is, by where the bar begins."""
    found = re.findall(r"<title>([\d.]+) to [\d.]+: ([\d,]+)</title>", page)
    return {begin: int(number.replace(",", "")) for begin, number in found}


def test_the_overview_agrees_with_the_feed_and_the_metrics(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    (version,) = write_forests(tmp_path / "models", 1, trees=5, depth=4)
    Registry(tmp_path / "models").activate(version)
    environment = {**demo_environment, "RISKLINE_MODELS": str(tmp_path / "models")}
    with RunningUp(tmp_path / "data", environment=environment) as up:
        assert eventually(lambda: "<dt>Undecided</dt><dd>0<" in overview(up) and 'id="decided">0<' in overview(up))
        for number in range(AT_ONCE + QUEUED):
            values = {"amount": 1.5 + 60 * number, "distance_from_home": 4.0 * number}
            body = json.dumps(transaction_json(transaction_id=f"t-{number}", **values)).encode()
            up.request("POST", "/score-transaction" if number < AT_ONCE else "/transactions", body)
        assert eventually(lambda: sum(scores_shown(overview(up)).values()) == AT_ONCE + QUEUED)
        shown = overview(up)
        feed = up.request("GET", "/decisions?limit=1000")[1]["decisions"]
        families = text_string_to_metric_families(up.read("/metrics").decode())
        samples = [sample for family in families for sample in family.samples]
        expected_times = times_told(samples)
        # the last answer's time is told a second after its decision at the latest
        eventually(lambda: times_shown(overview(up)) == expected_times)
        times = times_shown(overview(up))

    decided = [each.get("decision", each) for each in feed]
    assert f'id="decided">{AT_ONCE + QUEUED}<' in shown
    assert len(decided) == AT_ONCE + QUEUED
    assert actions_shown(shown) == shares(Counter(each["action"] for each in decided))
    places = Counter(sum(each["fraud_probability"] > bound for bound in PROBABILITY.bounds) for each in decided)
    begins = [0.0, *PROBABILITY.bounds]
    assert scores_shown(shown) == {f"{begins[place]:.2f}": count for place, count in places.items()}
    assert len(scores_shown(shown)) > 2
    at_once: Counter[str] = Counter()
    for sample in samples:
        if sample.name in ("riskline_decisions_total", "riskline_queue_decisions_total"):
            at_once[sample.labels["action"]] += int(sample.value)
    assert actions_shown(shown) == shares(at_once)
    assert times == expected_times


def times_shown(page: str) -> list[list[str]]:
    """The quantiles of both doors that are HTTP, as they stand there."""
    rows = [page.partition(f'<th scope="row">{door}</th>')[2].partition("</tr>")[0] for door in DOORS.values()]
    return [re.findall(r"[\d.,]+ ms", row) for row in rows]


def times_told(samples: list[Sample]) -> list[list[str]]:
    """The same from the histograms of /metrics."""
    found = []
    for route in DOORS:
        below = sorted(
            (float(sample.labels["le"]), sample.value)
            for sample in samples
            if sample.name == "riskline_http_request_duration_seconds_bucket"
            and (sample.labels["route"], sample.labels["waits"]) == (route, "no")
        )
        found.append([duration(quantile(below, part)) for part in (0.5, 0.95, 0.99)])
    return found


def quantile(below: list[tuple[float, float]], part: float) -> float:
    """As Prometheus's histogram_quantile has it."""
    rank = part * below[-1][1]
    start, count = 0.0, 0.0
    for bound, number in below:
        if number >= rank:
            return start + (bound - start) * (rank - count) / (number - count)
        start, count = bound, number
    raise AssertionError(below)
