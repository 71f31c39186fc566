"""The way to the history: what fails or is late costs the requests under way, and no other."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from riskline.ingest.history import link as links
from riskline.ingest.history.late_observations import LateObservations
from riskline.ingest.history.link import HistoryLink
from riskline.ingest.history.long_tails import LongTails
from riskline.ingest.history.patience import patience
from riskline.shared.domain.history.observation import Observation, Part, SeenBefore
from riskline.shared.errors import HistoryUnavailableError
from riskline.shared.model.history import Fold
from riskline.shared.store.history.interface import LARGEST_CALL
from riskline.shared.store.history.memory_history import MemoryHistory
from tests.integration.running import PATIENCE_SECONDS
from tests.support.faulty_history import FaultyHistory
from tests.support.history import DAY, HOUR, kept_after, packed, purchases, usual


class Remembering:
    """Keeps the ids that were added, in their order."""

    def __init__(self) -> None:
        self.added: list[str] = []

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        new = [each.transaction_id for each in observations if each.transaction_id not in self.added]
        self.added += new
        return [SeenBefore((b"",), each.transaction_id not in new) for each in observations]

    async def look(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        return [SeenBefore((b"",)) for _ in observations]


def observations(*numbers: int) -> list[Observation]:
    return [Observation(f"T{number}", 0, (Part("0" * 24, b"E" + bytes(24)),)) for number in numbers]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "RETRY_SECONDS", 0.001)


@pytest.fixture
def store() -> FaultyHistory:
    return FaultyHistory(Remembering())


@asynccontextmanager
async def running(link: HistoryLink) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_back(link: HistoryLink) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while link.is_away:  # noqa: ASYNC110  # what is waited for is a plain value
            await asyncio.sleep(0.001)


async def test_a_history_that_is_away_is_asked_once_and_not_for_each_request(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.away = True

    found = [await link.observe(observations(number)) for number in range(5)]

    assert found == [None] * 5
    assert store.observed == [["T0"]]


async def test_a_history_that_hangs_is_waited_for_once_and_for_no_longer_than_the_timeout(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=0.01)
    store.hangs.clear()

    found = [await link.observe(observations(number)) for number in range(5)]

    assert found == [None] * 5
    assert store.observed == [["T0"]]


async def test_what_came_while_it_was_away_is_added_in_order_before_anything_else(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.away = True
    async with running(link):
        for number in range(3 * LARGEST_CALL):
            await link.observe(observations(number))
            link.keep(observations(number))
        store.away = False
        await until_back(link)
        assert await link.observe(observations(999)) == [SeenBefore((b"",))]

    assert store.inner.added == [f"T{number}" for number in (*range(3 * LARGEST_CALL), 999)]
    assert max(map(len, store.observed)) == LARGEST_CALL
    assert link.late == 0


async def test_a_full_history_is_away_until_it_takes_what_is_late(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.full = True
    async with running(link):
        await link.observe(observations(1))
        link.keep(observations(1))
        asked = len(store.observed)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(store.observed) < asked + 3:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.001)
        assert link.is_away
        store.full = False
        await until_back(link)

    assert store.inner.added == ["T1"]


async def test_a_history_that_was_emptied_is_added_to_and_not_used_until_it_has_recovered(
    store: FaultyHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RECOVERY_SECONDS", 0)
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.lost = True
    async with running(link):
        assert await link.observe(observations(0)) is None
        link.keep(observations(*range(3 * LARGEST_CALL)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while link.late:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.001)
        assert link.is_away
        assert link.is_lost
        store.lost = False
        await until_back(link)

    assert store.inner.added == [f"T{number}" for number in range(3 * LARGEST_CALL)]
    assert not link.is_lost


@pytest.mark.parametrize("lost", [False, True])
async def test_a_merchants_thousand_late_transactions_are_packed_as_they_are_added(
    lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RECOVERY_SECONDS", 0)
    plan = usual()
    fold, inner = Fold(plan), MemoryHistory(plan)
    store = FaultyHistory(inner)
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS, tails=LongTails(fold, plan.entities))
    events = purchases(plan.entities[1], random.Random(1), count=1_000, over_us=HOUR, until_us=DAY)
    store.away = True
    assert await link.observe(observations(0)) is None
    link.keep([Observation(str(each.id), each.at_us, (None, Part("0" * 24, each.packed()), None)) for each in events])
    store.away, store.lost = False, lost
    async with running(link):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while link.late:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.001)
        store.lost = False
        await until_back(link)

    [kept] = inner.kept.values()
    assert len(kept.content) < len(kept_after(fold, 1, events)) + LARGEST_CALL * plan.entities[1].event_bytes
    assert fold.packed(1, kept.content) == fold.packed(1, packed(events))


class TakingTurns(Remembering):
    """Answers in a later turn of the event loop, as whatever is behind a socket."""

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        await asyncio.sleep(0)
        return await super().observe(observations)


async def send_on(link: HistoryLink, numbers: Iterator[int], observed: list[str]) -> None:
    """As a client that sends the next one as soon as it was answered; ends with the first that has its history."""
    found = None
    while found is None:
        [one] = observations(next(numbers))
        observed.append(one.transaction_id)
        found = await link.observe([one])
        if found is None:
            link.keep([one])
        await asyncio.sleep(0)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_history_comes_back_also_while_each_turn_brings_more_than_a_probe_adds(
    lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RECOVERY_SECONDS", 0)
    store = FaultyHistory(TakingTurns())
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.away, store.lost, numbers, sent = True, lost, itertools.count(), list[str]()
    async with running(link):
        async with asyncio.timeout(PATIENCE_SECONDS / 10), asyncio.TaskGroup() as clients:
            for _ in range(2 * LARGEST_CALL):
                clients.create_task(send_on(link, numbers, sent))
            await asyncio.sleep(0.01)
            store.away = False
            await asyncio.sleep(0.01)
            store.lost = False
        assert not link.is_away

    assert store.inner.added == sent


async def test_where_nothing_is_late_a_look_is_the_probe(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.away = True
    async with running(link):
        await link.observe(observations(1))
        store.away = False
        await until_back(link)

    assert store.looked[-1] == ["T1"]
    assert store.inner.added == []


async def test_a_look_that_fails_is_an_outage_too(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.away = True

    assert await link.look(observations(1)) is None
    assert await link.observe(observations(2)) is None
    assert store.observed == []


async def test_a_process_that_ends_adds_what_is_late(store: FaultyHistory) -> None:
    link = HistoryLink(store, timeout_seconds=PATIENCE_SECONDS)
    store.away = True
    await link.observe(observations(1))
    link.keep(observations(*range(100)))
    with pytest.raises(HistoryUnavailableError):
        await link.close()
    store.away = False

    await link.close()

    assert len(store.inner.added) == 100


def test_a_full_buffer_keeps_the_oldest_and_says_once_that_it_drops(capsys: pytest.CaptureFixture[str]) -> None:
    late = LateObservations(most=2)

    late.keep(observations(1, 2, 3, 4))

    assert [each.transaction_id for each in late.first(10)] == ["T1", "T2"]
    late.remove(2)
    late.keep(observations(5))
    assert [each.transaction_id for each in late.first(10)] == ["T5"]


def test_the_buffer_is_bounded_by_bytes_too() -> None:
    late = LateObservations(most_bytes=600)

    late.keep(observations(*range(100)))

    assert 1 <= len(late) < 5


async def test_the_time_in_which_this_process_was_busy_is_no_delay_of_redis() -> None:
    async def answered_at_once() -> str:
        # the event loop runs what is due before it reads what has come
        asyncio.get_running_loop().call_soon(time.sleep, 0.05)
        await asyncio.sleep(0.002)
        return "answer"

    async with patience(0.01):
        assert await answered_at_once() == "answer"


async def test_a_delay_of_redis_is_one() -> None:
    with pytest.raises(TimeoutError):
        async with patience(0.01):
            await asyncio.sleep(PATIENCE_SECONDS)
