"""A store that was emptied, fell back or forgot by its clock is known again as not the one that it was."""

from pathlib import Path
from typing import Any

import fakeredis
import pytest
from structlog.testing import capture_logs

from riskline.cli.doctor.finding import Verdict
from riskline.cli.doctor.store import accept_losses, check_identity
from riskline.cli.installation import OpenStore
from riskline.ingest.background.store_status import StoreWatch
from riskline.shared.errors import InstallationError
from riskline.shared.settings import load_settings
from riskline.shared.store.sharding.shards import all_keys
from riskline.shared.store.status.identity import AsyncIdentity, Witness, memory_of
from tests.support.api import Api

URL = "redis://127.0.0.1:6379/0"
DAY_SECONDS = 86_400.0


class Clocks:
    """The machine's own."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.wall = 1_800_000_000.0


class Redis:
    """One Redis with some shards, in which transactions are accepted, and whose clock can be set."""

    def __init__(self, *, shards: int = 1) -> None:
        server = fakeredis.FakeServer()
        self.sync = fakeredis.FakeRedis(server=server)
        self.client = fakeredis.FakeAsyncRedis(server=server)
        self.keys = all_keys(shards)

    def accept(self, number: int = 1, *, shard: int = 0) -> int:
        return self.sync.hincrby(self.keys[shard].totals, "accepted", number)


class Process:
    """What an API process sees of it; several share the data directory."""

    def __init__(self, redis: Redis, data: Path, clocks: Clocks | None = None) -> None:
        self.clocks = clocks or Clocks()
        self.redis = redis
        self.witnesses = [Witness() for _ in redis.keys]
        identities = [AsyncIdentity(redis.client, keys=keys) for keys in redis.keys]
        self.ahead = 0.0
        for each in identities:
            each.read = self._at_redis_time(each.read)  # type: ignore[method-assign]
        self.watch = StoreWatch(
            list(zip(identities, self.witnesses, strict=True)),
            memory=memory_of(data, URL),
            clock=lambda: self.clocks.steady,
            wall=lambda: self.clocks.wall,
        )
        self.watch.recall()

    def _at_redis_time(self, look: Any) -> Any:
        async def timed() -> Any:
            return (await look())._replace(at_seconds=self.clocks.wall + self.ahead)

        return timed

    async def sees(self, *, after_seconds: float = 5.0) -> dict[str, str]:
        self.clocks.steady += after_seconds
        self.clocks.wall += after_seconds
        await self.watch.update()
        return self.watch.problems()


@pytest.fixture
def redis() -> Redis:
    return Redis()


async def test_a_store_that_grows_is_the_same(redis: Redis, tmp_path: Path) -> None:
    process = Process(redis, tmp_path)
    for _ in range(3):
        redis.accept(10)
        assert await process.sees() == {}

    assert await Process(redis, tmp_path).sees() == {}


async def test_a_store_that_was_emptied_is_noted_in_it_for_all_until_an_operator_takes_note(
    redis: Redis, tmp_path: Path
) -> None:
    process, other = Process(redis, tmp_path), Process(redis, tmp_path / "elsewhere")
    redis.accept(532)
    assert await process.sees() == await other.sees() == {}

    redis.sync.flushall()
    with capture_logs() as logs:
        found = await process.sees()
        await process.sees()

    assert "not the store that was here before" in found["store"]
    assert "532 transactions" in found["store"]
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("the store has lost data", "error")]
    # also one that starts now, and has never seen the store before
    assert "store" in await Process(redis, tmp_path / "new").sees()
    assert "store" in await other.sees()

    redis.sync.hdel(redis.keys[0].identity, "lost", "lost_at")
    assert await process.sees() == await other.sees() == {}


async def test_a_process_that_another_told_of_an_emptied_store_alarms_nobody_anew(redis: Redis, tmp_path: Path) -> None:
    process, other = Process(redis, tmp_path), Process(redis, tmp_path / "elsewhere")
    other.witnesses[0].saw(redis.accept(532), new=532)
    await process.sees()
    await other.sees()
    redis.sync.flushall()
    await process.sees()
    await other.sees()
    redis.sync.hdel(redis.keys[0].identity, "lost", "lost_at")

    assert await other.sees() == {}
    other.witnesses[0].saw(redis.accept(1), new=1)
    assert await other.sees() == await process.sees() == {}


async def test_a_store_that_was_emptied_while_no_process_ran_is_noted(redis: Redis, tmp_path: Path) -> None:
    redis.accept(7)
    await Process(redis, tmp_path).sees()
    redis.sync.flushall()

    assert "store" in await Process(redis, tmp_path).sees()


async def test_of_several_shards_it_says_which(tmp_path: Path) -> None:
    redis = Redis(shards=3)
    process = Process(redis, tmp_path)
    for shard in range(3):
        redis.accept(5, shard=shard)
    assert await process.sees() == {}

    emptied = redis.keys[1]
    redis.sync.delete(*redis.sync.keys(f"{emptied.prefix}*"))
    found = await process.sees()

    assert f"shard {emptied.shard}: it is not the store" in found["store"]
    assert found["store"].count("shard ") == 1


async def test_a_failover_that_lost_what_was_answered_since_the_last_look_is_noted(
    redis: Redis, tmp_path: Path
) -> None:
    process = Process(redis, tmp_path)
    redis.accept(1000)
    await process.sees()

    # 600 more are answered, the failover takes 532 of them away, and 60 come after it
    process.witnesses[0].saw(redis.accept(600), new=600)
    redis.sync.hset(redis.keys[0].totals, "accepted", 1068)
    process.witnesses[0].saw(redis.accept(60), new=60)

    assert "at least 532 of the transactions" in (await process.sees())["store"]


async def test_a_store_that_fell_back_is_noted_though_nothing_comes_any_more(redis: Redis, tmp_path: Path) -> None:
    process = Process(redis, tmp_path)
    redis.accept(1000)
    await process.sees()
    redis.sync.hset(redis.keys[0].totals, "accepted", 990)

    assert "at least 10 of" in (await process.sees())["store"]
    assert "store" in await Process(redis, tmp_path).sees()


async def test_what_is_accepted_while_it_looks_is_no_loss(redis: Redis, tmp_path: Path) -> None:
    process = Process(redis, tmp_path)
    await process.sees()
    look = process.watch.shards[0].identity.read

    async def accepts_meanwhile() -> Any:
        seen = await look()
        process.witnesses[0].saw(redis.accept(5), new=5)
        return seen

    process.watch.shards[0].identity.read = accepts_meanwhile  # type: ignore[method-assign]

    assert await process.sees() == {}
    assert await process.sees() == {}


async def test_a_clock_of_redis_that_jumps_a_day_ahead_is_noted_and_stays_so(redis: Redis, tmp_path: Path) -> None:
    process = Process(redis, tmp_path)
    assert await process.sees() == {}

    process.ahead = DAY_SECONDS
    found = await process.sees()
    assert "its clock jumped ahead by 86400 s" in found["store"]
    assert "86400 s ahead of this machine's" in found["clock"]

    process.ahead = 0.0
    back = await process.sees()
    assert "store" in back
    assert "clock" not in back


async def test_a_machine_that_slept_is_no_jump_and_one_whose_clocks_are_both_set_ahead_is(
    redis: Redis, tmp_path: Path
) -> None:
    process = Process(redis, tmp_path)
    await process.sees()
    assert await process.sees(after_seconds=DAY_SECONDS) == {}

    # the API's machine is Redis's, and its clock is set
    process.clocks.wall += DAY_SECONDS

    assert list(await process.sees()) == ["store"]


async def test_a_process_that_was_stopped_in_the_midst_of_a_look_takes_no_clock_for_wrong(
    redis: Redis, tmp_path: Path
) -> None:
    process = Process(redis, tmp_path)
    assert await process.sees() == {}
    look = process.watch.shards[0].identity.read

    async def stopped_after_the_answer() -> Any:
        seen = await look()
        process.clocks.steady += 200
        process.clocks.wall += 200
        return seen

    process.watch.shards[0].identity.read = stopped_after_the_answer  # type: ignore[method-assign]
    assert await process.sees() == {}
    process.watch.shards[0].identity.read = look  # type: ignore[method-assign]

    assert await process.sees() == {}


async def test_a_data_directory_that_cannot_be_written_is_said_once(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = Process(redis, tmp_path / "file")

    with capture_logs() as logs:
        for _ in range(3):
            redis.accept()
            assert await process.sees() == {}

    assert len(logs) == 1


async def test_doctor_and_its_audit_find_an_emptied_store_without_any_process(redis: Redis, tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path, redis_url=URL)
    store = OpenStore([redis.sync], redis.sync)
    redis.accept(9)
    await Process(redis, tmp_path).sees()
    assert check_identity(settings, store).verdict is Verdict.OK

    redis.sync.flushall()
    found = check_identity(settings, store)
    accept_losses(settings, store)

    assert found.verdict is Verdict.FAIL
    assert "9 transactions" in found.detail
    assert "--accept-loss" in found.detail
    assert check_identity(settings, store).verdict is Verdict.OK
    assert await Process(redis, tmp_path).sees() == {}


async def test_doctor_vouches_for_no_store_that_its_data_directory_does_not_know(redis: Redis, tmp_path: Path) -> None:
    redis.accept(9)
    await Process(redis, tmp_path / "elsewhere").sees()
    redis.sync.flushall()

    found = check_identity(load_settings(data=tmp_path, redis_url=URL), OpenStore([redis.sync], redis.sync))

    assert found.verdict is Verdict.OK
    assert "does not know it from before" in found.detail


def test_a_loss_cannot_be_accepted_where_the_data_directory_cannot_be_written(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = load_settings(data=tmp_path / "file", redis_url=URL)

    with pytest.raises(InstallationError, match="--data"):
        accept_losses(settings, OpenStore([redis.sync], redis.sync))


def test_a_lost_store_is_degraded_and_leaves_the_process_ready() -> None:
    api = Api()
    api.store_watch.shards[0].lost = "it was emptied"

    ready = api.client.simulate_get("/health/ready")

    assert (ready.status_code, ready.json["status"], ready.json["degraded"]) == (200, "ready", ["store"])
    assert "it was emptied" in ready.json["checks"]["store"]
