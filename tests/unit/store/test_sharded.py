"""A store of several shards: what it does beyond what each of them does."""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import fakeredis
import orjson
import pytest
from prometheus_client import REGISTRY

from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.exported_metrics import ExportedMetrics
from riskline.ingest.background.worker_need import WorkerNeed
from riskline.ingest.long_polls.waiters import DecisionWaiters, WaitSlots
from riskline.ingest.recording.recorder import ShardedRecorder
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.capacity import BATCH, BatchTimes, Target
from riskline.shared.errors import QueueFullError, StoreUnavailableError
from riskline.shared.store.feed import OLDEST, Cursor, RedisDecisions
from riskline.shared.store.interfaces import ACCEPTED, Claim, Stored, SweepResult
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import Outcome, Record, decided
from riskline.shared.store.redis_queue import RedisIntake
from riskline.shared.store.search import NEWEST, search_of
from riskline.shared.store.sharding import sharded_queue
from riskline.shared.store.sharding.sharded_feed import ShardedCursor, ShardedDecisions
from riskline.shared.store.sharding.sharded_queue import TURN_BATCHES, ShardedQueue, ShardHealth
from riskline.shared.store.sharding.sharded_store import ShardedIntake
from riskline.shared.store.sharding.shards import all_keys, shard_of
from riskline.shared.store.status.counts import Counts, together
from riskline.shared.store.status.paces import BatchMeasurements
from riskline.shared.telemetry.metrics import WORKERS_NEEDED
from riskline.worker.scoring.sweeper import ShardSweeper
from tests.integration.running import PATIENCE_SECONDS, eventually
from tests.integration.stores import a_decision, a_submission
from tests.support.decision_logs import shown_decision
from tests.support.factories import a_transaction

SHARDS = 3

route = partial(shard_of, shards=SHARDS)


def ids_of(shard: int, count: int = 2, *, prefix: str = "t") -> list[str]:
    return [each for each in (f"{prefix}{number}" for number in range(1000)) if route(each) == shard][:count]


def memory_intake() -> tuple[ShardedIntake, list[MemoryStore]]:
    stores = [MemoryStore() for _ in range(SHARDS)]
    return ShardedIntake(stores, route=route), stores


