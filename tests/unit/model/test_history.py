"""The fold says what the reference says, to the bit, whenever and however often events were packed."""

import math
import random
import struct
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskline.shared.domain.history.observation import Observation, Part, SeenBefore
from riskline.shared.domain.history.plan import EntityPlan, HistoryColumn, Kind
from riskline.shared.errors import HistoryUnreadableError
from riskline.shared.model.history import KEPT_TAIL, LONGEST_TAIL, Fold
from tests.support.history import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Event,
    Reference,
    cell,
    entity_plan,
    every_kind,
    folded,
    history,
    kept_after,
    packed,
    purchases,
    usual,
)

LIMIT = 2**53
"""The largest number of units that a field may have."""

WINDOWS = (7 * SECOND, 90 * MINUTE, DAY)
PLAN = entity_plan(every_kind(*WINDOWS, numbers=2, texts=2, up_to=5), keep_us=2 * DAY, places=(2, 0), texts=2)
NOW = 1_760_000_000 * SECOND

YEAR_1900, YEAR_2200 = -2_208_988_800 * 60, 7_258_118_400 * 60
"""The numbers of cells of a second."""

LATE = st.sampled_from([0, 0, 0, SECOND, MINUTE, HOUR, DAY, 2 * DAY]).flatmap(lambda most: st.integers(0, most))
EVENTS = st.lists(
    st.builds(
        lambda id_, after, late, numbers, texts: (id_, after, late, numbers, texts),
        st.integers(0, 300),
        st.sampled_from([0, 1, SECOND, MINUTE, HOUR, DAY, 3 * DAY]).flatmap(lambda most: st.integers(0, most)),
        LATE,
        st.tuples(*[st.one_of(st.integers(-1000, 1000), st.sampled_from([LIMIT, -LIMIT]))] * 2),
        st.tuples(*[st.integers(0, 9)] * 2),
    ),
    max_size=60,
)


def bits(values: Sequence[float]) -> bytes:
    """Equal only where each bit is."""
    return struct.pack(f"{len(values)}d", *values)


def timed(drawn: Sequence[tuple[int, int, int, tuple[int, ...], tuple[int, ...]]]) -> list[Event]:
    """Events in the order in which they are observed; some of them late."""
    events, at_us = [], NOW
    for id_, after, late, numbers, texts in drawn:
        at_us += after
        events.append(Event(id_, at_us - late, numbers, texts))
    return events


def some_event(at_us: int, *, id_: int = 1, number: int = 0) -> Event:
    return Event(id_, at_us, (number, 0), (1, 1))


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_whatever_is_observed_and_whenever_it_is_packed_the_columns_are_those_of_the_reference(
    drawn: list[tuple[int, int, int, tuple[int, ...], tuple[int, ...]]], chance: random.Random
) -> None:
    fold, reference, kept, raw = Fold(history(PLAN)), Reference(PLAN), b"", 0
    for event in timed(drawn):
        found = folded(fold, kept, event)
        assert bits(found.values) == bits(reference.columns(event.at_us))
        too_old, is_new = event.at_us < reference.newest - PLAN.keep_us, event.at_us > reference.newest + PLAN.keep_us
        assert found.too_old == (too_old,)
        assert found.ordinals == (None if too_old else 1 if is_new else reference.applied + 1,)

        reference.observe(event)
        kept, raw = kept + event.packed(), raw + 1
        if chance.random() < 0.3:
            left = chance.randint(0, raw)
            cut = len(kept) - left * PLAN.event_bytes
            kept, raw = fold.packed(0, kept[:cut]) + kept[cut:] if cut else kept, left


