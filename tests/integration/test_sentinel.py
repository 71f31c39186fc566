"""Failovers of a real Redis: found through sentinels, and behind one address that leads elsewhere afterwards."""

import asyncio
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from riskline.cli.up.redis_server import probe, server_candidates
from riskline.shared.errors import OutcomeUnknownError, StoreUnavailableError
from riskline.shared.store.connect.connection import connect, connect_async
from riskline.shared.store.interfaces import ACCEPTED
from riskline.shared.store.records import Outcome, Submission
from riskline.shared.store.redis_queue import RedisIntake, RedisQueue
from riskline.shared.store.status.redis_safety import dangers, facts_of
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.integration.servers import Servers, Watched, answer, server_versions
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

NOW = "2026-11-24T03:15:07.123Z"
INTAKE = {"result_ttl_seconds": 60, "feed_length": 100, "queue_limit": 1000}
QUEUE = {"result_ttl_seconds": 60, "failed_ttl_seconds": 60, "feed_length": 100}


each_server = pytest.mark.parametrize("server", server_versions().values(), ids=server_versions().keys())


@pytest.fixture
def directory() -> Iterator[Path]:
    # a socket's path must be short
    with tempfile.TemporaryDirectory(prefix="rl-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def watched(directory: Path) -> Iterator[Watched]:
    found = server_candidates()
    if not found:
        pytest.skip("there is no redis-server")
    probed = subprocess.run(
        [found[0], "--sentinel"], capture_output=True, check=False, text=True, cwd=directory, timeout=PATIENCE_SECONDS
    )
    if "config file" not in probed.stdout + probed.stderr:
        pytest.skip(f"{found[0]} has no sentinel mode")
    with Watched(directory, server=found[0]) as started:
        yield started


async def test_clients_made_before_the_master_dies_write_to_the_new_one(watched: Watched) -> None:
    blocking, waiter = connect(watched.url, timeout_seconds=1), connect(watched.url)
    redis = connect_async(watched.url, timeout_seconds=2)
    queue, intake = RedisQueue(blocking, **QUEUE), RedisIntake(redis, **INTAKE)
    assert await intake.accept([Submission("before", b"{}", NOW)]) == [ACCEPTED]
    assert len(queue.claim("w", count=1, lease_seconds=60).rows) == 1
    # more at once than there are connections: they wait for one
    assert await asyncio.gather(*(redis.set(f"k{i}", i) for i in range(200))) == [True] * 200

    waiting = asyncio.create_task(
        asyncio.to_thread(RedisQueue(waiter, **QUEUE).claim, "v", count=1, lease_seconds=60, wait_seconds=9)
    )
    await asyncio.to_thread(eventually, lambda: watched.first.info("clients")["blocked_clients"] == 1)

    watched.kill("first")

    with pytest.raises(StoreUnavailableError):
        await intake.accept([Submission("during", b"{}", NOW)])
    # these try until the failover is done
    assert await asyncio.to_thread(blocking.set, "written", "after") is True
    assert await intake.accept([Submission("after", b"{}", NOW)]) == [ACCEPTED]
    assert [row[0] for row in (await waiting).rows] == ["after"]
    assert [row[0] for row in queue.claim("w", count=2, lease_seconds=60).rows] == ["before"]
    assert watched.second.get("written") == b"after"
    assert await asyncio.gather(*(redis.get(f"k{i}") for i in range(200))) == [b"%d" % i for i in range(200)]
    blocking.close()
    waiter.close()
    await redis.aclose()


async def test_a_master_that_needs_its_replica_accepts_nothing_more_once_it_is_replaced(watched: Watched) -> None:
    redis = connect_async(watched.url, timeout_seconds=2)
    intake = RedisIntake(redis, **INTAKE)
    assert "min-replicas-to-write" in [danger.setting for danger in dangers(facts_of(watched.first))]
    watched.first.config_set("min-replicas-to-write", 1)
    # so that there is a connection to the master that is replaced
    assert await intake.accept([Submission("before", b"{}", NOW)]) == [ACCEPTED]
    await asyncio.to_thread(eventually, watched.fail_over)
    accepted: list[str] = []
    # a write that is under way at this moment may be lost, as Redis answers before it replicates
    await asyncio.to_thread(eventually, lambda: answer(watched.second, "role") == "master")
    await asyncio.to_thread(eventually, lambda: answer(watched.first, "connected_slaves") == 0)

    # the old master lives on for ten seconds, until Sentinel makes it a replica
    while len(accepted) <= 10:
        name = f"t{time.monotonic_ns()}"
        with suppress(StoreUnavailableError):
            if await intake.accept([Submission(name, b"{}", NOW)]) == [ACCEPTED]:
                accepted.append(name)
        await asyncio.sleep(0.02)

    assert answer(watched.first, "role") == "master"
    assert answer(watched.second, "role") == "master"
    assert [name for name in accepted if not watched.second.exists(f"riskline:{{0}}:tx:{name}")] == []
    await redis.aclose()


async def test_what_is_acknowledged_by_the_replica_survives_a_failover_and_what_is_not_is_not_accepted(
    watched: Watched,
) -> None:
    redis = connect_async(watched.url, timeout_seconds=2)
    intake = RedisIntake(redis, **INTAKE, replicas=1, replicas_seconds=2)
    accepted = [f"before-{i}" for i in range(20)]
    assert await intake.accept([Submission(name, b"{}", NOW) for name in accepted]) == [ACCEPTED] * 20
    await asyncio.to_thread(eventually, watched.fail_over)

    # no setting of Redis helps: until Sentinel makes it a replica the old master takes each write
    for _ in range(200):
        name = f"t{time.monotonic_ns()}"
        with suppress(StoreUnavailableError):
            if await intake.accept([Submission(name, b"{}", NOW)]) == [ACCEPTED]:
                accepted.append(name)
        if answer(watched.first, "role") != "master":
            break

    assert [name for name in accepted if not watched.second.exists(f"riskline:{{0}}:tx:{name}")] == []
    await redis.aclose()


@each_server
async def test_a_submission_that_too_few_replicas_have_is_not_known_also_when_it_is_repeated(
    directory: Path, server: Path
) -> None:
    with Servers(directory, server=server) as servers:
        url = f"unix://{directory / 's'}"
        servers.start("only", "--port", "0", "--unixsocket", str(directory / "s"), "--save", "")
        redis = connect_async(url, timeout_seconds=2)
        admin = probe(url)
        eventually(lambda: answer(admin, "role") == "master")
        alone = RedisIntake(redis, **INTAKE)
        wanting = RedisIntake(redis, **INTAKE, replicas=1, replicas_seconds=0.05)

        for _ in range(2):
            with pytest.raises(OutcomeUnknownError, match="0 of the 1 replicas"):
                await wanting.accept([Submission("a", b"{}", NOW)])

        # the same holds for the decision of a strict door
        with pytest.raises(OutcomeUnknownError, match="0 of the 1 replicas"):
            await wanting.decide_queued(Outcome("a", b"{}", b"{}"))

        # it is there, and nothing says that it will stay
        assert await alone.accept([Submission("a", b"{}", NOW)]) != [ACCEPTED]
        assert admin.hget("riskline:{0}:totals", "accepted") == b"1"
        admin.close()
        await redis.aclose()


def test_the_service_carries_on_on_the_server_that_sentinel_makes_the_master(
    tmp_path: Path, demo_environment: dict[str, str], watched: Watched
) -> None:
    environment = {**demo_environment, "REDIS_URL": watched.url}
    with (
        RunningUp(tmp_path, environment=environment) as up,
        httpx.Client(base_url=f"http://127.0.0.1:{up.state['port']}", timeout=PATIENCE_SECONDS) as client,
    ):
        wait = {"Prefer": "wait=15"}
        before = client.post("/transactions", json=transaction_json(transaction_id="before"), headers=wait)
        assert before.json()["status"] == "scored"
        diagnosis = riskline("doctor", "--data", str(tmp_path), environment=environment).stdout

        watched.kill("first")
        eventually(lambda: answer(watched.second, "role") == "master")

        after = transaction_json(transaction_id="after")
        eventually(lambda: client.post("/transactions", json=after).status_code in {200, 202})
        assert client.get("/transactions/after", params={"wait": 15}).json()["status"] == "scored"
        assert client.get("/transactions/before").json()["status"] == "scored"
        assert watched.second.exists("riskline:{0}:tx:after") == 1
        assert up.said("Redis is not safe to use as it is")
    assert "appendonly is no: accepted transactions are lost when Redis restarts" in diagnosis


@each_server
async def test_a_server_that_becomes_a_replica_fails_calls_until_it_is_master_again(
    directory: Path, server: Path
) -> None:
    with Servers(directory, server=server) as servers:
        url = f"unix://{directory / 's'}"
        servers.start("only", "--port", "0", "--unixsocket", str(directory / "s"), "--save", "")
        admin, blocking = probe(url), connect(url, retries=2)
        redis = connect_async(url, timeout_seconds=2)
        eventually(lambda: answer(admin, "role") == "master")
        queue, intake = RedisQueue(blocking, **QUEUE), RedisIntake(redis, **INTAKE)
        assert await intake.accept([Submission("before", b"{}", NOW)]) == [ACCEPTED]

        admin.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreUnavailableError, match="not the master"):
            await intake.accept([Submission("during", b"{}", NOW)])
        for wait_seconds in (0.0, 0.1):
            with pytest.raises(StoreUnavailableError, match="not the master"):
                queue.claim("w", count=1, lease_seconds=60, wait_seconds=wait_seconds)
        assert "role" in [danger.setting for danger in dangers(facts_of(admin))]

        admin.replicaof("NO", "ONE")
        assert await intake.accept([Submission("after", b"{}", NOW)]) == [ACCEPTED]
        assert [row[0] for row in queue.claim("w", count=3, lease_seconds=60).rows] == ["before", "after"]
        assert "role" not in [danger.setting for danger in dangers(facts_of(admin))]
        for client in (admin, blocking):
            client.close()
        await redis.aclose()