class Slow(MemoryStore):
    """A shard that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def accept(self, submissions: Sequence[Any]) -> list[Stored]:
        await self.let.wait()
        return await super().accept(submissions)

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        await self.let.wait()
        return await super().get(transaction_ids)


async def test_answers_come_in_the_order_of_what_was_asked() -> None:
    intake, stores = memory_intake()
    names = [each for pair in zip(*(ids_of(shard, 5) for shard in range(SHARDS)), strict=True) for each in pair]

    assert await intake.accept([a_submission(each) for each in names]) == [ACCEPTED] * 15
    answers = await intake.get([*reversed(names), "unknown"])

    assert [each and each["transaction"]["transaction_id"] for each in answers] == [*reversed(names), None]
    assert [sorted(store.records) for store in stores] == [sorted(ids_of(shard, 5)) for shard in range(SHARDS)]


async def test_where_a_shard_is_away_only_its_transactions_fail() -> None:
    intake, stores = memory_intake()
    stores[1].away = True

    for shard in (0, 2):
        assert await intake.accept([a_submission(each) for each in ids_of(shard)]) == [ACCEPTED] * 2
    with pytest.raises(StoreUnavailableError):
        await intake.accept([a_submission(each) for each in (*ids_of(1), *ids_of(2, 3))])

    assert len(stores[2].records) == 3


async def test_counts_are_of_all_and_of_a_shard_that_is_away_those_that_were_last_seen() -> None:
    intake, stores = memory_intake()
    await intake.accept([a_submission(each) for shard in range(SHARDS) for each in ids_of(shard)])
    assert (await intake.count()).accepted == 6
    await stores[0].accept([a_submission("more")])
    stores[1].away = True

    assert (await intake.count()).accepted == 7
    assert list(intake.away) == [1]
    for store in stores:
        store.away = True
    with pytest.raises(StoreUnavailableError):
        await intake.count()


async def test_until_each_shard_was_seen_nothing_says_what_was_ever_done() -> None:
    intake, stores = memory_intake()
    now = itertools.count()
    backlog = Backlog(intake, queue_limit=1000, clock=lambda: next(now))
    measured: Any = SimpleNamespace(
        read=AsyncMock(return_value=BatchMeasurements({BATCH: BatchTimes(100, 25_600, 2.5)}, 1.0))
    )
    scaling = WorkerNeed(backlog, measured, Target())
    workers: Any = SimpleNamespace(decided=None, measured=None)
    kept = ExportedMetrics(backlog, workers, SimpleNamespace(busy_seconds=None))
    for store in stores:
        store.workers = {"w": math.inf}
        store.totals.update(accepted=50_000_000, decided=50_000_000)
        await store.accept([a_submission("a")])
    stores[1].away = True
    WORKERS_NEEDED.clear()

    async def look() -> float | None:
        await backlog.update()
        await scaling.update()
        return REGISTRY.get_sample_value("riskline_workers_needed", {"queue": "scoring"})

    assert [await look(), await look()] == [None, None]
    assert b"riskline_queue_transactions_total{" not in kept.exposition()
    stores[1].away = False
    assert [await look(), await look(), await look()] == [None, 1, 1]
    assert backlog.decided_per_second == 0
    assert b'riskline_queue_transactions_total{event="accepted"} 1.50000003e+08' in kept.exposition()


async def test_of_a_shard_that_is_away_nobody_knows_who_works_there_or_how_long_something_waits() -> None:
    intake, stores = memory_intake()
    stores[1].workers = {"a": math.inf, "b": math.inf}
    stores[2].workers = {"a": math.inf}
    await stores[1].accept([a_submission("t")])
    before = await intake.count()
    assert (before.workers, before.undecided) == (2, 1)
    assert before.oldest_ms is not None
    stores[1].away = True

    after = await intake.count()

    assert (after.workers, after.undecided, after.oldest_ms, after.callbacks_overdue_ms) == (1, 1, None, 0)


def test_counts_add_up_and_workers_are_in_each_shard() -> None:
    counts = together(
        [
            Counts(accepted=2, undecided=1, workers=3, oldest_ms=5, fed=1, callbacks_overdue_ms=9),
            Counts(accepted=3, undecided=0, workers=2, fed=2),
        ]
    )

    assert counts == Counts(accepted=5, undecided=1, workers=3, oldest_ms=5, fed=3, callbacks_overdue_ms=9)
    assert together([Counts(fed=1), Counts(fed=None)]).fed is None


async def test_a_slow_shard_keeps_no_submission_of_another_waiting() -> None:
    slow = Slow()
    stores: list[MemoryStore] = [MemoryStore(), slow, MemoryStore()]

    async def no_ticket() -> None:
        return

    submitter = Submitter(
        ShardedIntake(stores, route=route), ensure_ticket=no_ticket, queue_full=lambda: pytest.fail("there is room")
    )
    waits = asyncio.create_task(submitter.submit(a_submission(ids_of(1)[0])))

    for shard in (0, 2):
        record = await asyncio.wait_for(submitter.submit(a_submission(ids_of(shard)[0])), PATIENCE_SECONDS)
        assert record["status"] == "queued"
    assert not waits.done()

    slow.let.set()
    assert (await asyncio.wait_for(waits, PATIENCE_SECONDS))["status"] == "queued"
    await submitter.close()


async def test_a_slow_shard_keeps_no_read_of_another_waiting() -> None:
    slow = Slow()
    waiting = DecisionWaiters(ShardedIntake([MemoryStore(), slow, MemoryStore()], route=route), WaitSlots(9))
    waits = asyncio.create_task(waiting.read(ids_of(1)[0]))

    assert await asyncio.wait_for(waiting.read(ids_of(0)[0]), PATIENCE_SECONDS) is None
    assert not waits.done()

    slow.let.set()
    assert await asyncio.wait_for(waits, PATIENCE_SECONDS) is None


async def test_who_is_told_of_many_decisions_at_once_does_not_wait_for_a_shard_that_hangs() -> None:
    slow = Slow()
    stores: list[MemoryStore] = [MemoryStore(), slow, MemoryStore()]
    waiting = DecisionWaiters(ShardedIntake(stores, route=route), WaitSlots(9))
    (first, second), other = ids_of(1), ids_of(2)[0]
    for store, name in ((slow, first), (slow, second), (stores[2], other)):
        await MemoryStore.accept(store, [a_submission(name)])
        await store.decide_queued(decided(orjson.loads(store.records[name]), a_decision(name)))

    with ExitStack() as stack:
        reads = [stack.enter_context(waiting.watching(name)) for name in (first, second, other)]
        # as the subscription does, between two messages
        await asyncio.wait_for(waiting.receive([first, other]), PATIENCE_SECONDS)
        await asyncio.wait_for(waiting.receive([second]), PATIENCE_SECONDS)
        assert (await asyncio.wait_for(reads[2], PATIENCE_SECONDS))["status"] == "scored"
        assert [each.done() for each in reads] == [False, False, True]

        slow.let.set()
        assert [(await asyncio.wait_for(each, PATIENCE_SECONDS))["status"] for each in reads[:2]] == ["scored"] * 2


async def test_decisions_of_a_shard_that_is_away_wait_by_themselves() -> None:
    intake, stores = memory_intake()
    recorder = ShardedRecorder(intake, capacity=9)
    stores[1].away = True
    for shard in range(SHARDS):
        transaction = a_transaction(transaction_id=ids_of(shard)[0])
        recorder.add(transaction, scored_at="2026-11-24T03:15:07.123Z", shown=b"{}")

    with pytest.raises(StoreUnavailableError):
        await recorder.flush()
    await recorder.flush_of(ids_of(2)[0])
    assert [len(store.records) for store in stores] == [1, 0, 1]
    assert recorder.pending == 1

    stores[1].away = False
    await recorder.flush()
    assert (recorder.pending, len(stores[1].records)) == (0, 1)


@pytest.mark.parametrize(
    "places",
    [
        (Cursor(1795502804930, 0), Cursor(1795502804930, 7), OLDEST),
        (Cursor(2**64 - 1, 2**64 - 1),) * 3,
        (OLDEST, OLDEST, Cursor(0, 1)),
    ],
)
def test_a_cursor_is_what_its_text_says(places: tuple[Cursor, ...]) -> None:
    text = str(ShardedCursor(places))

    assert ShardedCursor.parse(text, shards=3) == ShardedCursor(places)
    assert text.startswith("3.")
    assert len(text) < 90
    assert Cursor.parse(text) is None
    assert ShardedCursor.parse(text, shards=4) is None


NO_CURSORS = ["", "3", "3.", "3.AAAAAA", "3.AAAAAAAA", "3.AAAAAA==", "03.AAAAAAAB", "3.!!!!", "1795502804930-0", "3.gA"]


@pytest.mark.parametrize("text", NO_CURSORS)
def test_what_is_no_cursor_of_such_a_store_is_none(text: str) -> None:
    assert ShardedCursor.parse(text, shards=3) is None


class Feed:
    """The feed of three shards on one Redis, and what is written to it."""

    def __init__(self) -> None:
        server = fakeredis.FakeServer()
        redis, blocking = (fakeredis.FakeAsyncRedis(server=server) for _ in range(2))
        self.away: set[int] = set()
        keys = all_keys(SHARDS)
        limits = {"result_ttl_seconds": 60, "feed_length": 1000, "queue_limit": 9}
        self.redis = redis
        self.intakes = [RedisIntake(redis, keys=mine, **limits) for mine in keys]
        self.parts = [RedisDecisions(redis, blocking=blocking, keys=mine) for mine in keys]
        self.decisions = ShardedDecisions(self.parts, is_away=lambda number: number in self.away)

    async def add(self, shard: int, *names: str) -> None:
        await self.intakes[shard].record([Outcome(each, b"{}", shown_decision(each)) for each in names])

    async def follow(self, after: ShardedCursor, *, limit: int) -> tuple[list[list[str]], ShardedCursor]:
        pages: list[list[str]] = []
        while True:
            page = await self.decisions.page(after, limit=limit)
            assert page is not None
            if not page.decisions:
                return pages, after
            pages.append([orjson.loads(each)["transaction_id"] for each in page.decisions])
            # as a client has it
            read = ShardedCursor.parse(str(page.next), shards=SHARDS)
            assert read is not None
            after = read


START = ShardedCursor((OLDEST,) * SHARDS)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_have_each_decision_once_and_those_of_a_shard_in_their_order(limit: int) -> None:
    feed = Feed()
    written: list[list[str]] = [[], [], []]
    for number in range(40):
        shard = number % 7 % 3
        await feed.add(shard, f"{shard}-{number}")
        written[shard].append(f"{shard}-{number}")

    pages, end = await feed.follow(START, limit=limit)

    seen = [each for page in pages for each in page]
    assert [[each for each in seen if each.startswith(str(shard))] for shard in range(3)] == written
    assert max(map(len, pages)) <= limit
    await feed.add(1, "later")
    assert (await feed.follow(end, limit=limit))[0] == [["later"]]


async def test_decisions_of_different_shards_come_by_their_time() -> None:
    feed = Feed()
    for number in range(9):
        await feed.add(number % 2, str(number))
        await asyncio.sleep(0.002)

    assert (await feed.follow(START, limit=100))[0] == [[str(number) for number in range(9)]]


async def test_while_a_shard_is_away_the_others_go_on_and_its_own_come_later_without_a_gap() -> None:
    feed = Feed()
    await feed.add(0, "a")
    await feed.add(1, "b")
    _, cursor = await feed.follow(START, limit=10)
    feed.away.add(1)
    await feed.add(0, "c")
    await feed.add(1, "d")

    pages, cursor = await feed.follow(cursor, limit=10)
    assert pages == [["c"]]

    feed.away.clear()
    assert (await feed.follow(cursor, limit=10))[0] == [["d"]]


async def test_where_one_shard_has_lost_the_place_there_is_no_page() -> None:
    feed = Feed()
    for shard in range(SHARDS):
        await feed.add(shard, "a", "b")
    page = await feed.decisions.page(START, limit=3)
    assert page is not None
    _, cursor = await feed.follow(START, limit=10)

    await feed.redis.delete(all_keys(SHARDS)[1].feed)

    assert await feed.decisions.page(cursor, limit=10) is None


async def test_where_entries_leave_the_feed_of_a_shard_that_was_not_come_to_yet_there_is_no_page() -> None:
    feed, [mine, other, _] = Feed(), all_keys(SHARDS)
    for number in range(10):
        await feed.redis.xadd(mine.feed, {"d": shown_decision(f"{number:02}")}, id=f"5-{number}")
        await feed.redis.xadd(other.feed, {"d": shown_decision(f"1{number}")}, id=f"9-{number}")
    page = await feed.decisions.page(START, limit=4)
    assert page is not None
    after = ShardedCursor.parse(str(page.next), shards=SHARDS)
    assert after is not None
    rest = [orjson.loads(each)["transaction_id"] for each in page.decisions]
    for limit in (1, 100):
        whole = await feed.follow(after, limit=limit)
        assert rest + [each for of_page in whole[0] for each in of_page] == [f"{number:02}" for number in range(20)]

    await feed.redis.xtrim(other.feed, maxlen=9, approximate=False)

    assert await feed.decisions.page(after, limit=4) is None
    # from the oldest that is kept on there always is one
    assert sum(map(len, (await feed.follow(START, limit=4))[0])) == 19


async def test_an_entry_that_is_erased_before_a_client_has_come_to_its_shard_is_no_gap() -> None:
    feed, [mine, other, _] = Feed(), all_keys(SHARDS)
    await feed.redis.xadd(mine.feed, {"d": shown_decision("0")}, id="5-0")
    for number in range(3):
        await feed.redis.xadd(other.feed, {"d": shown_decision(f"1{number}")}, id=f"9-{number}")
    page = await feed.decisions.page(START, limit=1)
    assert page is not None

    await feed.redis.xdel(other.feed, "9-1")

    assert (await feed.follow(page.next, limit=9))[0] == [["10", "12"]]


async def test_the_newest_place_is_behind_all_shards() -> None:
    feed = Feed()
    for shard in range(SHARDS):
        await feed.add(shard, "old")

    newest = await feed.decisions.newest()
    await feed.add(2, "new")

    assert (await feed.follow(newest, limit=10))[0] == [["new"]]


async def test_who_waits_is_woken_by_any_shard_and_by_the_next_one_again() -> None:
    feed = Feed()
    after = START
    for number, shard in enumerate((2, 0, 2, 1)):
        waits = asyncio.create_task(feed.decisions.wait_for_more(after, timeout_seconds=2 * PATIENCE_SECONDS))
        await asyncio.sleep(0.02)
        assert not waits.done()
        await feed.add(shard, str(number))
        assert await asyncio.wait_for(waits, PATIENCE_SECONDS) is True
        _, after = await feed.follow(after, limit=10)

    assert await feed.decisions.wait_for_more(after, timeout_seconds=0.05) is False
    # from an earlier place on there is something already
    assert (
        await asyncio.wait_for(
            feed.decisions.wait_for_more(START, timeout_seconds=2 * PATIENCE_SECONDS), PATIENCE_SECONDS
        )
        is True
    )
    await feed.decisions.close()


class Part(MemoryStore):
    """A shard's queue that counts claims and can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = 0

    def wait(self, seconds: float) -> bool:
        end = time.monotonic() + min(seconds, 0.05)
        while not self.waiting and time.monotonic() < end:
            time.sleep(0.001)
        self._reach()
        return bool(self.waiting)

    def claim(self, worker: str, **options: Any) -> Claim:
        self.claims += 1
        return super().claim(worker, **options)


