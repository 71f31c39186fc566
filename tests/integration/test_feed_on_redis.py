"""The feed on a real Redis: its contract, that no wake-up is lost, outages, and followers over HTTP."""

import asyncio
import json
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from riskline.ingest.long_polls.feed_reads import FeedReader
from riskline.ingest.long_polls.waiters import WaitSlots
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.connect.connection import connect_async
from riskline.shared.store.feed import OLDEST
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually
from tests.support.decision_logs import RedisLog, names_in
from tests.support.factories import transaction_json
from tests.unit.store.test_decisions import (  # noqa: F401  # the contract, which runs here over this `log`
    test_a_cursor_has_no_page_when_the_whole_feed_was_lost,
    test_a_cursor_that_was_never_given_has_no_page,
    test_a_cursor_whose_entry_has_left_the_feed_has_no_page,
    test_a_page_with_nothing_in_it_repeats_the_cursor,
    test_every_call_names_a_redis_that_is_away,
    test_pages_hold_the_decisions_in_order_each_once,
    test_the_newest_cursor_is_that_of_the_last_entry,
    test_waiting_ends_at_once_when_more_is_there_and_in_time_when_not,
    test_waiting_ends_when_more_comes,
)

pytestmark = pytest.mark.integration

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "follow-the-feed.md"

WAIT_SECONDS = 2 * PATIENCE_SECONDS
"""Longer than the test waits: who is served was woken, or found it there already."""


@pytest.fixture
def server(redis: OwnRedis) -> OwnRedis:
    return redis


@pytest.fixture
async def log(server: OwnRedis) -> AsyncIterator[RedisLog]:
    redis, blocking = (connect_async(server.url, timeout_seconds=seconds) for seconds in (2, 2 * WAIT_SECONDS))
    opened = RedisLog(redis, blocking, lose_connection=server.stop)
    yield opened
    await opened.close()


@pytest.fixture
async def feed(log: RedisLog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FeedReader]:
    monkeypatch.setattr("riskline.ingest.long_polls.feed_reads.BLOCK_SECONDS", WAIT_SECONDS)
    started = FeedReader(log.decisions, WaitSlots(2000))
    task = asyncio.create_task(started.run())
    yield started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_page_costs_redis_one_call(log: RedisLog) -> None:
    await log.add(*[str(number) for number in range(1500)])
    first = await log.decisions.page(OLDEST, limit=1000)
    await log._redis.config_resetstat()

    rest = await log.decisions.page(first.next, limit=1000)

    assert names_in(rest) == [str(number) for number in range(1000, 1500)]
    calls = await log._redis.info("commandstats")
    assert {name: calls[name]["calls"] for name in calls if "config" not in name and "info" not in name} == {
        "cmdstat_xrange": {"calls": 1}["calls"]
    }


async def test_the_bound_of_the_feed_expires_cursors_and_never_skips_in_silence(server: OwnRedis) -> None:
    redis, blocking = (connect_async(server.url, timeout_seconds=2) for _ in range(2))
    log = RedisLog(redis, blocking, lose_connection=server.stop)
    log._intake._feed_length = 100
    await log.add(*[str(number) for number in range(50)])
    slow = (await log.decisions.page(OLDEST, limit=10)).next
    await log.add(*[str(number) for number in range(50, 1000)])

    kept = names_in(await log.decisions.page(OLDEST, limit=1000))

    assert await log.decisions.page(slow, limit=10) is None
    assert 100 <= len(kept) < 300
    assert kept == [str(number) for number in range(1000 - len(kept), 1000)]
    await log.close()


async def test_no_wake_up_is_lost_between_followers_that_come_and_go(log: RedisLog, feed: FeedReader) -> None:
    chance = random.Random(0)
    total = 300

    async def follow(slowness: float) -> list[str]:
        cursor, seen = OLDEST, []
        while len(seen) < total:
            page = await feed.page(cursor, limit=1000, wait_seconds=WAIT_SECONDS)
            seen += names_in(page)
            cursor = page.next
            await asyncio.sleep(chance.random() * slowness)
        return seen

    followers = [asyncio.create_task(follow(slowness)) for slowness in (0, 0, 0.002, 0.02, 0.1)]
    for number in range(total):
        await log.add(str(number))
        await asyncio.sleep(chance.choice((0, 0, 0.001, 0.003, 0.02)))

    for follower in followers:
        assert await asyncio.wait_for(follower, PATIENCE_SECONDS) == [str(number) for number in range(total)]


async def test_a_thousand_clients_that_wait_cost_one_connection(log: RedisLog, feed: FeedReader) -> None:
    clients = [asyncio.create_task(feed.page(OLDEST, limit=10, wait_seconds=WAIT_SECONDS)) for _ in range(1000)]
    await wait_until(lambda: len(feed._waiters) == 1000)
    await asyncio.sleep(0.05)
    connected = await log._redis.info("clients")
    await log.add("a")

    pages = await asyncio.wait_for(asyncio.gather(*clients), PATIENCE_SECONDS)

    assert connected["blocked_clients"] == 1
    assert connected["connected_clients"] <= 3
    assert [names_in(page) for page in pages] == [["a"]] * 1000


