import asyncio
import time
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from riskline.ingest.recording import recorder as recording
from riskline.ingest.recording.backpressure import Backpressure
from riskline.ingest.recording.recorder import AHEAD, AT_ONCE, MOST_AT_ONCE, Recorder
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.interfaces import Stored
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import Outcome
from tests.integration.running import PATIENCE_SECONDS
from tests.support.factories import a_transaction

AT = "2026-11-24T03:15:07.123Z"


class SlowStore(MemoryStore):
    """Takes some turns of the event loop for a call, or as long as it is stopped."""

    def __init__(self, *, turns: int = 1) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.turns = turns
        self.under_way = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Stored]:
        self.sizes.append(len(outcomes))
        self.under_way.set()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        await self.goes_on.wait()
        return await super().record(outcomes, wanted=wanted)


class CountingStore(MemoryStore):
    """Keeps nothing but a count, for many decisions."""

    def __init__(self, *, turns: int) -> None:
        super().__init__()
        self.turns = turns
        self.failed = asyncio.Event()
        self.count = 0

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Stored]:
        if self.away:
            self.failed.set()
            raise StoreUnavailableError("Redis: away")
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.count += len(outcomes)
        return []


TRANSACTION = a_transaction(transaction_id="same")


def decide(recorder: Recorder, count: int) -> int:
    """So many requests in one turn of the loop, as long as the door takes them; how many it took."""
    for done in range(count):
        if recorder.pressure.is_high:
            return done
        recorder.add(TRANSACTION, scored_at=AT, shown=b"{}")
    return count


def add(recorder: Recorder, first: int, count: int) -> None:
    for i in range(first, first + count):
        transaction = a_transaction(transaction_id=str(i))
        recorder.add(transaction, scored_at=AT, shown=b'{"transaction_id":"%d"}' % i)


async def test_decisions_that_come_while_others_are_recorded_share_the_next_call() -> None:
    store = SlowStore()
    recorder = Recorder(store, capacity=1000)
    store.goes_on.clear()
    running = asyncio.create_task(recorder.run())

    add(recorder, 0, 10)
    await store.under_way.wait()
    add(recorder, 10, 30)
    store.goes_on.set()
    while recorder.pending:  # noqa: ASYNC110  # nobody is told
        await asyncio.sleep(0.001)
    running.cancel()

    assert store.sizes == [10, 30]
    assert len(store.feed) == 40


async def test_a_call_carries_few_where_few_wait_and_all_it_can_where_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "AT_ONCE", 10)
    monkeypatch.setattr(recording, "MOST_AT_ONCE", 70)
    store = SlowStore()
    recorder = Recorder(store, capacity=1000)

    add(recorder, 0, 20)
    await recorder.flush()
    add(recorder, 20, 160)
    await recorder.flush()

    assert store.sizes == [10, 10, 70, 70, 10, 10]


async def test_a_call_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_BYTES_AT_ONCE", 1000)
    store = SlowStore()
    recorder = Recorder(store, capacity=1000)

    add(recorder, 0, 40)
    await recorder.flush()

    assert len(set(store.sizes[:-1])) == 1
    assert 1 < store.sizes[0] < 10


async def test_the_pace_follows_what_comes_while_it_records() -> None:
    """What waited as a flush began was once what all its calls went by, however much came meanwhile."""
    store = SlowStore()
    recorder = Recorder(store, capacity=100_000)
    store.goes_on.clear()
    add(recorder, 0, 300)
    flushing = asyncio.create_task(recorder.flush())
    await store.under_way.wait()
    add(recorder, 300, 3000)
    store.goes_on.set()
    await flushing

    assert store.sizes == [AT_ONCE, MOST_AT_ONCE]