class Queue:
    """A worker's view of three shards."""

    def __init__(self) -> None:
        self.parts = [Part() for _ in range(SHARDS)]
        self.health = ShardHealth()
        parts: Any = self.parts
        self.queue = ShardedQueue(parts, route=route, health=self.health)

    def accept(self, *names: str) -> None:
        asyncio.run(ShardedIntake(self.parts, route=route).accept([a_submission(each) for each in names]))

    def claim(self, *, wait_seconds: float = 0.0, count: int = 1) -> Claim:
        return self.queue.claim("w", count=count, lease_seconds=60, wait_seconds=wait_seconds)

    def decide_and_claim(self, claimed: Claim, *, count: int = 1) -> Claim:
        outcomes = [Outcome(each, b'{"status":"scored"}', b"{}") for each, _ in claimed.rows]
        return self.queue.decide_and_claim("w", outcomes, count=count, lease_seconds=60)[1]

    def drain(self, claimed: Claim) -> list[str]:
        """The ids in the order in which they are decided."""
        seen: list[str] = []
        while claimed.rows:
            seen += [each for each, _ in claimed.rows]
            claimed = self.decide_and_claim(claimed)
        return seen


def until_ready(queue: ShardedQueue, shards: int) -> None:
    eventually(lambda: len(queue._ready._shards) >= shards)


