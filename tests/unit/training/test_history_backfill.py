"""The backfill: an entity has the past of a file as if it had been observed, once, wherever a run ended."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observation, Observing
from riskline.shared.errors import DatasetError, HistoryUnavailableError
from riskline.shared.model.history import Fold
from riskline.shared.store.history.interface import Replacement
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.worker.training.data.replay import EventReader
from riskline.worker.training.history import backfill as module
from riskline.worker.training.history.backfill import Backfill, Backfilled
from riskline.worker.training.history.events import PastEvents, read_events
from tests.support.histories import START, Purchase, purchase

SECRET = bytes(32)
HISTORY = history_of(Purchase)
assert HISTORY is not None
FOLD = Fold(HISTORY)
OBSERVING = Observing(HISTORY, SECRET)

MINUTE = 60
NOW_US = int(START.timestamp() * 1e6) + 10**12


def seen(row: dict[str, Any]) -> Observation:
    return OBSERVING.of(Purchase.from_row(row))


def rows(count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """A payment a minute by one of 7 cards at one of 3 merchants, and some on a device."""
    return [
        purchase(
            number,
            seconds=number * MINUTE,
            card_id=f"C{number % 7}",
            merchant_id=f"M{number % 3}",
            device_id=f"D{number % 5}" if number % 2 else "",
            cost=1 + number % 50,
        )
        for number in range(first, first + count)
    ]


def put(store: MemoryHistory, past: Sequence[dict[str, Any]], *, file: str = "file") -> list[Backfilled]:
    events = PastEvents(HISTORY)
    for row in past:
        events.add(seen(row))
    backfill = Backfill(HISTORY, store, FOLD, progress=lambda _name, _count: None)
    return asyncio.run(backfill.run(events.ordered(), file=file, span_us=events.span_us()))


def live(store: MemoryHistory, some: Sequence[dict[str, Any]]) -> list[tuple[float, ...]]:
    """The columns of each, as the doors compute them; long tails are packed."""
    found = []
    for row in some:
        observation = seen(row)
        (before,) = asyncio.run(store.observe([observation]))
        found.append(FOLD.columns(observation, before).values)
        packed = [
            Replacement(number, part.entity, *compaction)
            for number, (part, kept) in enumerate(zip(observation.parts, before.before, strict=True))
            if part is not None and kept is not None
            if (compaction := FOLD.compaction(number, kept, part.event)) is not None
        ]
        asyncio.run(store.compact(packed))
    return found


def kept(store: MemoryHistory) -> dict[str, bytes]:
    return {key: each.content for key, each in store.kept.items()}


def test_what_comes_next_has_the_columns_as_if_the_file_had_been_observed() -> None:
    backfilled, observed = MemoryHistory(HISTORY), MemoryHistory(HISTORY)
    past, following = rows(300), rows(60, first=300)

    put(backfilled, past[::-1])
    live(observed, past)

    assert live(backfilled, following) == live(observed, following)


def test_rows_from_the_first_live_one_on_are_not_counted_again() -> None:
    backfilled, observed = MemoryHistory(HISTORY), MemoryHistory(HISTORY)
    everything = rows(400)

    live(backfilled, everything[200:220])
    done = put(backfilled, everything[:300])
    live(observed, everything[:220])

    assert live(backfilled, everything[220:]) == live(observed, everything[220:])
    assert {each.live_from_us for each in done} == {seen(everything[200]).at_us}
    assert all(each.covered_us[1] < seen(everything[200]).at_us for each in done)


def test_an_entity_whose_live_events_were_packed_gets_its_past_too() -> None:
    backfilled, observed = MemoryHistory(HISTORY), MemoryHistory(HISTORY)
    everything = rows(900)

    live(backfilled, everything[200:800])
    put(backfilled, everything[:200])
    live(observed, everything[:800])

    # the same windows; only the order in which they were observed differs
    assert live(backfilled, everything[800:]) == live(observed, everything[800:])


class Ending(MemoryHistory):
    """Is away for good after so many calls; the last one is done, and its answer lost."""

    def __init__(self, *, calls: int) -> None:
        super().__init__(HISTORY)
        self.left = calls

    def _reach(self) -> None:
        super()._reach()
        if self.left == 0:
            raise HistoryUnavailableError("away")
        self.left -= 1

    async def compact(self, replacements: Sequence[Replacement]) -> int:
        changed = await super().compact(replacements)
        if self.left == 0:
            raise HistoryUnavailableError("no answer")
        return changed


def test_a_run_that_ended_anywhere_is_continued_to_the_same_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTITIES_A_CALL", 2)
    monkeypatch.setattr(module, "MARKED_EVERY", 2)
    whole = MemoryHistory(HISTORY)
    put(whole, rows(60))

    for calls in range(200):
        store = Ending(calls=calls)
        try:
            put(store, rows(60))
        except HistoryUnavailableError:
            store.left = -1
            put(store, rows(60))
        else:
            assert calls > 30
            break
        assert kept(store) == kept(whole)
        assert store.fields == whole.fields
    else:
        pytest.fail("no run came to its end")


def test_live_transactions_between_two_runs_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTITIES_A_CALL", 2)
    everything = rows(400)
    observed = MemoryHistory(HISTORY)
    live(observed, everything[:300])
    following = live(observed, everything[300:])

    for calls in range(3, 20, 3):
        store = Ending(calls=calls)
        with pytest.raises(HistoryUnavailableError):
            put(store, everything[:200])
        store.left = -1
        live(store, everything[200:300])
        put(store, everything[:200])
        assert live(store, everything[300:]) == following


def test_the_same_file_again_changes_nothing_and_a_later_one_is_added() -> None:
    store, observed = MemoryHistory(HISTORY), MemoryHistory(HISTORY)
    past = rows(400)
    put(store, past[:200])
    before = kept(store)

    assert [each.events for each in put(store, past[:200])] == [0] * len(HISTORY.entities)
    assert kept(store) == before

    put(store, past[:300], file="a later one")
    live(observed, past[:300])
    assert live(store, past[300:]) == live(observed, past[300:])
    marks = asyncio.run(store.marks())
    covered = {(mark.backfilled_from_us, mark.backfilled_to_us, mark.progress) for mark in marks.values()}
    assert covered == {(seen(past[0]).at_us, seen(past[299]).at_us, "")}


def test_another_file_waits_until_the_one_that_was_begun_is_done() -> None:
    store = Ending(calls=4)
    with pytest.raises(HistoryUnavailableError):
        put(store, rows(200))
    store.left = -1

    with pytest.raises(DatasetError, match="run that one again first"):
        put(store, rows(200), file="another")
    put(store, rows(200))
    put(store, rows(300), file="another")


class Busy(MemoryHistory):
    """A live transaction's process packs an entity right before each of the first calls."""

    def __init__(self) -> None:
        super().__init__(HISTORY)
        self.times = 3

    async def compact(self, replacements: Sequence[Replacement]) -> int:
        if self.times:
            self.times -= 1
            key = next(iter(self.kept))
            content = self.kept[key].content
            self.kept[key].content = FOLD.packed(self._number(key), content)
        return await super().compact(replacements)

    @staticmethod
    def _number(key: str) -> int:
        return next(at for at, plan in enumerate(HISTORY.entities) if plan.fingerprint in key)