@pytest.mark.parametrize("connections", [32, 256, 1000, 4000])
async def test_what_waits_to_be_recorded_is_bounded_whatever_the_load(
    connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn of the loop answers all connections, and a call takes three turns: so is a process without a pause."""
    monkeypatch.setattr(recording, "LINGER_SECONDS", 0)
    store = CountingStore(turns=3)
    recorder = Recorder(store, capacity=100_000)
    running = asyncio.create_task(recorder.run())
    most = answered = 0

    for _ in range(100):
        answered += decide(recorder, connections)
        most = max(most, recorder.pending)
        await asyncio.sleep(0)
    await recorder.flush()
    running.cancel()

    assert most <= AHEAD + MOST_AT_ONCE
    assert (store.count, recorder.dropped) == (answered, 0)
    # where recording keeps up nobody waits, and else no more than it takes
    assert answered >= min(connections * 100, MOST_AT_ONCE // 4 * 100 * 0.9)


async def test_a_redis_that_does_not_answer_keeps_no_decision_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "PATIENCE_SECONDS", 0.01)
    store = SlowStore()
    store.goes_on.clear()
    recorder = Recorder(store, capacity=100_000)
    add(recorder, 0, 10)
    recording_them = asyncio.create_task(recorder.flush())
    await store.under_way.wait()

    assert decide(recorder, 10_000) < 10_000
    async with asyncio.timeout(PATIENCE_SECONDS):
        await recorder.pressure.low()

    # the call is under way yet
    assert recorder.pending > AHEAD
    assert decide(recorder, 10_000) == 10_000
    store.goes_on.set()
    await recording_them
    await recorder.flush()
    assert recorder.pending == 0


async def test_an_event_loop_that_is_slow_itself_is_not_taken_for_a_slow_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 connections take a loop longer for one turn than Redis may take for a call: all went on, unrecorded."""
    monkeypatch.setattr(recording, "PATIENCE_SECONDS", 0.001)
    store = CountingStore(turns=3)
    recorder = Recorder(store, capacity=100_000)
    running = asyncio.create_task(recorder.run())
    most = 0

    for _ in range(20):
        decide(recorder, 10_000)
        most = max(most, recorder.pending)
        # what the answers of a turn take, many times as long as the patience
        time.sleep(0.005)  # noqa: ASYNC251  # the loop shall stand still
        await asyncio.sleep(0)
    running.cancel()

    # the first turn was over before any call had begun
    assert most <= 10_000 + AHEAD


async def test_after_an_outage_the_door_goes_on_at_half_the_pace_of_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0)
    store = CountingStore(turns=1)
    store.away = True
    recorder = Recorder(store, capacity=100_000)
    running = asyncio.create_task(recorder.run())

    assert decide(recorder, 1) == 1
    await store.failed.wait()
    assert decide(recorder, 20_000) == 20_000
    store.away = False
    answers = []
    for _ in range(1000):
        if recorder.pending <= AHEAD:
            break
        answers.append(decide(recorder, 4000))
        await asyncio.sleep(0)
    running.cancel()

    assert recorder.pending <= AHEAD
    # it took so many more than what waited, and took some after each call
    assert sum(answers) >= (20_000 - AHEAD) // 4
    assert recorder.dropped == 0


async def test_those_who_wait_go_on_in_their_order_until_the_pressure_is_high_again() -> None:
    recorder = Recorder(MemoryStore(), capacity=100)
    pressure, gone_on = recorder.pressure, list[int]()

    def go_on(number: int) -> None:
        gone_on.append(number)
        pressure.is_high = number == 1

    pressure.is_high = True
    for number in range(4):
        pressure.wait(lambda number=number: go_on(number))  # type: ignore[misc]

    pressure.ease()
    assert (gone_on, pressure.waiting) == ([0, 1], 2)
    pressure.ease()
    assert (gone_on, pressure.waiting) == ([0, 1, 2, 3], 0)


async def test_a_buffer_that_fills_is_a_warning_at_half_and_an_error_at_the_first_drop() -> None:
    recorder = Recorder(MemoryStore(), capacity=100)

    with capture_logs() as logs:
        add(recorder, 0, 50)
        assert logs == []
        add(recorder, 50, 50)
        assert [each["log_level"] for each in logs] == ["warning"]
        add(recorder, 100, 30)
        assert [each["log_level"] for each in logs] == ["warning", "error"]
        await recorder.flush()
        assert [each["log_level"] for each in logs] == ["warning", "error", "error"]
        assert logs[-1]["dropped"] == recorder.dropped == 30
        # the next time is told anew
        add(recorder, 200, 101)
        await recorder.flush()

    assert [each["log_level"] for each in logs[3:]] == ["warning", "error", "error"]
    assert logs[-1]["dropped"] == 1


async def test_a_buffer_that_was_half_full_and_lost_nothing_says_so() -> None:
    recorder = Recorder(MemoryStore(), capacity=100)

    with capture_logs() as logs:
        add(recorder, 0, 60)
        await recorder.flush()

    assert [each["log_level"] for each in logs] == ["warning", "info"]


def test_the_buffer_is_bounded_in_bytes_too() -> None:
    recorder = Recorder(MemoryStore(), capacity=1000, max_bytes=1000)

    add(recorder, 0, 100)

    assert 1 < recorder.pending < 10
    assert recorder.dropped == 100 - recorder.pending


async def test_who_wants_no_buffer_waits_for_none() -> None:
    recorder = Recorder(MemoryStore(), capacity=0)

    add(recorder, 0, 10)

    assert (recorder.dropped, recorder.pressure.is_high) == (10, False)


def test_who_waits_behind_a_connection_that_fails_goes_on_all_the_same() -> None:
    pressure = Backpressure()
    pressure.is_high = True
    went_on: list[int] = []

    def fails() -> None:
        raise RuntimeError("the transport is gone")

    for each in (fails, lambda: went_on.append(1), lambda: went_on.append(2)):
        pressure.wait(each)
    with capture_logs() as logs:
        pressure.ease()

    assert (went_on, pressure.waiting) == ([1, 2], 0)
    assert [each["event"] for each in logs] == ["an answer failed"]