def test_shards_with_work_are_claimed_from_in_turn() -> None:
    queue = Queue()
    for shard in range(SHARDS):
        queue.accept(*ids_of(shard, 10))
    first = queue.claim(wait_seconds=5)
    until_ready(queue.queue, 2)

    seen = [route(each) for each in queue.drain(first)]

    assert len(seen) == 30
    turns = [seen[i] for i in range(0, 3 * TURN_BATCHES, TURN_BATCHES)]
    assert sorted(turns) == [0, 1, 2]
    assert all(seen[i] == seen[i - i % TURN_BATCHES] for i in range(3 * TURN_BATCHES))


def test_what_comes_while_a_worker_waits_is_claimed_at_once_whichever_shard_it_is_in() -> None:
    queue = Queue()
    for shard in (1, 2, 0, 1):
        for each in queue.parts:
            each.records.clear()
        timer = threading.Timer(0.02, queue.accept, ids_of(shard, 1))
        timer.start()
        claimed = queue.claim(wait_seconds=5)
        assert [each for each, _ in claimed.rows] == ids_of(shard, 1)
        assert queue.decide_and_claim(claimed).rows == []
        timer.join()
    queue.queue.leave("w")


def test_a_shard_that_fails_is_left_alone_and_the_others_are_worked_on() -> None:
    queue = Queue()
    for shard in range(SHARDS):
        queue.accept(*ids_of(shard, 3))
    queue.parts[1].away = True

    seen = queue.drain(queue.claim(count=1))
    while (claimed := queue.claim()).rows:
        seen += queue.drain(claimed)

    assert sorted(seen) == sorted([*ids_of(0, 3), *ids_of(2, 3)])
    assert queue.health.problem(1) == "Redis: away"
    assert queue.parts[1].claims <= 1

    queue.parts[1].away = False
    assert queue.claim().rows == []
    queue.health.works(1)
    assert sorted(queue.drain(queue.claim())) == sorted(ids_of(1, 3))


