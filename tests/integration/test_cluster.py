"""A store on a Redis Cluster: whatever becomes of its nodes, each transaction is decided once, and shards are apart."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Self

import httpx
import pytest
from redis.exceptions import ResponseError

from riskline.ingest.store import ApiStore, open_store
from riskline.shared.errors import SettingsError, StoreUnavailableError
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.connect.connection import connect_store, require_layout
from riskline.shared.store.interfaces import ACCEPTED
from riskline.shared.store.records import decided
from riskline.shared.store.sharding.sharded_queue import ShardHealth
from riskline.shared.store.sharding.shards import all_keys, first_shard, shard_of
from riskline.shared.webhooks.signing import new_secret
from riskline.worker.scoring.composition import _queues, _together
from tests.integration.apis import RunningApi
from tests.integration.clusters import Cluster
from tests.integration.receivers import Receiver
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually, riskline
from tests.integration.servers import server_versions
from tests.integration.stores import a_decision, a_submission
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

SHARDS = 3

PACE_SECONDS = 0.002
"""Between two submissions of one client."""

AGAIN_SECONDS = 0.1
"""After which a client repeats what was answered 503."""

each_server = pytest.mark.parametrize("server", server_versions().values(), ids=str)

NEWEST, *OLDER = server_versions().values()


@pytest.fixture(
    scope="module", params=[NEWEST, *(pytest.param(each, marks=pytest.mark.slow) for each in OLDER)], ids=str
)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("c"), server=request.param) as cluster:
        yield cluster


@pytest.fixture
def settings(cluster: Cluster) -> Settings:
    """Those of a store that is empty."""
    for each in cluster.clients:
        each.flushall()
    # as each process does at its start
    require_layout(cluster.url, shards=SHARDS, timeout_seconds=2)
    return load_settings(redis_url="redis://127.0.0.1:1", store_url=cluster.url, shards=SHARDS)


def ids_of(shard: int, count: int = 3) -> list[str]:
    """Ids of transactions of one shard."""
    return [each for each in (f"t{number}" for number in range(1000)) if shard_of(each, SHARDS) == shard][:count]


async def page_of_all(store: ApiStore, cursor: str = "0") -> list[str]:
    page = await store.decisions.page(store.parse_cursor(cursor), limit=100)
    return [json.loads(each)["transaction_id"] for each in page.decisions]


async def test_what_is_accepted_is_decided_whichever_shard_it_is_in(settings: Settings, cluster: Cluster) -> None:
    store, health = open_store(settings), ShardHealth()
    queue = _together(
        _queues(connect_store(cluster.url, shards=SHARDS, timeout_seconds=2, retries=1), settings), health
    )
    names = [each for shard in range(SHARDS) for each in ids_of(shard)]
    await store.subscriber.ping()

    assert await store.intake.accept([a_submission(each) for each in names]) == [ACCEPTED] * len(names)
    claimed = await asyncio.to_thread(queue.claim, "w", count=9, lease_seconds=60, wait_seconds=1)
    shards = []
    while claimed.rows:
        shards.append({shard_of(each, SHARDS) for each, _ in claimed.rows})
        outcomes = [decided(record, a_decision(each)) for each, record in claimed.rows]
        _, claimed = await asyncio.to_thread(queue.decide_and_claim, "w", outcomes, count=9, lease_seconds=60)
        if not claimed.rows:
            claimed = await asyncio.to_thread(queue.claim, "w", count=9, lease_seconds=60, wait_seconds=0.2)

    assert sorted(next(iter(each)) for each in shards if len(each) == 1) == [0, 1, 2]
    assert [each["status"] for each in await store.intake.get(names)] == ["scored"] * len(names)
    assert sorted(await page_of_all(store)) == sorted(names)
    assert [client.dbsize() > 0 for client in cluster.clients] == [True] * SHARDS
    await store.close()
    await store.decisions.close()


def test_another_number_of_shards_is_refused_by_the_start_and_by_each_connection(
    settings: Settings, cluster: Cluster
) -> None:
    require_layout(cluster.url, shards=SHARDS, timeout_seconds=2)

    for other in (1, 2, 4):
        with pytest.raises(SettingsError, match=f"made with 3 shards, and RISKLINE_SHARDS says {other}: set RISKLINE"):
            require_layout(cluster.url, shards=other, timeout_seconds=2)
    alone = load_settings(**{**settings.model_dump(), "shards": 1})
    with pytest.raises(StoreUnavailableError, match="made with 3 shards"):
        asyncio.run(open_store(alone).intake.accept([a_submission("a")]))


async def test_while_the_first_shard_is_away_a_process_with_another_number_of_shards_accepts_nothing(
    settings: Settings, cluster: Cluster
) -> None:
    """What it accepted would be where no worker comes."""
    others = 2
    [shard] = {0, 1} - {first_shard(others)}
    keys, client = all_keys(others)[shard], cluster.shard_client(shard, shards=others)
    names = [each for each in (f"t{number}" for number in range(9)) if shard_of(each, others) == shard]
    assert keys not in all_keys(SHARDS)
    store = open_store(load_settings(**{**settings.model_dump(), "shards": others, "redis_timeout": 0.3}))
    node = cluster.node_of(first_shard(SHARDS), shards=SHARDS)
    cluster.freeze(f"n{node}")
    try:
        require_layout(cluster.url, shards=others, timeout_seconds=0.3)
        with pytest.raises(StoreUnavailableError, match="does not say how many shards the store has"):
            await store.intake.accept([a_submission(each) for each in names])
        assert client.keys(f"{keys.prefix}*") == []
    finally:
        cluster.thaw(f"n{node}")
        await store.close()
        await store.decisions.close()
    with pytest.raises(SettingsError, match="made with 3 shards"):
        require_layout(cluster.url, shards=others, timeout_seconds=2)
    eventually(lambda: all(each.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for each in cluster.clients))


def test_a_process_starts_in_the_time_of_one_answer_where_a_node_hangs_that_has_several_shards(
    settings: Settings, cluster: Cluster
) -> None:
    del settings
    for each in cluster.clients:
        each.flushall()
    many = 12
    require_layout(cluster.url, shards=many, timeout_seconds=2)
    node = next(number for number in range(3) if number != cluster.node_of(first_shard(many), shards=many))
    cluster.freeze(f"n{node}")
    try:
        # it ends while one of them says nothing
        require_layout(cluster.url, shards=many, timeout_seconds=0.4)
    finally:
        cluster.thaw(f"n{node}")

    eventually(lambda: all(each.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for each in cluster.clients))


async def test_while_a_shards_slot_is_moved_its_calls_are_refused_as_a_whole_and_afterwards_go_to_the_new_node(
    settings: Settings, cluster: Cluster
) -> None:
    store = open_store(settings)
    first, second, third = ids_of(0)
    elsewhere = ids_of(1)[0]
    await store.intake.accept([a_submission(first)])
    source, target = (cluster.node_of(shard, shards=SHARDS) for shard in (0, 1))
    keys = all_keys(SHARDS)[0]
    before = cluster.clients[source].hgetall(keys.totals)
    slot = cluster.clients[source].execute_command("CLUSTER KEYSLOT", keys.totals)
    names = [client.execute_command("CLUSTER MYID").decode() for client in cluster.clients]
    cluster.clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
    cluster.clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])

    # what has been there already, and what has not
    for name in (first, second):
        with pytest.raises(StoreUnavailableError, match="is moving the shard's slot"):
            await store.intake.accept([a_submission(name)])
    assert cluster.clients[source].hgetall(keys.totals) == before
    assert await store.intake.accept([a_submission(elsewhere)]) == [ACCEPTED]

    cluster.clients[source].execute_command("CLUSTER SETSLOT", slot, "STABLE")
    cluster.clients[target].execute_command("CLUSTER SETSLOT", slot, "STABLE")
    cluster.move(0, to=target, shards=SHARDS)
    assert await store.intake.accept([a_submission(each) for each in (first, third)]) == [
        json.loads(a_submission(first).record),
        ACCEPTED,
    ]
    assert cluster.clients[target].exists(keys.transaction(first), keys.transaction(third)) == 2
    cluster.move(0, to=source, shards=SHARDS)
    assert await store.intake.accept([a_submission(second)]) == [ACCEPTED]
    await store.close()
    await store.decisions.close()


def test_without_its_guard_a_script_would_be_left_half_done(cluster: Cluster) -> None:
    """Why each script names a key that is never there; where this fails, the guard may go."""
    source = cluster.clients[cluster.node_of(0, shards=SHARDS)]
    target = cluster.clients[cluster.node_of(1, shards=SHARDS)].execute_command("CLUSTER MYID").decode()
    keys = all_keys(SHARDS)[0]
    source.set(keys.prefix + "a", "1")
    source.execute_command(
        "CLUSTER SETSLOT", source.execute_command("CLUSTER KEYSLOT", keys.never), "MIGRATING", target
    )
    script = "redis.call('SET', KEYS[1], 'half') redis.call('SET', ARGV[1], '1')"

    with pytest.raises(ResponseError):
        source.eval(script, 2, keys.prefix + "a", keys.never, keys.prefix + "b")
    assert source.get(keys.prefix + "a") == b"1"
    with pytest.raises(ResponseError):
        source.eval(script, 1, keys.prefix + "a", keys.prefix + "b")
    assert source.get(keys.prefix + "a") == b"half"

    source.execute_command("CLUSTER SETSLOT", source.execute_command("CLUSTER KEYSLOT", keys.never), "STABLE")


class Workers:
    """Scoring workers on a store, gone when left, and what they said."""

    def __init__(self, count: int, *, environment: Mapping[str, str], log: Path) -> None:
        self._log = log.open("a")
        command = [sys.executable, "-m", "riskline.cli", "worker"]
        self.processes = [
            subprocess.Popen(command, env=dict(environment), stdout=self._log, stderr=subprocess.STDOUT)
            for _ in range(count)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            each.terminate()
        for each in self.processes:
            each.wait(PATIENCE_SECONDS)
        self._log.close()


class Load:
    """Clients that submit until they are told to stop, repeat what is answered 503, and one that follows the feed."""

    def __init__(self, port: int, *, clients: int = 4) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.accepted: list[str] = []
        self.refused: Counter[int] = Counter()
        """503 answers by shard."""
        self.accepted_at: dict[int, list[float]] = {shard: [] for shard in range(SHARDS)}
        self.followed: list[str] = []
        self._stop, self._end = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(clients)]
        self._follower = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        for each in (*self._threads, self._follower):
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._end.set()
        for each in (*self._threads, self._follower):
            each.join(PATIENCE_SECONDS)

    def stop(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(PATIENCE_SECONDS)
            assert not each.is_alive(), "a client's last transaction was never accepted"

    def accepted_between(self, shard: int, begin: float, end: float) -> int:
        return sum(begin < at < end for at in self.accepted_at[shard])

    def longest_pause(self, shard: int, begin: float, end: float) -> float:
        at = [begin, *(each for each in self.accepted_at[shard] if begin < each < end), end]
        return max(after - before for before, after in pairwise(at))

    def _submit(self, client_number: int) -> None:
        with httpx.Client(base_url=self.base_url, timeout=PATIENCE_SECONDS) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                # a client of one shard, so that one that is away does not hold up what is for the others
                name = f"c{client_number}-{number}"
                if shard_of(name, SHARDS) != client_number % SHARDS:
                    continue
                body = transaction_json(transaction_id=name)
                while (answer := client.post("/transactions", json=body)).status_code == 503:
                    assert answer.headers["Retry-After"]
                    self.refused[shard_of(name, SHARDS)] += 1
                    time.sleep(AGAIN_SECONDS)
                assert answer.status_code in {200, 202}, answer.text
                self.accepted_at[shard_of(name, SHARDS)].append(time.monotonic())
                self.accepted.append(name)
                time.sleep(PACE_SECONDS)

    def _follow(self) -> None:
        cursor = "0"
        with httpx.Client(base_url=self.base_url, timeout=PATIENCE_SECONDS) as client:
            while not self._end.is_set():
                answer = client.get("/decisions", params={"after": cursor, "wait": 1})
                if answer.status_code == 503:
                    time.sleep(AGAIN_SECONDS)
                    continue
                page = answer.raise_for_status().json()
                self.followed += [each["transaction_id"] for each in page["decisions"]]
                cursor = page["next"]

    def all_are_decided(self) -> bool:
        return len(set(self.followed)) >= len(self.accepted)


class Installation:
    """An API and two workers, with RQ's tickets on a Redis of their own, under load."""

    def __init__(self, cluster: Cluster, redis: OwnRedis, environment: Mapping[str, str]) -> None:
        self.environment = {
            **environment,
            "REDIS_URL": redis.url,
            "RISKLINE_STORE_URL": cluster.url,
            "RISKLINE_SHARDS": str(SHARDS),
        }
        self._stack = ExitStack()
        self._redis_url = redis.url
        self._log = cluster.directory / "workers.log"

    def said(self, words: str) -> bool:
        """Whether a worker has."""
        return words in self._log.read_text()

    def __enter__(self) -> Self:
        try:
            self._stack.enter_context(Workers(2, environment=self.environment, log=self._log))
            self.api = self._stack.enter_context(RunningApi(self._redis_url, environment=self.environment))
            self.load = self._stack.enter_context(Load(self.api.port))
            eventually(lambda: all(len(each) > 20 for each in self.load.accepted_at.values()))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ends_well(self) -> None:
        """Everything that was accepted is decided once, and the audit finds nothing."""
        self.load.stop()
        eventually(self.load.all_are_decided)
        assert sorted(self.load.followed) == sorted(self.load.accepted)
        with httpx.Client(base_url=self.load.base_url, timeout=PATIENCE_SECONDS) as client:
            for name in self.load.accepted[:: max(1, len(self.load.accepted) // 100)]:
                assert client.get(f"/transactions/{name}").json()["status"] == "scored"
        audit = riskline("doctor", "--audit", "--json", environment=self.environment)
        assert audit.returncode == 0, audit.stdout
        counts = json.loads(audit.stdout)["counts"]
        assert (counts["accepted"], counts["decided"]) == (len(self.load.accepted), len(self.load.accepted))


@pytest.mark.slow
@each_server
def test_a_master_that_is_killed_stops_its_shard_alone_and_loses_nothing_when_it_is_back(
    server: Path, tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    with (
        Cluster(tmp_path, server=server) as cluster,
        Installation(cluster, redis, demo_environment) as installation,
    ):
        load = installation.load
        node = cluster.node_of(1, shards=SHARDS)

        cluster.kill(f"n{node}")
        eventually(lambda: load.refused[1] >= 10)
        gone = time.monotonic()
        # once it was gone, the others went on as before
        eventually(lambda: all(load.accepted_between(shard, gone, time.monotonic()) > 100 for shard in (0, 2)))
        ended = time.monotonic()
        ready = httpx.get(f"{load.base_url}/health/ready").json()
        diagnosis = riskline("doctor", environment=installation.environment).stdout
        cluster.start_node(node)

        eventually(lambda: load.accepted_between(1, ended, time.monotonic()) > 20)
        assert load.accepted_between(1, gone, ended) == 0
        assert load.refused[0] == load.refused[2] == 0
        assert ready["status"] == "ready"
        assert ready["checks"]["redis"].startswith("1 of 3 shards are away: shard 1: ")
        assert "does not answer" in diagnosis
        installation.ends_well()


@pytest.mark.slow
def test_a_master_that_hangs_keeps_no_other_shard_waiting_for_long(
    tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    with (
        Cluster(tmp_path, server=NEWEST) as cluster,
        Installation(cluster, redis, demo_environment) as installation,
    ):
        load = installation.load
        node = cluster.node_of(1, shards=SHARDS)

        began = time.monotonic()
        cluster.freeze(f"n{node}")
        try:
            # workers meet it once each, for as long as an answer may take, and then leave it alone
            time.sleep(6)
            decided = len(load.followed)
            eventually(lambda: len(load.followed) > decided + 100)
            eventually(lambda: all(load.accepted_between(shard, began, time.monotonic()) > 300 for shard in (0, 2)))
            ended = time.monotonic()
        finally:
            cluster.thaw(f"n{node}")

        for shard in (0, 2):
            assert load.longest_pause(shard, began, ended) < (ended - began) / 3
        assert not installation.said("a worker is gone")
        installation.ends_well()


@pytest.mark.slow
@each_server
def test_a_shard_that_is_moved_to_another_node_under_load_loses_nothing(
    server: Path, tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    with (
        Cluster(tmp_path, server=server) as cluster,
        Installation(cluster, redis, demo_environment) as installation,
    ):
        load = installation.load
        source = cluster.node_of(1, shards=SHARDS)
        eventually(lambda: len(load.accepted_at[1]) > 300)

        for to in (cluster.node_of(2, shards=SHARDS), source, cluster.node_of(0, shards=SHARDS)):
            cluster.move(1, to=to, shards=SHARDS)
            moved = time.monotonic()
            eventually(lambda moved=moved: load.accepted_between(1, moved, time.monotonic()) > 50)

        assert cluster.node_of(1, shards=SHARDS) == cluster.node_of(0, shards=SHARDS)
        assert load.refused[0] == load.refused[2] == 0
        installation.ends_well()


@pytest.mark.slow
@each_server
def test_a_replica_takes_the_place_of_a_master_that_is_killed(
    server: Path, tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    # one replica has what its master acknowledges, as long as both write to it: the load is stopped for the kill
    with (
        Cluster(tmp_path, server=server, replicas=1) as cluster,
        Installation(cluster, redis, demo_environment) as installation,
    ):
        load = installation.load
        node = cluster.node_of(1, shards=SHARDS)
        load.stop()
        eventually(load.all_are_decided)
        assert cluster.clients[node].wait(1, 5000) == 1

        cluster.kill(f"n{node}")
        eventually(lambda: cluster.node_of(1, shards=SHARDS) != node if _is_served(cluster) else False)

        with Load(installation.api.port, clients=6) as again:
            eventually(lambda: all(len(each) > 50 for each in again.accepted_at.values()))
            again.stop()
            eventually(lambda: len(set(again.followed)) >= len(set(load.accepted) | set(again.accepted)))
        assert Counter(again.followed).most_common(1)[0][1] == 1
        audit = riskline("doctor", "--audit", environment=installation.environment)
        assert audit.returncode == 0, audit.stdout


@pytest.mark.slow
def test_where_the_redis_of_the_tickets_is_away_what_is_accepted_is_decided_all_the_same(
    tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    store = OwnRedis(tmp_path / "store")
    environment = {**demo_environment, "REDIS_URL": redis.url, "RISKLINE_STORE_URL": store.url}
    wait = {"Prefer": "wait=20"}
    try:
        with (
            Workers(1, environment=environment, log=tmp_path / "log"),
            RunningApi(redis.url, environment=environment) as api,
        ):
            with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", timeout=PATIENCE_SECONDS) as client:
                before = client.post("/transactions", json=transaction_json(transaction_id="before"), headers=wait)
                redis.stop()
                after = [
                    client.post("/transactions", json=transaction_json(transaction_id=f"after-{number}"), headers=wait)
                    for number in range(3)
                ]
            assert [each.json()["status"] for each in (before, *after)] == ["scored"] * 4
        assert store.client().exists("riskline:{0}:tx:before") == 1
    finally:
        store.stop()


@pytest.mark.slow
def test_where_the_redis_of_the_tickets_hangs_what_is_accepted_is_decided_but_when_it_begins_to(
    tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    store = OwnRedis(tmp_path / "store")
    environment = {**demo_environment, "REDIS_URL": redis.url, "RISKLINE_STORE_URL": store.url}
    settings = load_settings(redis_url=redis.url, store_url=store.url)
    undecided = all_keys(1)[0].undecided

    def decided(name: str) -> None:
        async def accept() -> None:
            api = open_store(settings)
            record = json.loads(a_submission(name).record) | {"callback_url": "https://example.com/hook"}
            await api.intake.accept([a_submission(name)._replace(record=json.dumps(record).encode())])
            await api.close()
            await api.decisions.close()

        asyncio.run(accept())
        eventually(lambda: store.client().zcard(undecided) == 0)

    try:
        with Workers(1, environment=environment, log=tmp_path / "log"):
            decided("before")
            os.kill(redis.pid, signal.SIGSTOP)
            # that it hangs is found when the drain is idle and RQ is to wait for the next ticket
            eventually(lambda: "Redis fails RQ" in (tmp_path / "log").read_text())
            # each while it hangs
            for number in range(6):
                decided(f"after-{number}")
            os.kill(redis.pid, signal.SIGCONT)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
        store.stop()


@pytest.mark.slow
def test_up_on_a_cluster_calls_back_says_what_commands_need_and_refuses_another_number_of_shards(
    tmp_path: Path, redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    names = [name for shard in range(SHARDS) for name in ids_of(shard)]
    callbacks = {"RISKLINE_CALLBACK_SECRET": new_secret(), "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32"}
    with Cluster(tmp_path, server=NEWEST) as cluster, Receiver("204") as receiver:
        own = {
            **demo_environment,
            **callbacks,
            "REDIS_URL": redis.url,
            "RISKLINE_STORE_URL": cluster.url,
            "RISKLINE_SHARDS": str(SHARDS),
        }
        data = ("--data", str(tmp_path / "data"))
        with RunningUp(tmp_path / "data", environment=own) as up:
            for name in names:
                body = json.dumps(transaction_json(transaction_id=name, callback_url=receiver.url)).encode()
                assert up.request("POST", "/transactions", body)[0] == 202
            eventually(lambda: len(receiver.requests) == len(names))
            assert sorted(each["transaction_id"] for each in up.request("GET", "/decisions")[1]["decisions"]) == sorted(
                names
            )
            # with what `up` has left there, and no other word of where the store is
            replayed = riskline("callbacks", "replay", *names[::3], *data, environment=demo_environment)
            eventually(lambda: len(receiver.requests) == len(names) + 3)
            shown = [riskline("callbacks", "show", name, *data, environment=demo_environment) for name in names[::3]]
            erased = f"http://127.0.0.1:{up.state['port']}/transactions/{names[4]}"
            assert (httpx.delete(erased).status_code, httpx.get(erased).status_code) == (204, 410)
            diagnosis = riskline("doctor", *data, environment={**demo_environment, **callbacks})
            audit = riskline("doctor", "--audit", *data, environment=demo_environment)

        other = riskline("up", *data, environment={**own, "RISKLINE_SHARDS": "4"})

    assert replayed.stdout == "3 are sent again\n"
    assert [each.returncode for each in shown] == [0, 0, 0]
    assert "made with 3 shards, and each answers" in diagnosis.stdout
    assert diagnosis.stdout.count("(shards tagged ") == SHARDS
    assert "0 pending, 0 given up" in diagnosis.stdout
    assert (audit.returncode, "9 accepted" in audit.stdout) == (0, True)
    assert (other.returncode, "made with 3 shards, and RISKLINE_SHARDS says 4" in other.stderr) == (1, True)


def _is_served(cluster: Cluster) -> bool:
    try:
        return cluster.node_of(1, shards=SHARDS) >= 0
    except AssertionError:
        return False