def replayed(fold: Fold, rows: Sequence[tuple[int, Event]]) -> list[bytes]:
    numbers = np.array([each.numbers for _, each in rows], dtype=np.int64).reshape(len(rows), 2)
    texts = np.array([each.texts for _, each in rows], dtype=np.uint64).reshape(len(rows), 2)
    times = np.array([each.at_us for _, each in rows], dtype=np.int64)
    found = fold.replay(0, np.array([group for group, _ in rows], dtype=np.int64), times, numbers, texts)
    return [bits(row) for row in found.tolist()]


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_a_file_has_the_bits_that_its_rows_had_one_by_one(
    drawn: list[tuple[int, int, int, tuple[int, ...], tuple[int, ...]]], chance: random.Random
) -> None:
    fold = Fold(history(PLAN))
    kept: dict[int, bytes] = {}
    rows, expected = [], []
    for place, event in enumerate(each._replace(id=1 + number) for number, each in enumerate(timed(drawn))):
        group = chance.choice([-1, 0, 1, 7])
        before = b"" if group < 0 else kept.get(group, b"")
        expected.append(bits(folded(fold, before, event).values))
        kept[group] = before + event.packed()
        if place % 5 == 0:
            kept[group] = fold.packed(0, kept[group])
        rows.append((group, event))

    assert replayed(fold, rows) == expected


ONE = entity_plan(every_kind(HOUR, DAY), keep_us=2 * DAY, places=(2,), texts=1)


def one(id_: int, at_us: int, number: int = 100, text: int = 1) -> Event:
    return Event(id_, at_us, (number,), (text,))


def column(plan: EntityPlan, values: Sequence[float], kind: Kind, window_us: int = 0) -> float:
    return next(
        value
        for each, value in zip(plan.columns, values, strict=True)
        if (each.kind, each.window_us) == (kind, window_us)
    )


def test_few_raw_events_stay_and_of_many_the_newest_ones() -> None:
    fold, events = Fold(history(ONE)), [one(each, NOW + each) for each in range(1, LONGEST_TAIL + 2)]
    *before, last = events

    assert fold.compaction(0, packed(before[:-1]), before[-1].packed()) is None

    found = fold.compaction(0, packed(before), last.packed())
    assert found is not None
    assert found.old == packed(events[:-KEPT_TAIL])
    assert found.new == fold.packed(0, found.old)
    after = packed(events).replace(found.old, found.new)
    assert folded(fold, after, one(0, NOW + DAY)) == folded(fold, packed(events), one(0, NOW + DAY))
    assert fold.compaction(0, after, b"") is None


def test_what_is_packed_again_is_the_state_as_if_it_had_been_packed_once() -> None:
    fold, kept, events = Fold(history(ONE)), b"", [one(each, NOW + each * HOUR, each) for each in range(1, 400)]
    for event in events:
        found = fold.compaction(0, kept, event.packed())
        kept += event.packed()
        if found is not None:
            kept = found.new + kept[len(found.old) :]

    assert fold.packed(0, kept) == fold.packed(0, packed(events))


def test_a_repeated_id_gets_its_first_values_while_its_event_is_raw() -> None:
    fold, events = Fold(history(ONE)), [one(each, NOW + each * MINUTE, each) for each in range(1, 41)]
    found = fold.compaction(0, packed(events[:-1]), events[-1].packed())
    assert found is not None
    kept = found.new + packed(events[-KEPT_TAIL:])

    for place in range(40 - KEPT_TAIL, 40):
        first = folded(fold, packed(events[:place]), events[place])
        assert folded(fold, kept, events[place], known=True) == first
        assert first.ordinals == (place + 1,)
        assert not first.forgotten
    packed_before = folded(fold, kept, events[0], known=True)
    assert packed_before.forgotten
    assert packed_before.ordinals == (None,)


def test_an_id_counts_once_while_it_is_among_the_last_128() -> None:
    fold = Fold(history(ONE))
    events = [one(each, NOW) for each in range(1, 129)]

    for kept in (packed(events), fold.packed(0, packed(events))):
        described = fold.describe(0, kept + packed([events[0], events[127], one(129, NOW), events[0]]))
        # by then the first one is the 129th last
        assert described is not None
        assert described.events == 130


def test_an_event_older_than_keep_is_told_apart_and_changes_nothing() -> None:
    fold = Fold(history(ONE))
    kept = one(1, NOW).packed()
    in_time, too_old = one(2, NOW - ONE.keep_us), one(3, NOW - ONE.keep_us - 1)

    assert folded(fold, kept, in_time).too_old == (False,)
    assert folded(fold, kept, too_old).too_old == (True,)
    assert folded(fold, kept, too_old).ordinals == (None,)
    assert fold.packed(0, kept + too_old.packed()) == fold.packed(0, kept)
    assert fold.describe(0, kept + in_time.packed()) == (2, NOW - ONE.keep_us, NOW)