def test_what_was_claimed_of_a_shard_that_fails_is_decided_when_it_is_back() -> None:
    queue = Queue()
    queue.accept(*ids_of(1, 1), *ids_of(2, 1))
    claimed = queue.claim()
    while route(claimed.rows[0][0]) != 1:
        queue.decide_and_claim(claimed)
        claimed = queue.claim()
    queue.parts[1].away = True

    queue.decide_and_claim(claimed)
    with pytest.raises(StoreUnavailableError):
        queue.queue.leave("w")
    queue.parts[1].away = False
    queue.health.works(1)

    while (again := queue.claim()).rows and route(again.rows[0][0]) != 1:
        queue.decide_and_claim(again)
    assert again.rows == claimed.rows
    queue.drain(again)
    while (rest := queue.claim()).rows:
        queue.drain(rest)
    assert [part.undecided for part in queue.parts] == [set(), set(), set()]
    assert queue.queue.leave("w") == 0


def test_what_no_watch_sees_has_its_turn_while_the_other_shards_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharded_queue, "LOOK_SECONDS", 0.05)
    queue = Queue()
    queue.accept(*ids_of(1, 1))
    queue.parts[1].claim("gone", count=1, lease_seconds=0)
    queue.parts[1].sweep("w", lease_seconds=60, turn_seconds=60)
    assert queue.parts[1].suspects == ids_of(1, 1)
    # without end, as a fast machine decides many before the next look
    busy = (name for name in map("busy-{}".format, itertools.count()) if route(name) == 0)
    queue.accept(next(busy))
    claimed = queue.claim(wait_seconds=5)

    while [route(each) for each, _ in claimed.rows] != [1]:
        # shard 0 never runs dry
        queue.accept(next(busy))
        claimed = queue.decide_and_claim(claimed)
        if not claimed.rows:
            claimed = queue.claim(wait_seconds=1)

    assert claimed == Claim(claimed.rows, 1)
    queue.queue.leave("w")


