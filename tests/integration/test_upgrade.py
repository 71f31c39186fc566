"""Two releases on one Redis, of which the later one keeps records otherwise: none is lost, none misread."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.apis import RunningApi
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

NEXT_RELEASE = Path(__file__).with_name("next_release")

MANY = 1500
"""Several batches of a worker, of each release's records."""


class Releases:
    """APIs and workers of two releases, on one Redis."""

    def __init__(self, redis: OwnRedis, environment: Mapping[str, str], stack: ExitStack) -> None:
        self.redis = redis
        self.environments = {
            "old": {**environment, "REDIS_URL": redis.url},
            "new": {**environment, "REDIS_URL": redis.url, "PYTHONPATH": str(NEXT_RELEASE)},
        }
        self._stack = stack
        self.clients: dict[str, httpx.Client] = {}

    def api(self, release: str) -> None:
        running = self._stack.enter_context(RunningApi(self.redis.url, environment=self.environments[release]))
        client = httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=PATIENCE_SECONDS)
        self.clients[release] = self._stack.enter_context(client)

    def worker(self, release: str) -> Callable[[], str]:
        """Starts a worker; what is returned stops it, and answers what it said."""
        words = [sys.executable, "-m", "riskline.cli", "worker"]
        process = subprocess.Popen(
            words, env=self.environments[release], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

        def stop() -> str:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)
            return said

        self._stack.callback(stop)
        return stop

    def submit(self, release: str, first: int, count: int) -> None:
        rows = [transaction(number) for number in range(first, first + count)]
        answer = self.clients[release].post("/transactions/batch", json=rows)
        assert answer.json()["accepted"] == count, answer.text

    def undecided(self) -> int:
        return int(self.redis.client().zcard("riskline:{0}:undecided"))

    def states(self, release: str, numbers: range) -> list[dict[str, Any]]:
        return [
            self.clients[release].get(f"/transactions/{transaction(each)['transaction_id']}").json() for each in numbers
        ]


def transaction(number: int) -> dict[str, Any]:
    """Every other one is above the amount at which the stump sees fraud."""
    return transaction_json(transaction_id=f"t-{number}", amount=2000 if number % 2 else 500)


def probability(number: int) -> float:
    return 0.9 if number % 2 else 0.1


@pytest.fixture
def releases(redis: OwnRedis, demo_environment: dict[str, str], tmp_path: Path) -> Iterator[Releases]:
    with ExitStack() as stack:
        yield Releases(redis, {**demo_environment, "RISKLINE_DATA": str(tmp_path)}, stack)


def audit(releases: Releases) -> dict[str, int]:
    report = json.loads(riskline("doctor", "--audit", "--json", environment=releases.environments["old"]).stdout)
    assert report["healthy"], report
    return report["counts"]


@pytest.mark.slow
def test_apis_and_workers_of_both_releases_work_beside_each_other(releases: Releases) -> None:
    for release in ("old", "new"):
        releases.api(release)
        releases.worker(release)

    for part in range(4):
        releases.submit("new", 2 * part * MANY, MANY)
        releases.submit("old", (2 * part + 1) * MANY, MANY)
    total = 8 * MANY
    eventually(lambda: releases.undecided() == 0)

    counts = audit(releases)
    assert (counts["accepted"], counts["decided"], counts["failed"]) == (total, total, 0)
    for release in ("old", "new"):
        looked_at = range(0, total, 97)
        for number, state in zip(looked_at, releases.states(release, looked_at), strict=True):
            assert state["status"] == "scored", state
            assert state["decision"]["fraud_probability"] == probability(number)


def test_a_worker_leaves_what_a_later_release_accepted_to_its_workers_and_decides_all_else(releases: Releases) -> None:
    releases.api("new")
    releases.api("old")
    stop_old = releases.worker("old")

    releases.submit("new", 0, 600)
    releases.submit("old", 600, 600)
    eventually(lambda: releases.undecided() == 600)

    assert {state["status"] for state in releases.states("old", range(600, 1200, 50))} == {"scored"}
    assert {state["status"] for state in releases.states("old", range(0, 600, 50))} == {"queued"}
    again = releases.clients["old"].post("/transactions", json=transaction(0))
    assert (again.status_code, again.json()["status"]) == (202, "queued")
    assert "left to its workers" in stop_old()
    releases.worker("new")
    eventually(lambda: releases.undecided() == 0)
    counts = audit(releases)
    assert (counts["accepted"], counts["decided"], counts["failed"]) == (1200, 1200, 0)
    for number, state in zip(range(0, 1200, 31), releases.states("old", range(0, 1200, 31)), strict=True):
        assert state["decision"]["fraud_probability"] == probability(number)


def test_a_later_release_decides_what_the_one_before_accepted(releases: Releases) -> None:
    releases.api("old")
    releases.submit("old", 0, 300)
    releases.api("new")
    releases.worker("new")

    eventually(lambda: releases.undecided() == 0)

    assert releases.clients["new"].post("/transactions", json=transaction(1)).json()["status"] == "scored"
    assert releases.clients["new"].post("/transactions", json={**transaction(1), "amount": 1}).status_code == 409
    assert {state["status"] for state in releases.states("new", range(300))} == {"scored"}
