"""Real Prometheus, real service: every query of the dashboard finds data, every rule is taken, every name is good."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from riskline.shared.webhooks.signing import new_secret
from tests.bench.processes import free_port
from tests.integration.receivers import Receiver, Reply
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
INSTALL = "is not installed: on Debian `apt-get install --no-install-recommends prometheus` has it"
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason=f"promtool {INSTALL}")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason=f"prometheus {INSTALL}")

LOAD_SECONDS = 25.0
"""Long enough for several scrapes and evaluations, so that every rate has its two samples."""
REDIS_HANGS_SECONDS = 5.0
"""Longer than RISKLINE_REDIS_TIMEOUT and the attempts that follow it."""

CANNOT_BE: dict[str, str] = {
    "max(riskline_redis_memory_limit_bytes) > 0": "the Redis of `riskline up` has no maxmemory",
    "sum by (door) (rate(riskline_decisions_without_history_total[20s]))": "the demo's class has no history",
    "max(rate(riskline_queue_decisions_without_history_total[20s]))": "the demo's class has no history",
}
"""Queries that have to find nothing here."""


def promtool(*words: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROMTOOL, *words], input=given, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


@needs_promtool
def test_rules_and_configuration_are_valid_and_every_alert_fires_and_stays_silent_when_it_should() -> None:
    for words in (
        # the file of the key is not there
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("test", "rules", "alerts_long_test.yml"),
    ):
        ended = promtool(*words[:-1], MONITORING / words[-1])
        assert ended.returncode == 0, ended.stdout + ended.stderr


class Client:
    """Sends what makes numbers, with a key."""

    def __init__(self, up: RunningUp, key: str, callback_url: str) -> None:
        self._port = up.state["port"]
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._callback_url = callback_url
        self.stopping = threading.Event()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        response = connection.getresponse()
        answer = response.read().decode()
        connection.close()
        return response.status, answer

    def run(self, name: str) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            body = transaction_json(transaction_id=f"{name}-{number}", amount=float(number * 97 % 2000 + 1))
            with suppress(OSError, http.client.HTTPException):
                self.ask("POST", "/score-transaction", body)
                self.ask("POST", "/score-transaction", {"amount": -1})
                self.ask("POST", "/transactions", {**body, "callback_url": self._callback_url})
                self.ask("GET", f"/transactions/{name}-{number}?wait=1")
                self.ask("GET", f"/transactions/{name}-{number}")
            time.sleep(0.02)


@contextmanager
def load(client: Client) -> Iterator[None]:
    threads = [threading.Thread(target=client.run, args=(f"c{n}",)) for n in range(3)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        client.stopping.set()
        for each in threads:
            each.join()


class Prometheus:
    """A server of the test's own, over the files as they are shipped but for addresses and intervals."""

    def __init__(self, directory: Path, *, api_port: int, key: str) -> None:
        self.port = free_port()
        (directory / "key").write_text(key)
        config = (MONITORING / "prometheus.yml").read_text()
        for pattern, replacement in (
            (r'"api:8000"', f'"127.0.0.1:{api_port}"'),
            (r"(scrape|evaluation)_interval: 15s", r"\1_interval: 2s"),
            (r"- alerts.yml", f"- {MONITORING / 'alerts.yml'}"),
            (r"/etc/prometheus/riskline-key", f"{directory}/key"),
        ):
            config, found = re.subn(pattern, replacement, config)
            assert found, pattern
        (directory / "prometheus.yml").write_text(config)
        words = [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/tsdb"]
        words += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        self.process = subprocess.Popen([PROMETHEUS, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, path: str, **parameters: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def is_up(self) -> bool:
        # it says "Service Unavailable" while it starts
        with suppress(OSError, ValueError):
            targets = self.ask("targets")["activeTargets"]
            return bool(targets) and all(each["health"] == "up" for each in targets)
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


@needs_promtool
@needs_prometheus
def test_every_query_of_the_dashboard_finds_data_of_a_running_service(
    tmp_path: Path, demo_environment: Mapping[str, str]
) -> None:
    made = riskline(
        *("keys", "new", "--name", "all", "--scope", "admin", "--print-setting"), environment=demo_environment
    ).stdout.split()
    key = next(each for each in made if each.startswith("rk_"))
    own = {"RISKLINE_CALLBACK_SECRET": new_secret(), "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32"}
    own |= {
        "RISKLINE_API_KEYS": next(each for each in made if each.startswith("all:")),
        "RISKLINE_CALLBACK_SCHEDULE": "0,1",
        "RISKLINE_REDIS_TIMEOUT": "0.5",
    }
    environment = {**demo_environment, **own}
    # a part of them fails, and is given up
    answers = Receiver(lambda request: Reply(500 if b"APPROVE" in request.body else 204))
    with answers as receiver, RunningUp(tmp_path / "d", environment=environment, flags=("--processes", "2")) as up:
        client = Client(up, key, receiver.url)
        prometheus = Prometheus(tmp_path, api_port=up.state["port"], key=key)
        try:
            eventually(prometheus.is_up)
            with load(client):
                time.sleep(LOAD_SECONDS / 2)
                redis_pid = up.state["children"]["Redis"]
                os.kill(redis_pid, signal.SIGSTOP)
                time.sleep(REDIS_HANGS_SECONDS)
                os.kill(redis_pid, signal.SIGCONT)
                time.sleep(LOAD_SECONDS / 2)
                found = {query: prometheus.ask("query", query=query)["result"] for query in dashboard_queries()}
                rules = [each for group in prometheus.ask("rules")["groups"] for each in group["rules"]]
            linted = promtool("check", "metrics", given=client.ask("GET", "/metrics")[1])
        finally:
            prometheus.stop()

    assert {query for query, result in found.items() if not result} == CANNOT_BE.keys()
    assert {each["name"] for each in rules if each["health"] != "ok"} == set()
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def dashboard_queries() -> list[str]:
    panels = json.loads((MONITORING / "grafana" / "dashboards" / "riskline.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [query.replace("$__rate_interval", "20s") for query in queries]