def test_what_a_worker_may_hold_in_a_shard_that_is_away_is_not_taken_for_given_back() -> None:
    queue = Queue()
    parts: Any = queue.parts
    beside = ShardedQueue(parts, route=route, health=queue.health, claims_elsewhere=True)
    queue.health.failed(1, "away")

    with pytest.raises(StoreUnavailableError, match="away"):
        beside.leave("w")
    assert beside.leave("w", ends=True) == 0
    queue.health.works(1)
    assert beside.leave("w") == 0


def test_where_all_shards_fail_the_worker_is_told() -> None:
    queue = Queue()
    for each in queue.parts:
        each.away = True

    with pytest.raises(StoreUnavailableError, match="away"):
        queue.claim()


def test_the_sweep_of_a_shard_says_when_it_fails_and_when_it_works_again() -> None:
    health, part = ShardHealth(), MemoryStore()
    sweeper = ShardSweeper(1, worker="w", queue=part, tickets=pytest.fail, health=health)  # type: ignore[arg-type]
    part.away = True

    with pytest.raises(StoreUnavailableError):
        sweeper.round()
    assert health.problem(1) is not None
    part.away = False
    sweeper.round()
    assert health.problem(1) is None


def test_a_sweep_of_all_finds_what_was_lost_in_any() -> None:
    queue = Queue()
    queue.accept(*ids_of(0, 2), *ids_of(2, 1))
    for part in (queue.parts[0], queue.parts[2]):
        part.claim("gone", count=9, lease_seconds=0)

    assert queue.queue.sweep("w", lease_seconds=60, turn_seconds=60) == SweepResult(3, {"gone": 3})


