"""What was served is computed anew from what is known: all is identical, or the first difference is named."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observation, Observing
from riskline.shared.model.history import Fold
from riskline.shared.store.history.interface import Replacement
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.worker.training.history.backfill import Backfill
from riskline.worker.training.history.events import PastEvents
from riskline.worker.training.history.verify import AWAY, OUT_OF_ORDER, UNKNOWN_PAST, Served, Verification, compare
from tests.support.histories import Purchase, purchase

HISTORY = history_of(Purchase)
assert HISTORY is not None
COLUMNS = len(HISTORY.columns)
FOLD = Fold(HISTORY)
OBSERVING = Observing(HISTORY, bytes(32))


def seen(row: dict[str, Any]) -> Observation:
    return OBSERVING.of(Purchase.from_row(row))


def rows(count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """A payment a minute by one of 7 cards at one of 3 merchants, some on a device, every tenth an hour late."""
    return [
        purchase(
            number,
            seconds=60 * number - (3600 if number % 10 == 9 else 0),
            card_id=f"C{number % 7}",
            merchant_id=f"M{number % 3}",
            device_id=f"D{number % 5}" if number % 2 else "",
            cost=1 + number % 50,
        )
        for number in range(first, first + count)
    ]


def serve(store: MemoryHistory, some: Sequence[dict[str, Any]]) -> list[Served]:
    """As the doors do: each sees those before it, and long tails are packed."""
    found = []
    for row in some:
        observation = seen(row)
        (before,) = asyncio.run(store.observe([observation]))
        folded = FOLD.columns(observation, before)
        found.append(Served(observation, folded.values, folded.ordinals, f"at {len(found):06d}"))
        packed = [
            Replacement(number, part.entity, *compaction)
            for number, (part, kept) in enumerate(zip(observation.parts, before.before, strict=True))
            if part is not None and kept is not None
            if (compaction := FOLD.compaction(number, kept, part.event)) is not None
        ]
        asyncio.run(store.compact(packed))
    return found


def verdict(served: Sequence[Served], *, files: Sequence[dict[str, Any]] = ()) -> Verification:
    events = PastEvents(HISTORY)
    for row in files:
        events.add(seen(row))
    return compare(HISTORY, FOLD, past=events.ordered(), served=served)


def test_all_that_was_served_is_identical_in_whatever_order_the_records_are_found() -> None:
    served = serve(MemoryHistory(HISTORY), rows(500))

    for records in (served, served[::-1]):
        found = verdict(records)
        assert (found.identical, found.different, found.first) == (500 * COLUMNS, 0, None)
        assert not found.unchecked


def test_the_first_difference_is_named() -> None:
    served = serve(MemoryHistory(HISTORY), rows(100))
    place = [column.name for column in HISTORY.columns].index("mean_30d")
    for number in (70, 40):
        values = list(served[number].values or ())
        values[place] += 1e-9
        served[number] = served[number]._replace(values=values)

    found = verdict(served[::-1])

    assert (found.different, found.identical) == (2, 100 * COLUMNS - 2)
    assert found.first is not None
    assert (found.first.transaction_id, found.first.column) == ("P-40", "mean_30d")
    assert found.first.served != found.first.computed


def test_a_transaction_that_was_counted_and_is_in_no_record_leaves_what_follows_unchecked() -> None:
    served = serve(MemoryHistory(HISTORY), rows(100))

    found = verdict(served[:20] + served[21:])

    assert found.different == 0
    assert 0 < found.unchecked[UNKNOWN_PAST] < 80 * COLUMNS
    assert found.identical + found.unchecked[UNKNOWN_PAST] == 99 * COLUMNS


def test_a_file_has_the_transactions_whose_records_are_gone() -> None:
    everything = [each for each in rows(300) if int(each["transaction_id"][2:]) % 10 != 9]
    served = serve(MemoryHistory(HISTORY), everything)

    found = verdict(served[100:], files=everything[:200])

    assert (found.identical, found.different, dict(found.unchecked)) == ((len(served) - 100) * COLUMNS, 0, {})
    wrong = [{**row, "cost": 77.0} for row in everything[:100]]
    assert verdict(served[100:], files=wrong).different > 0


@pytest.mark.parametrize("before", [0, 3, 200])
def test_what_was_backfilled_is_in_the_file(before: int) -> None:
    store = MemoryHistory(HISTORY)
    past, later = rows(150), rows(400, first=200)
    served = serve(store, later[:before])
    events = PastEvents(HISTORY)
    for row in past:
        events.add(seen(row))
    backfill = Backfill(HISTORY, store, FOLD, progress=lambda _name, _count: None)
    asyncio.run(backfill.run(events.ordered(), file="file", span_us=events.span_us()))
    served += serve(store, later[before:])

    found = verdict(served, files=past)

    assert (found.identical, found.different, dict(found.unchecked)) == (400 * COLUMNS, 0, {})
    assert verdict(served).unchecked[UNKNOWN_PAST] > 0


def test_what_was_decided_without_history_and_added_later_is_counted_for_those_after_it() -> None:
    served = serve(MemoryHistory(HISTORY), rows(100))
    served[50:60] = [each._replace(values=None, order=()) for each in served[50:60]]

    found = verdict(served)

    assert found.unchecked == {AWAY: 10 * COLUMNS}
    assert (found.identical, found.different) == (90 * COLUMNS, 0)


def test_a_file_that_has_more_than_is_missing_hides_no_transaction_that_was_added_later() -> None:
    served = serve(MemoryHistory(HISTORY), rows(100))
    served[50:60] = [each._replace(values=None, order=()) for each in served[50:60]]
    before = [
        purchase(900 + number, seconds=-(10**7), card_id=f"C{number % 3}", device_id="D1") for number in range(30)
    ]

    found = verdict(served, files=before)

    assert found.different == 0
    assert found.unchecked[UNKNOWN_PAST] < 0.2 * found.identical


def test_an_entity_that_was_forgotten_begins_anew() -> None:
    store = MemoryHistory(HISTORY)
    served = serve(store, rows(60))
    asyncio.run(store.erase("card_id", OBSERVING.entity(["C1"])))
    again = serve(store, rows(60, first=60))
    served += [each._replace(at=f"then {number:06d}") for number, each in enumerate(again)]

    found = verdict(served)

    assert (found.identical, found.different, dict(found.unchecked)) == (120 * COLUMNS, 0, {})


def test_an_entity_that_began_anew_is_told_by_its_times_where_records_say_one_moment_for_all() -> None:
    month = 86_400 * 31
    some = [
        purchase(number, seconds=number // 5 * month + (-1 if number % 5 == 4 else 1) * number, cost=1 + number)
        for number in range(15)
    ]
    served = [each._replace(at="of one batch") for each in serve(MemoryHistory(HISTORY), some)]

    # neither as they were observed, nor the other way round
    found = verdict(served[1::2] + served[::2])

    assert (found.different, found.unchecked[UNKNOWN_PAST]) == (0, 0)
    assert found.identical > 12 * COLUMNS


def test_one_too_late_to_be_counted_has_no_place_and_changes_nothing() -> None:
    some = [purchase(1, seconds=0), purchase(2, seconds=86_400 * 31), purchase(3, seconds=10), purchase(4, seconds=20)]
    served = serve(MemoryHistory(HISTORY), some)
    assert served[2].order[0] is None

    found = verdict(served)

    assert found.different == 0
    assert found.unchecked[OUT_OF_ORDER] > 0