@each_server
async def test_where_an_address_leads_to_another_server_after_a_failover_clients_leave_the_demoted_one(
    directory: Path, server: Path
) -> None:
    with Servers(directory, server=server) as servers:
        for name in ("old", "new"):
            servers.start(name, "--port", "0", "--unixsocket", str(directory / name), "--save", "")
        old, new = (probe(f"unix://{directory / name}") for name in ("old", "new"))
        eventually(lambda: answer(old, "role") == answer(new, "role") == "master")
        # as a name or a proxy does: connections that are open stay where they are
        (directory / "address").symlink_to(directory / "old")
        url = f"unix://{directory / 'address'}"
        blocking, redis = connect(url), connect_async(url, timeout_seconds=2)
        queue, intake = RedisQueue(blocking, **QUEUE), RedisIntake(redis, **INTAKE)
        assert await intake.accept([Submission("lost", b"{}", NOW)]) == [ACCEPTED]
        assert len(queue.claim("w", count=1, lease_seconds=60).rows) == 1
        claimed: list[str] = []
        waiter = threading.Thread(
            target=lambda: claimed.extend(
                row[0] for row in queue.claim("v", count=1, lease_seconds=60, wait_seconds=9).rows
            )
        )
        waiter.start()
        eventually(lambda: old.info("clients")["blocked_clients"] == 1)

        (directory / "moved").symlink_to(directory / "new")
        (directory / "moved").replace(directory / "address")
        old.replicaof("127.0.0.1", "1")

        assert await intake.accept([Submission("kept", b"{}", NOW)]) == [ACCEPTED]
        await asyncio.to_thread(waiter.join, 10)
        assert claimed == ["kept"]
        assert new.exists("riskline:{0}:tx:kept") == 1
        assert old.exists("riskline:{0}:tx:kept") == 0
        for client in (old, new, blocking):
            client.close()
        await redis.aclose()