def test_decisions_go_where_their_transaction_is() -> None:
    queue = Queue()
    names = [*ids_of(0, 2), *ids_of(1, 1)]
    queue.accept(*names)
    for part in queue.parts:
        part.claim("w", count=9, lease_seconds=60)

    assert (
        queue.queue.decide("w", [Outcome(each, b"{}", orjson.dumps(a_decision(each).to_dict())) for each in names]) == 3
    )
    assert [len(part.feed) for part in queue.parts] == [2, 1, 0]


async def nothing() -> None:
    """No ticket is needed."""


async def test_each_row_of_a_part_has_its_own_answer_whichever_shard_answers_first() -> None:
    stores: list[MemoryStore] = [Slow(), MemoryStore(), MemoryStore()]
    intake = ShardedIntake(stores, route=route)
    submitter = Submitter(intake, ensure_ticket=nothing, queue_full=lambda: QueueFullError("full", 1))
    known, new = ids_of(0)[:2], [*ids_of(1), *ids_of(2)]
    await MemoryStore.accept(stores[0], [a_submission(each) for each in known])
    mixed = [known[0], new[0], new[2], known[1], new[1], new[3]]

    asked = asyncio.create_task(submitter.submit_all([a_submission(each) for each in mixed]))
    await asyncio.sleep(0.05)
    stores[0].let.set()  # type: ignore[attr-defined]
    answers = await asked

    assert [answer is ACCEPTED for answer in answers] == [each in new for each in mixed]
    await submitter.close()


async def test_looking_back_finds_each_decision_of_all_shards_once_newest_first() -> None:
    redis = fakeredis.FakeAsyncRedis()
    search = search_of([redis] * SHARDS)
    places = [(ms, shard) for ms in range(1, 41) for shard in range(SHARDS) if (ms + shard) % 3 or ms % 5 == 0]
    for ms, shard in places:
        decision = shown_decision(f"{ms}-{shard}")
        await redis.xadd(all_keys(SHARDS)[shard].feed, {"d": decision}, id=f"{ms}-1")

    seen: list[str] = []
    before: Cursor | None = NEWEST
    while before is not None:
        part = await search.back(before, not_before_ms=3, limit=7)
        seen += [each.decision["transaction_id"] for each in part.found]
        before = part.before

    wanted = [f"{ms}-{shard}" for ms, shard in places if ms >= 3]
    assert sorted(seen) == sorted(wanted)
    assert [int(each.partition("-")[0]) for each in seen] == sorted((ms for ms, _ in places if ms >= 3), reverse=True)
    assert await search.oldest_ms() == 1