async def test_who_waits_through_an_outage_is_served_after_it(
    log: RedisLog, feed: FeedReader, server: OwnRedis
) -> None:
    await log.add("a")
    end = await log.decisions.newest()
    client = asyncio.create_task(feed.page(end, limit=10, wait_seconds=WAIT_SECONDS))
    await wait_until(lambda: len(feed._waiters) == 1)
    await asyncio.to_thread(server.stop)
    await wait_until(lambda: feed._outage.lasts)
    refused = asyncio.create_task(feed.page(end, limit=10, wait_seconds=WAIT_SECONDS))
    with pytest.raises(StoreUnavailableError):
        await asyncio.wait_for(refused, PATIENCE_SECONDS)
    assert not client.done()

    await asyncio.to_thread(server.start)
    await log.add("b")

    assert names_in(await asyncio.wait_for(client, PATIENCE_SECONDS)) == ["b"]


async def test_who_waits_while_redis_loses_its_data_learns_that_the_cursor_has_gone(
    log: RedisLog, feed: FeedReader
) -> None:
    await log.add("a")
    client = asyncio.create_task(feed.page(await log.decisions.newest(), limit=10, wait_seconds=WAIT_SECONDS))
    await wait_until(lambda: len(feed._waiters) == 1)

    await log._redis.flushall()
    await log.add("b")

    assert await asyncio.wait_for(client, PATIENCE_SECONDS) is None


async def wait_until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110  # whatever the test waits for
            await asyncio.sleep(0.001)


def test_followers_over_http_get_the_decisions_of_both_doors_in_one_order(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    async def follow(client: httpx.AsyncClient, total: int) -> list[str]:
        cursor, seen = "0", []
        while len(seen) < total:
            params = {"after": cursor, "wait": 10, "limit": 7}
            page = (await client.get("/decisions", params=params)).raise_for_status().json()
            seen += [decision["transaction_id"] for decision in page["decisions"]]
            cursor = page["next"]
        return seen

    async def run(base_url: str) -> list[list[str]]:
        async with (
            httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS) as client,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            followers = [asyncio.create_task(follow(client, 60)) for _ in range(20)]
            for number in range(30):
                for path, door in (("/score-transaction", "sync"), ("/transactions", "async")):
                    body = transaction_json(transaction_id=f"{door}-{number}")
                    (await client.post(path, json=body)).raise_for_status()
            return await asyncio.gather(*followers)

    with RunningUp(tmp_path, environment=demo_environment) as up:
        seen = asyncio.run(run(f"http://127.0.0.1:{up.state['port']}"))

    assert sorted(seen[0]) == sorted(f"{door}-{number}" for number in range(30) for door in ("sync", "async"))
    assert seen == [seen[0]] * 20


def test_a_client_that_waits_is_told_of_the_next_decision(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    async def run(base_url: str) -> None:
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS) as client:
            cursor = "latest"
            for number in range(20):
                waiting = asyncio.create_task(client.get("/decisions", params={"after": cursor, "wait": 30}))
                await asyncio.sleep(0.02)
                body = transaction_json(transaction_id=str(number))
                (await client.post("/score-transaction", json=body)).raise_for_status()
                page = (await waiting).json()
                assert [decision["transaction_id"] for decision in page["decisions"]] == [str(number)]
                cursor = page["next"]

    with RunningUp(tmp_path, environment=demo_environment) as up:
        asyncio.run(run(f"http://127.0.0.1:{up.state['port']}"))


def test_the_client_of_the_how_to_goes_on_where_it_was_killed(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    script = re.findall(r"^```python\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)[0]
    seen, cursor = tmp_path / "seen", tmp_path / "cursor"

    def submit(up: RunningUp, *names: str) -> None:
        for name in names:
            body = json.dumps(transaction_json(transaction_id=name)).encode()
            assert up.request("POST", "/transactions", body)[0] == 202

    def follow_to_the_end(up: RunningUp, last: str) -> None:
        with seen.open("a") as output:
            client = subprocess.Popen([sys.executable, tmp_path / "follow.py"], cwd=tmp_path, stdout=output)
        try:
            eventually(lambda: f"{last} DECLINE" in seen.read_text())
            end = up.request("GET", "/decisions?after=latest")[1]["next"]
            eventually(lambda: cursor.exists() and cursor.read_text() == end)
        finally:
            client.kill()
            client.wait()

    with RunningUp(tmp_path / "data", environment=demo_environment) as up:
        (tmp_path / "follow.py").write_text(script.replace(":8000", f":{up.state['port']}"))
        submit(up, "a", "b")
        follow_to_the_end(up, "b")
        submit(up, "c", "d")
        follow_to_the_end(up, "d")

    assert seen.read_text().splitlines() == [f"{name} DECLINE" for name in "abcd"]
