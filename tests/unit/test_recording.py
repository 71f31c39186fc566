import asyncio
from collections.abc import Sequence

import pytest

from ingest import recording
from ingest.recording import Pace, Recorder
from shared.store.memory import MemoryStore
from shared.store.records import Outcome, Record
from tests.factories import a_transaction

ALL = 40


class SlowStore(MemoryStore):
    """Takes its time, and knows how many decisions shared each call."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.under_way = asyncio.Event()
        self.done = asyncio.Event()

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Record]:
        self.sizes.append(len(outcomes))
        self.under_way.set()
        await asyncio.sleep(0.005)
        recorded = await super().record(outcomes, wanted=wanted)
        if len(self.feed) == ALL:
            self.done.set()
        return recorded


def add(recorder: Recorder, first: int, count: int) -> None:
    for i in range(first, first + count):
        transaction = a_transaction(transaction_id=str(i))
        recorder.add(transaction, scored_at="2026-11-24T03:15:07.123Z", shown=b'{"transaction_id":"%d"}' % i)


async def test_decisions_that_come_while_others_are_recorded_share_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "CALM", Pace(linger_seconds=0.02, batch=100))
    monkeypatch.setattr(recording, "BUSY", Pace(linger_seconds=0.02, batch=100))
    store = SlowStore()
    recorder = Recorder(store, capacity=1000)
    running = asyncio.create_task(recorder.run())

    add(recorder, 0, 10)
    await store.under_way.wait()
    add(recorder, 10, ALL - 10)
    await store.done.wait()
    # the last ones leave the buffer in the same turn
    await asyncio.sleep(0)
    running.cancel()

    assert store.sizes == [10, 30]
    assert recorder.pending == 0


async def test_calls_are_short_where_decisions_are_few_and_large_where_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "CALM", Pace(linger_seconds=0.05, batch=10))
    monkeypatch.setattr(recording, "BUSY", Pace(linger_seconds=0.05, batch=100))
    monkeypatch.setattr(recording, "BUSY_PER_SECOND", 1000)
    store = SlowStore()
    recorder = Recorder(store, capacity=1000)

    await recorder.flush()
    await asyncio.sleep(0.05)
    add(recorder, 0, 20)
    await recorder.flush()
    await asyncio.sleep(0.05)
    add(recorder, 20, 200)
    await recorder.flush()

    assert store.sizes == [10, 10, 100, 100]


def test_the_buffer_is_bounded_in_bytes_too() -> None:
    recorder = Recorder(MemoryStore(), capacity=1000, max_bytes=1000)

    add(recorder, 0, 100)

    assert 1 < recorder.pending < 10
    assert recorder.dropped == 100 - recorder.pending