def test_an_entity_that_is_packed_meanwhile_gets_its_past_all_the_same() -> None:
    busy, quiet = Busy(), MemoryHistory(HISTORY)
    everything = rows(300)
    for store in (busy, quiet):
        live(store, everything[200:207])
        put(store, everything[:200])

    assert live(busy, everything[207:]) == live(quiet, everything[207:])


def test_rows_of_the_future_are_bad_rows_and_a_repeated_id_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    made = [*rows(20), {**purchase(3, seconds=3600), "cost": 999.0}, purchase(99, seconds=10**9)]
    path.write_bytes(b"\n".join(Purchase.from_row(row).to_json() for row in made))

    def read(*, skip: bool) -> Any:
        events = PastEvents(HISTORY)
        refusals = read_events(
            path,
            Purchase,
            OBSERVING,
            events,
            skip_bad_rows=skip,
            reader=EventReader(HISTORY, now_us=NOW_US),
            progress=lambda _rows: None,
        )
        return events, refusals

    with pytest.raises(DatasetError, match="row 22: at: Input should be at most five minutes ahead"):
        read(skip=False)
    events, refusals = read(skip=True)
    assert refusals.total == 1
    assert events.ordered().repeated == 1
    assert sum(len(each.content) for each in events.ordered().of(0)) == 20 * HISTORY.entities[0].event_bytes
