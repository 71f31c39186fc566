"""Clients that wait for decisions: each is woken, none costs a connection, and an outage of Redis is waited out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import riskline.ingest.long_polls.feed_reads
from riskline.ingest.long_polls.feed_reads import FeedReader
from riskline.ingest.long_polls.waiters import WaitSlots
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.feed import OLDEST, Cursor, Page
from tests.integration.running import PATIENCE_SECONDS
from tests.support.decision_logs import MemoryLog, fake_log, names_in


@pytest.fixture(params=[MemoryLog, fake_log], ids=["memory", "fakeredis"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    opened = request.param()
    yield opened
    await opened.close()


class Watched:
    """Decisions that count who reads them, and do what a test wants in between."""

    def __init__(self, decisions: Any) -> None:
        self._decisions = decisions
        self.pages = self.waits = self.waits_at_once = 0
        self.most_waits_at_once = 0
        self.after_each_page: Callable[[Cursor], Any] | None = None
        self.faults: list[Exception] = []
        self.closed = False

    async def page(self, after: Cursor, *, limit: int) -> Page | None:
        self.pages += 1
        page = await self._decisions.page(after, limit=limit)
        if self.after_each_page is not None:
            await self.after_each_page(after)
        return page

    async def newest(self) -> Cursor:
        return await self._decisions.newest()

    async def wait_for_more(self, after: Cursor, *, timeout_seconds: float) -> bool:
        self.waits += 1
        self.waits_at_once += 1
        self.most_waits_at_once = max(self.most_waits_at_once, self.waits_at_once)
        try:
            if self.faults:
                raise self.faults.pop()
            return await self._decisions.wait_for_more(after, timeout_seconds=timeout_seconds)
        finally:
            self.waits_at_once -= 1

    async def close(self) -> None:
        self.closed = True


class Running:
    """A feed whose watching task runs."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.watched = Watched(log.decisions)
        self.feed = FeedReader(self.watched, WaitSlots(999))
        self.task = asyncio.create_task(self.feed.run())

    def wait(
        self, after: Cursor | None = OLDEST, *, limit: int = 10, seconds: float = 2 * PATIENCE_SECONDS
    ) -> "asyncio.Task[Page | None]":
        return asyncio.create_task(self.feed.page(after, limit=limit, wait_seconds=seconds))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # whatever the test waits for
                await asyncio.sleep(0.001)

    async def waiting(self, *clients: "asyncio.Task[Page | None]") -> None:
        await self.until(lambda: len(self.feed._waiters) == len(clients) and self.watched.waits_at_once)


