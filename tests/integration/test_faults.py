"""What a user sees when Redis goes away, a worker is killed, or the model is damaged; real processes, real Redis."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from riskline.cli.up.redis_server import probe
from riskline.shared.model.registry import Registry
from riskline.shared.store.redis_queue import RedisQueue
from tests.integration.conftest import write_stump
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually, riskline
from tests.integration.servers import free_ports
from tests.integration.stores import LIMITS
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

GUIDE = Path(__file__).parents[3] / "shared" / "guide" / "guide.txt"


def client_of(up: RunningUp) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{up.state['port']}", timeout=PATIENCE_SECONDS)


def test_with_redis_down_the_sync_door_answers_and_the_async_door_says_when_to_come_again(
    tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    with RunningUp(tmp_path, environment=environment) as up, client_of(up) as client:
        redis.stop()

        scored = client.post("/score-transaction", json=transaction_json(transaction_id="sync"))
        refused = client.post("/transactions", json=transaction_json(transaction_id="async"))
        ready = client.get("/health/ready")

        assert scored.status_code == 200
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert (ready.status_code, ready.json()["missing"]) == (503, ["redis"])
        assert client.get("/health").status_code == 200

        redis.start()

        eventually(lambda: client.get("/health/ready").status_code == 200)
        accepted = client.post(
            "/transactions", json=transaction_json(transaction_id="async"), headers={"Prefer": "wait=30"}
        )
        assert accepted.json()["status"] == "scored"
        eventually(lambda: client.get("/transactions/sync").status_code == 200)
        assert client.get("/transactions/sync").json()["decision"] == scored.json()


def test_a_full_redis_refuses_submissions_and_drains_when_it_has_room(
    tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    store = probe(redis.url)
    with RunningUp(tmp_path, environment=environment) as up, client_of(up) as client:
        submit(client, "before")
        store.config_set("maxmemory", 1)
        refused = client.post("/transactions", json=transaction_json(transaction_id="during"))
        scored = client.post("/score-transaction", json=transaction_json(transaction_id="sync"))
        time.sleep(2)
        store.config_set("maxmemory", 0)

        assert refused.status_code == 503
        assert scored.status_code == 200
        assert submit(client, "after").json()["status"] == "scored"
        assert client.get("/transactions/before").json()["status"] == "scored"
    store.close()


def test_a_full_redis_is_drained_and_gets_back_what_a_dead_worker_held(
    tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    store = probe(redis.url)
    with RunningUp(tmp_path, environment=environment) as up, client_of(up) as client:
        rows = [transaction_json(transaction_id=f"held-{i}") for i in range(50)]
        os.kill(up.state["children"]["scoring worker 1"], signal.SIGSTOP)
        assert client.post("/transactions/batch", json=rows).json()["accepted"] == 50
        RedisQueue(store, **LIMITS).claim("gone", count=20, lease_seconds=0.1)
        store.config_set("maxmemory", 1)

        # what starts next finds Redis full
        os.kill(up.state["children"]["scoring worker 1"], signal.SIGKILL)

        eventually(lambda: store.zcard("riskline:{0}:undecided") == 0)
    store.close()


def submit(client: httpx.Client, transaction_id: str) -> httpx.Response:
    return client.post(
        "/transactions", json=transaction_json(transaction_id=transaction_id), headers={"Prefer": "wait=30"}
    )


def test_many_clients_that_wait_at_once_are_all_answered(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    async def poll_all(base_url: str) -> list[int]:
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, limits=limits) as client:
            await client.post("/transactions", json=transaction_json(transaction_id="shared"))
            polls = [client.get("/transactions/shared", params={"wait": 5}) for _ in range(300)]
            return [answer.status_code for answer in await asyncio.gather(*polls)]

    with RunningUp(tmp_path, environment=demo_environment) as up:
        statuses = asyncio.run(poll_all(f"http://127.0.0.1:{up.state['port']}"))

    assert statuses == [200] * 300


def test_a_stray_message_does_not_end_the_waking_of_clients(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    with RunningUp(tmp_path, environment=demo_environment) as up, client_of(up) as client:
        store = probe(up.state["redis_url"])
        store.publish("riskline:{0}:decided", "garbage")

        eventually(lambda: store.pubsub_numsub("riskline:{0}:decided")[0][1] == 1)
        store.close()

        assert submit(client, "woken").json()["status"] == "scored"


def test_a_record_that_nothing_can_read_does_not_keep_the_others_waiting(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    with RunningUp(tmp_path, environment=demo_environment) as up, client_of(up) as client:
        store = probe(up.state["redis_url"])
        for name, record in (("odd", '{"v":1,"status":"queued"}'), ("broken", "{")):
            store.set(f"riskline:{{0}}:tx:{name}", record)
            store.zadd("riskline:{0}:undecided", {name: 1})
            store.rpush("riskline:{0}:waiting", name)

        assert submit(client, "good").json()["status"] == "scored"
        eventually(lambda: store.zcard("riskline:{0}:undecided") == 0)
        assert json.loads(store.get("riskline:{0}:tx:odd"))["status"] == "failed"
        store.close()


def test_workers_killed_at_any_moment_lose_nothing_and_decide_once(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    flags = ("--workers", "2")
    with RunningUp(tmp_path, environment=demo_environment, flags=flags) as up, client_of(up) as client:
        for i in range(600):
            assert client.post("/transactions", json=transaction_json(transaction_id=f"t{i}")).status_code == 202
            if i % 150 == 75:
                up.kill(f"scoring worker {1 + i // 150 % 2}")

        states = [client.get(f"/transactions/t{i}", params={"wait": 30}).json() for i in range(600)]
        store = probe(up.state["redis_url"])
        feed = [json.loads(fields[b"d"])["transaction_id"] for _, fields in store.xrange("riskline:{0}:decisions")]
        left = store.zcard("riskline:{0}:undecided")
        store.close()

    assert {state["status"] for state in states} == {"scored"}
    assert sorted(feed) == sorted(f"t{i}" for i in range(600))
    assert left == 0


def test_a_claim_of_a_worker_that_stopped_breathing_is_decided_by_another(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    with RunningUp(tmp_path, environment=demo_environment) as up, client_of(up) as client:
        store = probe(up.state["redis_url"])
        client.post("/transactions", json=transaction_json(transaction_id="first"), headers={"Prefer": "wait=30"})
        record = store.get("riskline:{0}:tx:first").decode().replace("first", "held").replace("scored", "queued")
        store.set("riskline:{0}:tx:held", record)
        store.zadd("riskline:{0}:undecided", {"held": time.time() * 1000})
        store.rpush("riskline:{0}:claimed:gone", "held")
        store.zadd("riskline:{0}:workers", {"gone": time.time() * 1000 + 500})

        state = client.get("/transactions/held", params={"wait": 10}).json()
        store.close()

    assert state["status"] == "scored"


def test_metrics_are_right_with_several_processes(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    flags = ("--processes", "2")
    with RunningUp(tmp_path, environment=demo_environment, flags=flags) as up:
        for i in range(40):
            with client_of(up) as client:
                client.post("/score-transaction", json=transaction_json(transaction_id=str(i), amount=2000))
        with client_of(up) as client:
            text = client.get("/metrics").text

    version = Registry(Path(demo_environment["RISKLINE_MODELS"])).active_version()
    labels = f'door="sync",model_version="{version}"'
    assert f'riskline_decisions_total{{action="DECLINE",{labels}}} 40.0' in text
    assert f"riskline_fraud_probability_count{{{labels}}} 40.0" in text
    assert f'riskline_fraud_probability_bucket{{door="sync",le="0.85",model_version="{version}"}} 0.0' in text


def test_a_newly_activated_model_serves_without_a_restart(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    models = tmp_path / "models"
    first = write_stump(models)
    environment = {**demo_environment, "RISKLINE_MODELS": str(models)}
    with RunningUp(tmp_path / "data", environment=environment) as up, client_of(up) as client:
        assert client.get("/health").json()["model_version"] == first
        second = copied_version(models, first)
        assert riskline("models", "activate", second, environment=environment).returncode == 0

        eventually(lambda: client.get("/health").json()["model_version"] == second)
        eventually(lambda: submitted(client).json()["decision"]["model_version"] == second)


def copied_version(models: Path, version: str) -> str:
    """The same model under a later version's name."""
    later = "20270101" + version[8:]
    shutil.copytree(models / version, models / later)
    manifest = models / later / "manifest.json"
    manifest.write_text(manifest.read_text().replace(version, later))
    return later