def test_after_keep_without_an_event_the_entity_is_new() -> None:
    fold, kept = Fold(history(ONE)), packed([one(1, NOW), one(2, NOW)])
    still, gone = one(3, NOW + ONE.keep_us), one(3, NOW + ONE.keep_us + 1)

    assert folded(fold, kept, still).ordinals == (3,)
    assert folded(fold, kept, gone) == folded(fold, b"", gone)
    assert fold.packed(0, kept + gone.packed()) == fold.packed(0, gone.packed())


def test_a_late_one_sees_no_later_cell_and_counts_for_those_after_it() -> None:
    fold = Fold(history(ONE))
    kept = packed([one(1, NOW - 3 * HOUR - 2 * MINUTE), one(2, NOW)])
    late = one(3, NOW - 2 * HOUR)

    values = folded(fold, kept, late).values
    assert column(ONE, values, Kind.COUNT, HOUR) == 0
    assert column(ONE, values, Kind.COUNT, DAY) == 1
    assert column(ONE, values, Kind.SINCE_LAST) == 62
    assert column(ONE, folded(fold, kept + late.packed(), one(4, NOW)).values, Kind.COUNT, DAY) == 3


def test_a_window_begins_with_the_cell_of_its_length_ago() -> None:
    fold = Fold(history(ONE))
    at_us = NOW // HOUR * HOUR
    inside, outside = one(1, at_us - HOUR), one(1, at_us - HOUR - 1)

    for late in (0, MINUTE - 1):
        assert column(ONE, folded(fold, inside.packed(), one(2, at_us + late)).values, Kind.COUNT, HOUR) == 1
        assert column(ONE, folded(fold, outside.packed(), one(2, at_us + late)).values, Kind.COUNT, HOUR) == 0
    assert column(ONE, folded(fold, inside.packed(), one(2, at_us + MINUTE)).values, Kind.COUNT, HOUR) == 0


def test_of_an_entity_of_few_events_a_late_one_finds_32_cells_however_old() -> None:
    fold, far = Fold(history(ONE)), 80 * MINUTE
    events = [one(each, NOW + each * far) for each in range(1, 34)]

    def seen_at(at_us: int, events: list[Event]) -> float:
        return column(ONE, folded(fold, packed(events), one(99, at_us)).values, Kind.COUNT, HOUR)

    assert [seen_at(each.at_us, events[:32]) for each in events[:2]] == [1, 1]
    assert [seen_at(each.at_us, events) for each in events[:2]] == [0, 1]


def test_of_a_busy_entity_a_late_one_finds_the_cells_that_are_120_behind_the_newest() -> None:
    fold, newest = Fold(history(ONE)), NOW // HOUR * HOUR
    behind = [*range(125, 115, -1), *range(40)]
    kept = packed([one(each + 1, newest - each * MINUTE) for each in behind])

    found = [folded(fold, kept, one(99, newest - each * MINUTE)).values for each in (121, 120, 119)]
    assert [column(ONE, each, Kind.COUNT, HOUR) for each in found] == [0, 1, 2]


def test_of_two_events_at_one_time_the_one_that_was_observed_last_is_the_last() -> None:
    fold = Fold(history(ONE))
    events = [one(1, NOW, 100), one(2, NOW, 300), one(3, NOW - 1, 200)]

    # also for one that is not the newest
    for after in ([], [one(4, NOW + 1, 400)]):
        kept = packed([*events, *after])
        for each in (kept, fold.packed(0, kept)):
            assert column(ONE, folded(fold, each, one(5, NOW)).values, Kind.LAST) == 3.0


