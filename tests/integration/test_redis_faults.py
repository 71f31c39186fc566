"""Each way in which Redis can fail has a declared behaviour (docs/explanation/reliability.md); here it is seen."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from riskline.ingest.problems.problem import NOT_KNOWN, REFUSED
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

FAULT_SECONDS = 3.0


class Service:
    """`riskline up` with a Redis of the test's own, and a client."""

    def __init__(self, up: RunningUp, redis: OwnRedis, environment: dict[str, str]) -> None:
        self.up = up
        self.redis = redis
        self.environment = environment
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{up.state['port']}", timeout=PATIENCE_SECONDS)
        self.accepted: list[str] = []
        self.refused: list[str] = []
        """Of which it was said that nothing was accepted."""

    def submit(self, name: str) -> int:
        answer = self.client.post("/transactions", json=transaction_json(transaction_id=name))
        if answer.status_code == httpx.codes.ACCEPTED:
            self.accepted.append(name)
        else:
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert int(answer.headers["retry-after"]) >= 1
            detail = answer.json()["detail"]
            assert detail in (REFUSED, NOT_KNOWN)
            self.refused += [name] if detail == REFUSED else []
        return answer.status_code

    def score(self, name: str) -> int:
        return self.client.post("/score-transaction", json=transaction_json(transaction_id=name)).status_code

    def all_decided(self) -> bool:
        states = [self.client.get(f"/transactions/{name}", params={"wait": 10}) for name in self.accepted]
        return all(state.status_code == httpx.codes.OK and state.json()["status"] == "scored" for state in states)

    def nothing_refused_was_accepted(self) -> bool:
        states = [self.client.get(f"/transactions/{name}") for name in self.refused]
        return all(state.status_code == httpx.codes.NOT_FOUND for state in states)

    def audit(self) -> None:
        report = json.loads(riskline("doctor", "--audit", "--json", environment=self.environment).stdout)
        verdicts = {each["check"]: each["verdict"] for each in report["checks"]}
        assert (verdicts["journal"], verdicts["line"], verdicts["records"]) == ("ok", "ok", "ok"), report


@pytest.fixture
def service(tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis) -> Iterator[Service]:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    with RunningUp(tmp_path, environment=environment) as up:
        service = Service(up, redis, environment)
        yield service
        service.client.close()


@contextmanager
def stopped(redis: OwnRedis) -> Iterator[None]:
    redis.stop()
    try:
        yield
    finally:
        redis.start()


@contextmanager
def slow(redis: OwnRedis) -> Iterator[None]:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


@contextmanager
def full(redis: OwnRedis) -> Iterator[None]:
    store = redis.client()
    store.config_set("maxmemory", 1)
    try:
        yield
    finally:
        store.config_set("maxmemory", 0)
        store.close()


@contextmanager
def replica(redis: OwnRedis) -> Iterator[None]:
    # of a master that is not there: it keeps its data and takes no writes
    store = redis.client()
    store.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        store.replicaof("NO", "ONE")
        store.close()


@contextmanager
def loading(redis: OwnRedis) -> Iterator[None]:
    redis.stop()
    redis.start("--key-load-delay", "1000000", "--loading-process-events-interval-bytes", "1024", wait=False)
    try:
        yield
    finally:
        redis.stop()
        redis.start()


@pytest.mark.parametrize("fault", [stopped, slow, full, replica, loading])
def test_while_redis_fails_the_api_answers_and_afterwards_all_goes_on_without_a_restart(
    service: Service, fault: Any
) -> None:
    for i in range(50):
        service.submit(f"before-{i}")
    before = service.up.pids()
    lines = len(service.up.lines)

    with fault(service.redis):
        began = time.monotonic()
        refused = [service.submit("during")]
        while time.monotonic() < began + FAULT_SECONDS:
            refused.append(service.submit(f"during-{time.monotonic_ns()}"))
            assert service.score("sync") == httpx.codes.OK
            time.sleep(0.02)
        assert set(refused) == {503}
        ready = service.client.get("/health/ready").json()
        assert ready["missing"] == ["redis"]
        assert len(ready["checks"]["redis"]) > len("Redis: ")

    eventually(lambda: service.submit("after") == httpx.codes.ACCEPTED)
    assert eventually(service.all_decided)
    assert service.nothing_refused_was_accepted()
    assert service.up.pids() == before
    assert_each_said_once(service.up.lines[lines:])
    service.audit()


def assert_each_said_once(lines: list[str]) -> None:
    """Each part of API and worker that needs Redis says once that it is away and once that it is back, and no more."""
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    said = Counter((entry["pid"], entry["event"]) for entry in entries)
    assert set(said.values()) <= {1}, "".join(lines)
    assert "no worker shows signs of life" not in {event for _, event in said}, "".join(lines)


def test_a_full_disk_loses_nothing_and_is_left_behind_without_a_restart(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount or subprocess.call([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]) != 0:
        pytest.skip("a small disk cannot be mounted here: needs root")
    try:
        with RunningUp(disk, environment=demo_environment) as up:
            service = Service(up, OwnRedis.__new__(OwnRedis), {**demo_environment, "RISKLINE_DATA": str(disk)})
            fills_up(service, disk)
            service.client.close()
    finally:
        subprocess.check_call([umount, "--lazy", disk])


def fills_up(service: Service, disk: Path) -> None:
    """A disk without room, then with: what the client sees."""
    for i in range(50):
        assert service.submit(f"before-{i}") == httpx.codes.ACCEPTED
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)

    eventually(lambda: service.submit(f"during-{time.monotonic_ns()}") == httpx.codes.SERVICE_UNAVAILABLE)
    assert service.score("sync") == httpx.codes.OK
    ballast.unlink()

    eventually(lambda: service.submit("after") == httpx.codes.ACCEPTED)
    assert eventually(service.all_decided)
    assert len(service.accepted) > 50
    service.audit()