def submitted(client: httpx.Client) -> httpx.Response:
    transaction_id = f"swap-{time.monotonic_ns()}"
    return client.post(
        "/transactions", json=transaction_json(transaction_id=transaction_id), headers={"Prefer": "wait=30"}
    )


def no_model(models: Path) -> str:
    models.mkdir()
    return "riskline train"


def truncated_model(models: Path) -> str:
    trees = models / write_stump(models) / "trees.npz"
    trees.write_bytes(trees.read_bytes()[:-20])
    return "trees.npz"


def wrong_hash(models: Path) -> str:
    manifest = models / write_stump(models) / "manifest.json"
    manifest.write_text(re.sub(r'("trees.npz": ?")........', r"\g<1>00000000", manifest.read_text()))
    return "sha256"


@pytest.mark.parametrize("damage", [no_model, truncated_model, wrong_hash])
def test_a_worker_without_a_usable_model_ends_with_one_line_that_says_what_to_do(
    tmp_path: Path, demo_environment: dict[str, str], damage: Any
) -> None:
    words = damage(tmp_path / "models")
    environment = {**demo_environment, "RISKLINE_MODELS": str(tmp_path / "models"), "REDIS_URL": "redis://127.0.0.1:1"}

    ended = riskline("worker", environment=environment)

    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 1
    assert last.startswith("riskline: ")
    assert words in last
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("damage", [truncated_model, wrong_hash])
def test_up_with_a_damaged_model_does_not_start_and_says_why(
    tmp_path: Path, demo_environment: dict[str, str], damage: Any
) -> None:
    words = damage(tmp_path / "models")
    environment = {**demo_environment, "RISKLINE_MODELS": str(tmp_path / "models")}

    ended = riskline("up", "--port", "0", "--data", str(tmp_path / "data"), environment=environment)

    assert ended.returncode == 1
    assert words in ended.stderr.strip().splitlines()[-1]


