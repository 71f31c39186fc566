"""The history while its Redis is away, frozen, full, emptied or restarted: an error in time, and no mix-up."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from riskline.cli.up.redis_server import server_candidates
from riskline.shared.domain.history.observation import Observation, SeenBefore
from riskline.shared.errors import HistoryLostError, HistoryUnavailableError
from riskline.shared.store.history.interface import Replacement
from riskline.shared.store.history.redis_history import MARK_AGAIN_SECONDS, RedisHistory
from tests.integration.history_stores import redis_history
from tests.integration.running import OwnRedis, eventually
from tests.integration.servers import Servers, Watched, answer, free_ports
from tests.support.observations import CARD, START_US, an_event, an_observation, hashed

pytestmark = pytest.mark.integration

TIMEOUT_SECONDS = 0.05
"""Short, as each test waits for it, and longer than a busy machine takes for most calls."""


KILLS = 8


@pytest.fixture
async def store(redis: OwnRedis) -> AsyncIterator[RedisHistory]:
    made = redis_history(redis.url)
    await made.warm()
    yield made
    await made.close()


@pytest.fixture
async def hasty(redis: OwnRedis) -> AsyncIterator[RedisHistory]:
    """One that gives up soon."""
    made = redis_history(redis.url, timeout_seconds=TIMEOUT_SECONDS, patience_seconds=TIMEOUT_SECONDS)
    yield made
    await made.close()


def freeze(redis: OwnRedis) -> None:
    os.kill(redis.pid, signal.SIGSTOP)


def thaw(redis: OwnRedis) -> None:
    os.kill(redis.pid, signal.SIGCONT)


async def test_a_redis_that_is_down_is_an_error_and_one_that_is_back_is_used_again(
    store: RedisHistory, redis: OwnRedis
) -> None:
    await store.observe([an_observation("a")])
    redis.stop()

    for call in (store.observe([an_observation("b")]), store.look([an_observation("b")]), store.warm(), store.marks()):
        with pytest.raises(HistoryUnavailableError, match="the history's Redis: "):
            await call

    redis.start()
    assert await store.observe([an_observation("b")]) == [SeenBefore((an_event("a"),) * 3)]


async def test_each_call_gives_up_on_a_frozen_redis_and_says_when_it_began(
    hasty: RedisHistory, redis: OwnRedis
) -> None:
    freeze(redis)
    try:
        # each returns while the server is frozen
        for call in (
            hasty.observe([an_observation("a")]),
            hasty.look([an_observation("a")]),
            hasty.compact([Replacement(CARD, hashed("card"), b"", b"S")]),
            hasty.marks(),
            hasty.warm(),
        ):
            with pytest.raises(HistoryUnavailableError, match=r"no answer within 0\.05 s") as gave_up:
                await call
            assert gave_up.value.began is not None
    finally:
        thaw(redis)


async def test_an_answer_that_comes_late_is_not_taken_for_that_of_the_next_call(
    redis: OwnRedis, store: RedisHistory
) -> None:
    hasty = redis_history(redis.url, timeout_seconds=TIMEOUT_SECONDS)
    await hasty.warm()
    await store.observe([an_observation(f"first of {number}", f"card{number}") for number in range(20)])
    for number in range(0, 20, 2):
        freeze(redis)
        late, next_one = (an_observation(f"t{each}", f"card{each}") for each in (number, number + 1))
        with pytest.raises(HistoryUnavailableError):
            await hasty.observe([late])
        thaw(redis)
        [seen] = await store.observe([next_one])
        assert seen.before[CARD] == an_event(f"first of {number + 1}")
        [repeated] = await patiently(hasty, late)
        assert (repeated.before[CARD] or b"").startswith(an_event(f"first of {number}"))

    looked = await store.look([an_observation("x", f"card{number}") for number in range(20)])
    assert [each.before[CARD] for each in looked] == [
        an_event(f"first of {number}") + an_event(f"t{number}") for number in range(20)
    ]
    await hasty.close()


async def patiently(store: RedisHistory, observation: Observation) -> list[SeenBefore]:
    """Repeats a call until it has an answer in time, as a busy machine may be slow."""
    while True:
        try:
            return await store.observe([observation])
        except HistoryUnavailableError:
            continue


async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(store: RedisHistory, redis: OwnRedis) -> None:
    await store.observe([an_observation(f"first of {number}", f"card{number}") for number in range(50)])
    for number in range(0, 50, 2):
        freeze(redis)
        cancelled = asyncio.create_task(store.observe([an_observation(f"t{number}", f"card{number}")]))
        await asyncio.sleep(0.001 * (number % 4))
        cancelled.cancel()
        await asyncio.wait([cancelled])
        # while the server is frozen: nothing has answered
        assert cancelled.cancelled()
        thaw(redis)
        [seen] = await store.observe([an_observation(f"t{number + 1}", f"card{number + 1}")])
        assert seen.before[CARD] == an_event(f"first of {number + 1}")


async def test_a_redis_that_forgot_its_scripts_is_given_them_again(store: RedisHistory, redis: OwnRedis) -> None:
    await store.observe([an_observation("a")])
    with redis.client() as client:
        client.script_flush()

    assert await store.observe([an_observation("b")]) == [SeenBefore((an_event("a"),) * 3)]
    with redis.client() as client:
        client.script_flush()
    assert await store.compact([Replacement(CARD, hashed("card"), an_event("a"), b"S")]) == 1


async def test_a_full_redis_is_an_error_and_adds_nothing_by_half(store: RedisHistory, redis: OwnRedis) -> None:
    await store.observe([an_observation("a")])
    with redis.client() as client:
        client.config_set("maxmemory", "1")
        for call in (
            store.observe([an_observation(f"t{number}") for number in range(40)]),
            store.compact([Replacement(CARD, hashed("card"), an_event("a"), b"S")]),
        ):
            with pytest.raises(HistoryUnavailableError, match="maxmemory"):
                await call
        [looked] = await store.look([an_observation("b")])
        assert looked == SeenBefore((an_event("a"),) * 3)
        assert await store.observe([an_observation("a")]) == [SeenBefore((an_event("a"),) * 3, known=True)]
        client.config_set("maxmemory", "0")

    assert await store.observe([an_observation("b")]) == [SeenBefore((an_event("a"),) * 3)]


async def test_an_emptied_redis_is_begun_anew_and_marked_again(redis: OwnRedis) -> None:
    now = 0.0
    store = redis_history(redis.url, clock=lambda: now)
    await store.observe([an_observation("a", at_us=START_US)])
    with redis.client() as client:
        client.flushall()

    assert await store.observe([an_observation("b", at_us=START_US + 1)]) == [SeenBefore((b"", b"", b""))]
    now += MARK_AGAIN_SECONDS
    await store.observe([an_observation("c", at_us=START_US + 2)])

    assert {mark.live_from_us for mark in (await store.marks()).values()} == {START_US + 2}
    await store.close()


async def test_a_process_that_was_idle_meanwhile_loses_an_accepted_history_for_no_other(redis: OwnRedis) -> None:
    busy, idle = (redis_history(redis.url, refuses_lost=True) for _ in range(2))
    for number, store in enumerate((busy, idle)):
        await store.observe([an_observation(f"before {number}")])
    with redis.client() as client:
        client.flushall()
    with pytest.raises(HistoryLostError):
        await busy.observe([an_observation("a")])

    await busy.accept_loss()

    for number, store in enumerate((busy, idle, busy)):
        [seen] = await store.observe([an_observation(f"after {number}")])
        assert not seen.known
    for store in (busy, idle):
        await store.close()


async def test_a_key_that_another_program_wrote_is_begun_anew_and_stops_no_other(
    store: RedisHistory, redis: OwnRedis
) -> None:
    await store.observe([an_observation("a")])
    with redis.client() as client:
        [key] = client.keys("riskline:{h*}:entity:c0000001:*")
        client.delete(key)
        client.hset(key, "not", "ours")

    assert await store.compact([Replacement(CARD, hashed("card"), an_event("a"), b"S")]) == 0
    assert await store.observe([an_observation("b")]) == [SeenBefore((b"", an_event("a"), an_event("a")))]
    assert await store.observe([an_observation("c")]) == [
        SeenBefore((an_event("b"), an_event("a") + an_event("b"), an_event("a") + an_event("b")))
    ]


async def test_what_was_acknowledged_survives_kills_and_what_was_not_is_safe_to_repeat(redis: OwnRedis) -> None:
    stores = [redis_history(redis.url) for _ in range(3)]
    done: dict[str, SeenBefore] = {}
    told: asyncio.Queue[str] = asyncio.Queue()

    async def observe(store: RedisHistory, mine: int) -> None:
        for number in range(40):
            name = f"t{mine}-{number}"
            while name not in done:
                try:
                    [done[name]] = await store.observe([an_observation(name)])
                except HistoryUnavailableError:
                    await asyncio.sleep(0.01)
            told.put_nowait(name)

    observing = [asyncio.create_task(observe(store, number)) for number, store in enumerate(stores)]
    for _ in range(KILLS):
        for _ in range(120 // KILLS):
            await told.get()
        redis.stop()
        await asyncio.to_thread(redis.start)
    await asyncio.gather(*observing)

    [looked] = await stores[0].look([an_observation("only looks")])
    kept = looked.before[CARD] or b""
    events = [kept[start : start + 25] for start in range(0, len(kept), 25)]
    assert sorted(events) == sorted(an_event(name) for name in done)
    assert len(done) == 120
    # each saw a beginning of what is kept, up to its own event or, where it was repeated, beyond it
    for name, seen in done.items():
        before = seen.before[CARD] or b""
        assert kept.startswith(before)
        assert (an_event(name) in before) == seen.known
    for store in stores:
        await store.close()


async def test_the_history_follows_the_master_that_sentinel_names() -> None:
    with tempfile.TemporaryDirectory(prefix="rl-", dir="/tmp") as made, watched(Path(made)) as servers:
        store = redis_history(servers.url)
        await store.warm()
        await store.observe([an_observation("a")])
        servers.first.wait(1, 60_000)
        eventually(servers.fail_over)
        eventually(lambda: answer(servers.second, "role") == "master")

        seen = await patiently(store, an_observation("b"))

        assert [each.before[CARD] for each in seen] in ([an_event("a")], [an_event("a") + an_event("b")])
        await store.close()


def watched(directory: Path) -> Watched:
    found = server_candidates()
    if not found:
        pytest.skip("there is no redis-server")
    return Watched(directory, server=found[0])


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a Redis that speaks TLS alone, and its certificate."""
    openssl, servers = shutil.which("openssl"), server_candidates()
    if openssl is None or not servers:
        pytest.skip("there is no openssl or no redis-server")
    key, certificate, [port] = tmp_path / "key.pem", tmp_path / "cert.pem", free_ports(1)
    words = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([openssl, "req", "-x509", *words], check=True, capture_output=True)
    with Servers(tmp_path, server=servers[0]) as started:
        tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        started.start("tls", "--port", "0", "--save", "", "--tls-auth-clients", "no", *tls)
        log_file = tmp_path / "tls.log"
        said = eventually(lambda: log_file.exists() and log_file.read_text())
        if "Failed to configure TLS" in said or "Bad directive" in said:
            pytest.skip(f"{servers[0]} speaks no TLS")
        yield f"rediss://127.0.0.1:{port}", certificate


async def test_the_history_speaks_tls(over_tls: tuple[str, Path]) -> None:
    url, certificate = over_tls
    store, stranger = redis_history(f"{url}?ssl_ca_certs={certificate}"), redis_history(url)

    assert await patiently(store, an_observation("a")) == [SeenBefore((b"", b"", b""))]
    with pytest.raises(HistoryUnavailableError, match="certificate"):
        await stranger.observe([an_observation("b")])
    await store.close()
    await stranger.close()
