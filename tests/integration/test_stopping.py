"""SIGTERM ends a process in a stated time and in order: what was taken is answered, recorded, or handed back."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest

from riskline.cli.up.startup import API_STOP_SECONDS, WORKER_STOP_SECONDS
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually
from tests.integration.servers import free_ports
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

CLIENTS = 16

STOP_DELAY = 5
"""Longer than any client needs to send its next request."""


@contextmanager
def process(*words: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, "-m", "riskline.cli", *words], env=dict(environment), stderr=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def ended(started: subprocess.Popen[bytes]) -> int:
    started.send_signal(signal.SIGTERM)
    return started.wait(PATIENCE_SECONDS)


async def submit_until_it_ends(url: str, started: subprocess.Popen[bytes]) -> tuple[list[str], list[str]]:
    """Ids of what was accepted and of what was scored by an API that is told to stop meanwhile."""
    accepted: list[str] = []
    scored: list[str] = []

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
            for i in range(100_000):
                name = f"{number}-{i}"
                door, done = ("/transactions", accepted) if i % 2 else ("/score-transaction", scored)
                try:
                    answer = await client.post(door, json=transaction_json(transaction_id=name))
                except httpx.TransportError:
                    return
                assert answer.status_code in (200, 202)
                done.append(name)

    clients = [asyncio.create_task(one(number)) for number in range(CLIENTS)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        # each client has been answered by both doors, and all of them go on
        while min(len(accepted), len(scored)) <= CLIENTS:  # noqa: ASYNC110  # the clients have no more to wait for
            await asyncio.sleep(0.05)
    assert await asyncio.to_thread(ended, started) in (0, -signal.SIGTERM)
    await asyncio.gather(*clients)
    return accepted, scored


def test_an_api_that_stops_has_kept_all_that_it_answered(demo_environment: dict[str, str], redis: OwnRedis) -> None:
    (port,) = free_ports(1)
    environment = {**demo_environment, "REDIS_URL": redis.url}
    with process("api", "--port", str(port), environment=environment) as api:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(url))
        accepted, scored = asyncio.run(submit_until_it_ends(url, api))
    store = redis.client()

    missing = [name for name in accepted + scored if not store.exists(f"riskline:{{0}}:tx:{name}")]
    store.close()

    assert len(accepted) > CLIENTS
    assert len(scored) > CLIENTS
    assert missing == []


@pytest.mark.parametrize("processes", ["1", "2"])
def test_no_request_fails_where_clients_go_elsewhere_when_they_are_told(
    demo_environment: dict[str, str], redis: OwnRedis, processes: str
) -> None:
    (port,) = free_ports(1)
    environment = {**demo_environment, "REDIS_URL": redis.url, "RISKLINE_STOP_DELAY": str(STOP_DELAY)}
    with process("api", "--port", str(port), "--processes", processes, environment=environment) as api:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(url))
        unready = asyncio.run(call_until_told_to_go(url, api))
        code = api.wait(PATIENCE_SECONDS)

    assert unready.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert unready.json()["missing"] == ["process"]
    assert code in (0, -signal.SIGTERM)


async def call_until_told_to_go(url: str, api: subprocess.Popen[bytes]) -> httpx.Response:
    """Clients call until an answer ends their connection; what is said of readiness then."""
    answered = [0] * CLIENTS

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
            last = False
            while not last:
                row = transaction_json(transaction_id=f"{number}-{answered[number]}")
                # any that fails ends the test
                answer = await client.post("/transactions" if number % 2 else "/score-transaction", json=row)
                answered[number] += 1
                last = answer.headers.get("connection") == "close"
                # so that some connections are idle now and then
                await asyncio.sleep(0.01 * (number % 4))

    clients = [asyncio.create_task(one(number)) for number in range(CLIENTS)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while min(answered) < 2:  # noqa: ASYNC110  # the clients have no more to wait for
            await asyncio.sleep(0.05)
    api.send_signal(signal.SIGTERM)
    await asyncio.gather(*clients)
    async with httpx.AsyncClient(base_url=url) as client:
        return await client.get("/health/ready")


def test_ctrl_c_at_a_terminal_waits_for_no_load_balancer(
    demo_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = {**demo_environment, "RISKLINE_STOP_DELAY": "1000"}
    with RunningUp(tmp_path_factory.mktemp("up"), environment=environment, flags=("--processes", "2")) as up:
        url = f"http://127.0.0.1:{up.state['port']}"
        # one that still starts may hear of the end by the server's SIGTERM alone, which waits for the delay
        eventually(lambda: answering(url) == 2)  # processes
        up.process.send_signal(signal.SIGINT)
        # far from the delay
        assert up.process.wait(PATIENCE_SECONDS) == 0
    assert not up.said("is killed")


def answering(url: str) -> int:
    """How many API processes serve a model."""
    versions = httpx.get(f"{url}/health/ready", timeout=PATIENCE_SECONDS).json()["processes"]["versions"]
    return sum(each["api"] for each in versions)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_a_worker_that_stops_in_the_middle_of_a_backlog_hands_back_what_it_holds(
    demo_environment: dict[str, str], redis: OwnRedis
) -> None:
    environment = {**demo_environment, "REDIS_URL": redis.url}
    (port,) = free_ports(1)
    store = redis.client()
    with process("api", "--port", str(port), environment=environment) as api:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(url))
        for part in range(4):
            rows = [transaction_json(transaction_id=f"{part}-{i}") for i in range(10_000)]
            httpx.post(f"{url}/transactions/batch", json=rows, timeout=PATIENCE_SECONDS)
        ended(api)
    with process("worker", environment=environment) as worker:
        eventually(lambda: store.zcard("riskline:{0}:undecided") < 40_000)
        code = ended(worker)

    undecided, waiting = store.zcard("riskline:{0}:undecided"), store.llen("riskline:{0}:waiting")
    claimed, workers = store.keys("riskline:{0}:claimed:*"), store.zcard("riskline:{0}:workers")
    store.close()
    assert code == 0
    assert 0 < undecided == waiting
    assert (claimed, workers) == ([], 0)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["away", "frozen"])
@pytest.mark.parametrize(("words", "most_seconds"), [(("worker",), WORKER_STOP_SECONDS), (("api",), API_STOP_SECONDS)])
def test_a_process_stops_in_time_whatever_redis_does(
    demo_environment: dict[str, str],
    redis: OwnRedis,
    words: tuple[str, ...],
    most_seconds: float,
    fault: signal.Signals,
) -> None:
    (port,) = free_ports(1)
    flags = ["--port", str(port)] if words[0] == "api" else []
    with process(*words, *flags, environment={**demo_environment, "REDIS_URL": redis.url}) as started:
        store, began = redis.client(), time.monotonic()
        eventually(lambda: store.exists("rq:workers") if words[0] == "worker" else answers(f"http://127.0.0.1:{port}"))
        store.close()
        start_seconds = time.monotonic() - began
        os.kill(redis.pid, fault)
        time.sleep(1)
        began = time.monotonic()

        code = ended(started)

        # by the measure of a start, which takes a few seconds of a quiet machine
        assert time.monotonic() - began < most_seconds + 10 * start_seconds
    assert code in (0, -signal.SIGTERM, -signal.SIGKILL)
    redis.stop()
    redis.start()


def test_a_hundred_clients_with_the_same_id_make_one_transaction_and_one_decision(
    demo_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    flags = ("--processes", "2")
    with RunningUp(tmp_path_factory.mktemp("up"), environment=demo_environment, flags=flags) as up:
        url = f"http://127.0.0.1:{up.state['port']}"
        statuses = asyncio.run(post_together(url, [transaction_json(transaction_id="same")] * 100))
        bodies = [transaction_json(transaction_id="torn", amount=1 + i % 2) for i in range(100)]
        torn = asyncio.run(post_together(url, bodies))
        state = eventually(lambda: decided(url, "torn"))
        feed = httpx.get(f"{url}/decisions", params={"after": "0"}).json()["decisions"]

    assert set(statuses) <= {200, 202}
    assert sorted(each["transaction_id"] for each in feed) == ["same", "torn"]
    won = {body["amount"] for body, status in zip(bodies, torn, strict=True) if status in (200, 202)}
    lost = {body["amount"] for body, status in zip(bodies, torn, strict=True) if status == httpx.codes.CONFLICT}
    assert (len(won), len(lost), won & lost) == (1, 1, set())
    assert state["decision"]["transaction_id"] == "torn"


async def post_together(url: str, bodies: list[dict[str, object]]) -> list[int]:
    async with httpx.AsyncClient(
        base_url=url, timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=100)
    ) as client:
        answers = await asyncio.gather(*[client.post("/transactions", json=body) for body in bodies])
    return [answer.status_code for answer in answers]


def decided(url: str, name: str) -> dict[str, dict[str, str]] | None:
    state: dict[str, dict[str, str]] = httpx.get(f"{url}/transactions/{name}").json()
    return state if state["decision"] else None
