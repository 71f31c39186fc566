"""The dashboard and the alert rules ask for metrics that there are, and each alert says where to read what to do."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.core import Metric

from riskline.ingest.background.exported_metrics import ExportedMetrics
from tests.support.api import Api

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RUNBOOK = ROOT / "docs" / "how-to" / "respond-to-alerts.md"
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "riskline.json").read_text())
RULES = [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    **{f"panel {panel['title']}: {target['expr']}": target["expr"] for panel in PANELS for target in panel["targets"]},
    **{rule.get("alert") or rule["record"]: rule["expr"] for rule in RULES},
}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
NAME = re.compile(r"\briskline[a-z0-9_:]*[a-z0-9]")
STRINGS = re.compile(r'"[^"]*"')


def names_of(metric: Metric) -> set[str]:
    return {metric.name + suffix for suffix in SUFFIXES.get(metric.type, ("",))}


@pytest.fixture(scope="module")
def metrics() -> dict[str, Metric]:
    """All of ours by each name that they have in a query."""
    api = Api()
    kept = ExportedMetrics(api.backlog, api.processes, api.worker_need)
    return {name: each for each in [*REGISTRY.collect(), *kept.describe()] for name in names_of(each)}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_names_only_metrics_that_there_are(query: str, metrics: dict[str, Metric]) -> None:
    names = set(NAME.findall(STRINGS.sub('""', query)))

    assert names or "up{" in query
    assert names <= metrics.keys() | RECORDED


def test_metrics_are_named_by_the_conventions(metrics: dict[str, Metric]) -> None:
    for name, metric in metrics.items():
        if not name.startswith("riskline_"):
            continue
        assert ":" not in name
        assert metric.documentation.endswith(".")
        assert (metric.type == "counter") == name.endswith("_total")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)\b", name)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/how-to/respond-to-alerts.md#{alert.lower()}"
    assert headings.count(alert) == 1


def test_the_runbook_has_no_section_of_an_alert_that_there_is_not() -> None:
    assert set(re.findall(r"^## (Riskline\w+)$", RUNBOOK.read_text(), re.MULTILINE)) == ALERTS.keys()


def test_each_alert_is_tested_for_firing_and_for_not_firing() -> None:
    files = (MONITORING / "alerts_test.yml", MONITORING / "alerts_long_test.yml")
    cases = [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]
    fires = {(test["alertname"], bool(test["exp_alerts"])) for case in cases for test in case["alert_rule_test"]}

    assert fires == {(alert, does) for alert in ALERTS for does in (True, False)}


def test_the_dashboards_panels_have_each_a_place_and_an_id_of_their_own() -> None:
    ids = Counter(panel["id"] for panel in DASHBOARD["panels"])
    taken: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
        assert all(x < 24 for x, _ in cells)
        taken.update(cells)

    assert max(ids.values()) == max(taken.values()) == 1
    assert all(panel["title"] for panel in DASHBOARD["panels"])


def test_the_dashboard_uses_the_datasource_that_is_provisioned() -> None:
    provisioning = MONITORING / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    [variable] = DASHBOARD["templating"]["list"]
    used: set[Any] = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}

    assert variable["current"]["value"] == source["uid"]
    assert used == {f"${{{variable['name']}}}"}
    assert yaml.safe_load((provisioning / "dashboards" / "riskline.yml").read_text())["providers"]


def test_an_empty_key_is_as_good_as_none_where_none_is_asked_for() -> None:
    # what Prometheus sends where the file of its key is empty
    assert Api().client.simulate_get("/metrics", headers={"Authorization": "Bearer "}).status_code == 200