def test_a_time_is_in_the_right_cell_in_any_year_to_the_microsecond() -> None:
    chance, window = random.Random(1), SECOND
    plan = entity_plan([HistoryColumn("count", Kind.COUNT, window)], keep_us=DAY)
    pairs = []
    for _ in range(100_000):
        # the first microsecond of a cell, or the last of the one before
        start = -(-chance.randrange(YEAR_1900, YEAR_2200) * window // 60) - chance.randint(0, 1)
        pairs.append((start, start + window + chance.randint(0, window // 60)))
    times = np.array(pairs, np.int64).ravel()
    groups, nothing = np.repeat(np.arange(len(pairs)), 2), np.empty((len(times), 0))

    found = Fold(history(plan)).replay(0, groups, times, nothing.astype(np.int64), nothing.astype(np.uint64))[1::2, 0]

    expected = [float(cell(before, window) >= cell(now, window) - 60) for before, now in pairs]
    assert found.tolist() == expected


def test_a_text_that_names_nothing_is_not_counted() -> None:
    fold, kept = Fold(history(ONE)), packed([one(1, NOW, text=0), one(2, NOW, text=5), one(3, NOW, text=5)])

    assert column(ONE, folded(fold, kept, one(4, NOW)).values, Kind.DISTINCT, HOUR) == 1


def test_no_entity_has_the_values_of_nothing() -> None:
    fold = Fold(history(ONE, entity_plan(every_kind(HOUR), keep_us=DAY, places=(2,), texts=1, first=len(ONE.columns))))
    event = one(9, NOW).packed()
    found = fold.columns(
        Observation("", NOW, (None, Part("", event))), SeenBefore((None, packed([one(1, NOW, 250), one(2, NOW, 350)])))
    )

    assert found.values[: len(ONE.columns)] == tuple(each.empty for each in ONE.columns)
    assert 3.0 in found.values[len(ONE.columns) :]
    assert found.ordinals == (None, 3)
    assert found.too_old == (False, False)
    assert not found.forgotten


@given(st.lists(st.sampled_from([LIMIT, -LIMIT, LIMIT - 1, 1, 0, -7]), min_size=1, max_size=8), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_numbers_at_the_limit_are_summed_exactly(numbers: list[int], doublings: int) -> None:
    fold, reference, kept = Fold(history(ONE)), Reference(ONE), b""
    for place, number in enumerate(numbers * doublings):
        event = one(place, NOW, number)
        reference.observe(event)
        kept += event.packed()
    for kept_now in (kept, fold.packed(0, kept)):
        assert bits(folded(fold, kept_now, one(1 << 40, NOW)).values) == bits(reference.columns(NOW))


def test_a_million_events_of_one_moment_have_the_spread_that_exact_numbers_give() -> None:
    fold, rows = Fold(history(ONE)), 1_000_000
    numbers = np.where(np.arange(rows) % 3 == 0, LIMIT, 1 - LIMIT)
    texts = np.ones((rows, 1), dtype=np.uint64)
    found = fold.replay(0, np.zeros(rows, np.int64), np.full(rows, NOW), numbers[:, None], texts)[-1].tolist()

    n = rows - 1
    highs = len(range(0, n, 3))
    total = highs * LIMIT + (n - highs) * (1 - LIMIT)
    squares = highs * LIMIT**2 + (n - highs) * (1 - LIMIT) ** 2
    assert n * squares > 2**128
    assert column(ONE, found, Kind.SPREAD, DAY) == math.sqrt(float(n * squares - total**2)) / float(n * 100)
    assert column(ONE, found, Kind.MEAN, DAY) == float(total) / float(n * 100)


def test_the_order_of_a_classs_columns_changes_no_packed_byte() -> None:
    kept = packed([one(each, NOW + each * HOUR, each, each) for each in range(60)])
    other = entity_plan(ONE.columns[::-1], keep_us=ONE.keep_us, places=(2,), texts=1)

    assert Fold(history(ONE)).packed(0, kept) == Fold(history(other)).packed(0, kept)


def test_a_packed_state_has_the_bytes_that_earlier_releases_wrote() -> None:
    ids = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(1, 61)]
    events = [one(id_, NOW + n * 37 * MINUTE, n * n - 50, n % 7) for n, id_ in enumerate(ids, start=1)]
    state = Fold(history(ONE)).packed(0, packed(events))

    # other bytes need another version in the state, and another STATE_FORMAT of the fingerprints
    assert (len(state), sha256(state).hexdigest()[:16]) == (1_797, "4507ada4e59b3476")


@pytest.mark.parametrize("damage", [b"E", b"X" * 33, b"S", b"S\xff\xff\xff\xff\x01", packed([one(1, 2**60)])])
def test_bytes_that_are_no_history_are_refused_by_name(damage: bytes) -> None:
    fold = Fold(history(ONE))

    for call in (
        lambda: folded(fold, damage, one(1, NOW)),
        lambda: fold.packed(0, damage),
        lambda: fold.describe(0, damage),
    ):
        with pytest.raises(HistoryUnreadableError, match="entity_0 is damaged"):
            call()


def test_rows_that_do_not_fit_are_refused_before_they_are_read() -> None:
    fold, times = Fold(history(ONE)), np.zeros(3, np.int64)
    numbers, texts = np.zeros((3, 1), np.int64), np.zeros((3, 1), np.uint64)

    with pytest.raises(ValueError, match="3 rows want as many times, 1 numbers and 1 texts"):
        fold.replay(0, times, times[:2], numbers, texts)
    with pytest.raises(ValueError, match="3 rows want"):
        fold.replay(0, times, times, numbers[:, :0], texts)
    with pytest.raises(ValueError, match="thousands of years"):
        fold.replay(0, times, times + (1 << 59), numbers, texts)
    with pytest.raises(ValueError, match="thousands of years"):
        folded(fold, b"", one(1, 1 << 59))
    assert fold.replay(0, times[:0], times[:0], numbers[:0], texts[:0]).shape == (0, len(ONE.columns))


def test_a_card_of_two_purchases_a_day_takes_1300_bytes_after_a_month() -> None:
    fold, plan = Fold(usual()), usual().entities[0]
    sizes = [
        len(kept_after(fold, 0, purchases(plan, random.Random(seed), count=60, over_us=30 * DAY, until_us=NOW)))
        for seed in range(20)
    ]

    assert 1_300 < sum(sizes) / len(sizes) < 1_350
    assert max(sizes) < 1_600


def test_a_merchant_takes_8_kilobytes_after_a_flood_and_no_purchase_is_missed() -> None:
    plan = entity_plan(every_kind(HOUR, DAY, 30 * DAY), keep_us=37 * DAY, places=(2,), texts=1)
    fold, reference, chance = Fold(history(plan)), Reference(plan), random.Random(1)
    events = purchases(plan, chance, count=10_000, over_us=60 * DAY, until_us=NOW - HOUR)
    events += purchases(plan, chance, count=100_000, over_us=HOUR, until_us=NOW)
    kept = kept_after(fold, 0, events)

    assert len(kept) < 8 * 1024
    reference.newest, reference.times = events[-1].at_us, events[-16:]
    for window, cells in reference.cells.items():
        for event in events:
            cells.setdefault(cell(event.at_us, window), []).append(event)
    found, expected = folded(fold, kept, one(1, NOW)).values, reference.columns(NOW)
    for each, mine, right in zip(plan.columns, found, expected, strict=True):
        assert mine == (64 if each.kind is Kind.DISTINCT else right)


def test_one_that_comes_after_many_newer_ones_is_not_said_to_be_the_first() -> None:
    columns = [
        HistoryColumn("since", Kind.SINCE_LAST, unit_us=SECOND, empty=-1.0),
        HistoryColumn("last", Kind.LAST, number=0, empty=-2.0),
    ]
    fold = Fold(history(entity_plan(columns, keep_us=DAY, places=(0,))))
    kept = packed(Event(number, DAY + number * 3 * SECOND, (number,)) for number in range(1, 41))

    assert folded(fold, kept, Event(99, DAY + 20 * 3 * SECOND)).values == (3.0, 25.0)
    assert folded(fold, kept, Event(99, DAY + 30 * 3 * SECOND)).values == (0.0, 30.0)
    assert folded(fold, kept, Event(99, DAY)).values == (-1.0, -2.0)
    next_day = kept + packed(Event(number, 3 * DAY // 2 + number, (number,)) for number in range(50, 70))
    assert folded(fold, next_day, Event(99, DAY + 40 * 3 * SECOND)).values == (1e-6, 54.0)
    assert folded(fold, next_day + packed([Event(98, 2 * DAY + MINUTE, (9,))]), Event(99, DAY + 3 * SECOND)).values == (
        -1.0,
        -2.0,
    )
