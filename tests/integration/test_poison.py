"""One bad transaction among many: it fails with its reason, the others are decided, and an operator can replay it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from riskline.cli.up.redis_server import probe
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually, riskline
from tests.integration.team_classes import RAISING_AGE, UNLUCKY_AGE
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

GOOD = 9_999

"""A lease, a turn of the sweep and a worker's start, with room for a busy machine."""


class Poisoned:
    """`riskline up` whose transaction class can do harm, and what was submitted to it."""

    def __init__(self, up: RunningUp, environment: dict[str, str]) -> None:
        self.up = up
        self.environment = environment
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{up.state['port']}", timeout=PATIENCE_SECONDS)

    def submit(self, *, bad_age: int) -> None:
        rows = [transaction_json(transaction_id=f"good-{i}") for i in range(GOOD)]
        rows.insert(GOOD // 2, transaction_json(transaction_id="bad", customer_age=bad_age))
        assert self.client.post("/transactions/batch", json=rows).json()["accepted"] == GOOD + 1

    def state(self, transaction_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get(f"/transactions/{transaction_id}").json()
        return answer

    def totals(self) -> dict[str, int]:
        with probe(self.up.state["redis_url"]) as store:
            found: Any = store.hgetall("riskline:{0}:totals")
        return {name.decode(): int(number) for name, number in found.items()}

    def queue(self) -> dict[str, Any]:
        queue: dict[str, Any] = self.client.get("/health/ready").json()["queue"] or {}
        return queue

    def command(self, *words: str, code: int = 0) -> str:
        done = riskline(*words, environment=self.environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def poisoned(tmp_path: Path, demo_environment: dict[str, str]) -> Iterator[Poisoned]:
    environment = {
        **demo_environment,
        "RISKLINE_TRANSACTION": "tests.integration.team_classes:Poisonous",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RISKLINE_DATA": str(tmp_path),
    }
    with RunningUp(tmp_path, environment=environment, flags=("--workers", "2")) as up:
        poisoned = Poisoned(up, environment)
        yield poisoned
        poisoned.client.close()


def test_a_transaction_that_makes_the_model_raise_fails_alone(poisoned: Poisoned) -> None:
    poisoned.submit(bad_age=RAISING_AGE)

    eventually(lambda: poisoned.state("bad")["status"] == "failed")

    assert poisoned.state("bad")["error"].startswith("deciding it raised RuntimeError at team_classes.py:")
    eventually(lambda: poisoned.totals() == {"accepted": GOOD + 1, "decided": GOOD, "failed": 1})


def test_a_transaction_that_kills_its_workers_delays_the_others_and_fails_after_three(
    poisoned: Poisoned,
) -> None:
    poisoned.submit(bad_age=UNLUCKY_AGE)

    eventually(lambda: poisoned.queue().get("undecided") in (0, 1))
    eventually(lambda: poisoned.state("bad")["status"] == "failed")

    assert poisoned.state("bad")["error"] == "3 processes were lost while they assessed it"
    assert {poisoned.state(f"good-{i}")["status"] for i in range(0, GOOD, 397)} == {"scored"}
    assert poisoned.totals() == {"accepted": GOOD + 1, "decided": GOOD, "failed": 1}
    report = json.loads(poisoned.command("doctor", "--audit", "--json"))
    assert report["healthy"]
    counts = report["counts"]
    assert (counts["accepted"], counts["decided"], counts["failed"], counts["undecided"]) == (GOOD + 1, GOOD, 1, 0)

    listed = json.loads(poisoned.command("transactions", "failed", "--json"))
    assert (listed["transaction_id"], listed["error"]) == ("bad", "3 processes were lost while they assessed it")


def test_a_failed_transaction_is_replayed_and_fails_again_or_is_decided(poisoned: Poisoned) -> None:
    poisoned.submit(bad_age=RAISING_AGE)
    eventually(lambda: poisoned.state("bad")["status"] == "failed")

    replayed = poisoned.command("transactions", "replay", "--all")

    assert replayed == "1 wait for a decision again\n"
    eventually(lambda: poisoned.queue().get("undecided") == 0)
    eventually(lambda: poisoned.state("bad")["status"] == "failed")
    assert "deciding it raised RuntimeError" in poisoned.command("transactions", "failed")
    assert "0 wait" in poisoned.command("transactions", "replay", "good-1", code=1)


def test_without_redis_the_commands_say_what_to_do(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    done = riskline("transactions", "failed", "--data", str(tmp_path), environment=demo_environment)

    assert done.returncode == 1
    assert done.stderr.startswith("riskline: no `riskline up` runs on")


def test_what_is_out_of_line_is_found_by_the_audit_and_put_back(
    tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    with (
        RunningUp(tmp_path, environment=environment) as up,
        httpx.Client(base_url=f"http://127.0.0.1:{up.state['port']}", timeout=PATIENCE_SECONDS) as client,
    ):
        client.post("/transactions", json=transaction_json(transaction_id="first"), headers={"Prefer": "wait=10"})
        store = redis.client()
        record = store.get("riskline:{0}:tx:first").replace(b"first", b"lost").replace(b"scored", b"queued")
        store.set("riskline:{0}:tx:lost", record)
        store.zadd("riskline:{0}:undecided", {"lost": time.time() * 1000})
        store.hincrby("riskline:{0}:totals", "accepted", 1)
        found = riskline("doctor", "--audit", environment=environment)

        put_back = riskline("transactions", "requeue", environment=environment)

        assert found.returncode == 1
        assert "1 (lost) undecided but not in line" in found.stdout
        assert put_back.stdout == "1 put in line again\n"
        assert client.get("/transactions/lost", params={"wait": 10}).json()["status"] == "scored"
        assert riskline("doctor", "--audit", environment=environment).returncode == 0
        store.close()