def test_an_api_without_a_model_is_unhealthy_until_there_is_one(
    tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    models = tmp_path / "models"
    environment = {**demo_environment, "RISKLINE_MODELS": str(models), "REDIS_URL": redis.url}
    with running_api(environment, port=free_ports(1)[0]) as client:
        assert client.get("/health").json()["status"] == "unhealthy"
        assert client.post("/score-transaction", json=transaction_json()).status_code == 503

        write_stump(models)

        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert client.post("/score-transaction", json=transaction_json()).status_code == 200


@contextmanager
def running_api(environment: Mapping[str, str], *, port: int) -> Iterator[httpx.Client]:
    process = subprocess.Popen(
        [sys.executable, "-m", "riskline.cli", "api", "--port", str(port)], env=dict(environment)
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            eventually(lambda: answers(client))
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside this clone")
def test_the_guides_own_request_gets_the_guides_answer(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    call = re.search(r"^curl -X POST .*?\}'", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert call is not None
    with RunningUp(tmp_path, environment=demo_environment) as up:
        url = f"http://127.0.0.1:{up.state['port']}/"
        words = shlex.split(re.sub(r"https://[^/]+/", url, call.group()).replace("\\\n", " "))
        answer = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)

    assert answer["transaction_id"] == "TXN-99827364"
    assert 0 <= answer["fraud_probability"] <= 1
    assert answer["action"] in ("APPROVE", "DECLINE")