@pytest.fixture
async def running(log: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(riskline.ingest.long_polls.feed_reads, "RETRY_SECONDS", 0.001)
    # longer than anybody waits: who is served was woken, or found it there already
    monkeypatch.setattr(riskline.ingest.long_polls.feed_reads, "BLOCK_SECONDS", 2 * PATIENCE_SECONDS)
    started = Running(log)
    yield started
    started.task.cancel()
    await asyncio.gather(started.task, return_exceptions=True)
    assert started.watched.closed
    assert not started.feed._waiters
    assert not started.feed._reads


async def soon(client: "asyncio.Task[Page | None]") -> Page | None:
    return await asyncio.wait_for(client, PATIENCE_SECONDS)


async def test_who_does_not_wait_is_answered_at_once_and_watches_nothing(running: Running) -> None:
    assert await soon(running.wait(seconds=0)) == Page([], OLDEST)
    assert running.watched.waits == 0


async def test_who_waits_is_woken_by_a_decision(running: Running) -> None:
    client = running.wait()
    await running.waiting(client)
    await running.log.add("a")

    assert names_in(await soon(client)) == ["a"]


async def test_who_waits_in_vain_gets_an_empty_page_when_the_time_is_over(running: Running) -> None:
    assert await soon(running.wait(seconds=0.05)) == Page([], OLDEST)


async def test_from_the_newest_on_only_what_comes_is_read(running: Running) -> None:
    await running.log.add("old")
    assert await soon(running.wait(None, seconds=0)) == Page((), await running.log.decisions.newest())

    client = running.wait(None)
    await running.waiting(client)
    await running.log.add("new")

    assert names_in(await soon(client)) == ["new"]


async def test_clients_that_wait_for_the_same_page_share_the_blocking_read_and_the_page(running: Running) -> None:
    clients = [running.wait() for _ in range(100)]
    await running.waiting(*clients)
    await running.log.add("a")

    pages = [await soon(client) for client in clients]

    assert [names_in(page) for page in pages] == [["a"]] * 100
    assert running.watched.most_waits_at_once == 1
    assert running.watched.pages == 2


async def test_nobody_waits_and_nothing_is_watched_any_more(running: Running) -> None:
    client = running.wait()
    await running.waiting(client)
    await running.log.add("a")
    await soon(client)
    watched = running.watched.waits

    await asyncio.sleep(0.05)

    assert running.watched.waits == watched
    assert running.watched.waits_at_once == 0
    assert not running.feed._somebody_waits.is_set()


async def test_a_decision_between_a_clients_read_and_the_blocking_read_wakes_it(running: Running) -> None:
    async def add_once(after: Cursor) -> None:
        running.watched.after_each_page = None
        await running.log.add("between")

    running.watched.after_each_page = add_once

    assert names_in(await soon(running.wait())) == ["between"]


async def test_a_client_whose_empty_page_comes_late_is_served_although_others_watch_from_further_on(
    running: Running,
) -> None:
    late = asyncio.Event()

    async def hold_back(after: Cursor) -> None:
        if after == OLDEST:
            await late.wait()

    running.watched.after_each_page = hold_back
    behind = running.wait(OLDEST)
    await running.until(lambda: running.watched.pages == 1)
    await running.log.add("a")
    ahead = running.wait(await running.log.decisions.newest())
    await running.waiting(ahead)

    late.set()

    assert names_in(await soon(behind)) == ["a"]
    await running.log.add("b")
    assert names_in(await soon(ahead)) == ["b"]


async def test_of_clients_that_begin_to_wait_together_the_one_furthest_behind_is_woken_too(running: Running) -> None:
    both_have_read = asyncio.Event()
    running.watched.after_each_page = lambda _: both_have_read.wait()
    behind = running.wait(OLDEST)
    await running.until(lambda: running.watched.pages == 1)
    await running.log.add("a")
    ahead = running.wait(await running.log.decisions.newest(), seconds=0.3)
    await running.until(lambda: running.watched.pages == 2)

    both_have_read.set()

    assert names_in(await soon(behind)) == ["a"]
    assert names_in(await soon(ahead)) == []


async def test_a_client_that_goes_takes_no_page_from_others_that_read_it_too(running: Running) -> None:
    go_on = asyncio.Event()
    running.watched.after_each_page = lambda _: go_on.wait()
    gone, stays = running.wait(seconds=0), running.wait(seconds=0)
    await running.until(lambda: running.watched.pages == 1)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)

    go_on.set()

    assert await soon(stays) == Page([], OLDEST)


async def test_a_client_with_an_older_cursor_joins_and_all_are_woken(running: Running) -> None:
    await running.log.add("a")
    ahead = running.wait(await running.log.decisions.newest())
    await running.waiting(ahead)

    assert names_in(await soon(running.wait(OLDEST))) == ["a"]
    await running.log.add("b")
    assert names_in(await soon(ahead)) == ["b"]


async def test_a_cursor_that_leaves_the_feed_while_its_client_waits_has_no_page(running: Running) -> None:
    await running.log.add("a")
    client = running.wait(await running.log.decisions.newest())
    await running.waiting(client)
    await running.log.trim(0)
    await running.log.add("b")

    assert await soon(client) is None


@pytest.mark.parametrize("fault", [StoreUnavailableError("Redis: away"), ValueError("unforeseen")], ids=["away", "bug"])
async def test_watching_goes_on_after_a_fault(running: Running, fault: Exception) -> None:
    running.watched.faults = [fault] * 3
    client = running.wait()
    await running.until(lambda: not running.watched.faults)
    await running.log.add("a")

    assert names_in(await soon(client)) == ["a"]


async def test_who_waits_while_redis_goes_away_is_told_when_the_time_is_over(running: Running) -> None:
    client = running.wait(seconds=0.1)
    await running.waiting(client)
    running.log.lose_connection()

    with pytest.raises(StoreUnavailableError):
        await soon(client)


async def test_a_client_that_goes_leaves_the_others_waiting(running: Running) -> None:
    gone, stays = running.wait(), running.wait()
    await running.waiting(gone, stays)
    gone.cancel()
    await running.waiting(stays)
    await running.log.add("a")

    assert names_in(await soon(stays)) == ["a"]


async def test_when_the_server_stops_all_who_wait_are_answered_and_nobody_waits_any_more(running: Running) -> None:
    clients = [running.wait() for _ in range(3)]
    await running.waiting(*clients)

    running.feed.end_waits()

    assert [await soon(client) for client in clients] == [Page([], OLDEST)] * 3
    assert await soon(running.wait()) == Page([], OLDEST)
