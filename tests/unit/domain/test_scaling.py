"""How many workers a load needs: the law, and the pace of a worker from what its batches took."""

import pytest

from riskline.shared.domain.capacity import (
    BATCH,
    FEW_BATCHES,
    BatchTimes,
    Load,
    Pace,
    Target,
    pace,
    size_class,
    times,
    workers_needed,
)

FIXED, EACH = 0.001, 0.00003
TRUE_PACE = BATCH / (FIXED + EACH * BATCH)


KNOWN = Pace(1000.0, BATCH)


def batches(size: int, *, number: int = 100, fixed: float = FIXED, each: float = EACH) -> dict[int, BatchTimes]:
    return {size_class(size): BatchTimes(number, number * size, number * (fixed + each * size))}


def load(per_second: float = 0.0, *, undecided: int = 0, workers: int = 1, known: Pace | None = KNOWN) -> Load:
    return Load(per_second, undecided, workers, known)


@pytest.mark.parametrize(
    ("per_second", "needed"),
    [(0, 1), (1, 1), (699, 1), (701, 2), (1400, 2), (1401, 3), (7000, 10)],
)
def test_each_worker_is_busy_for_the_wanted_part_of_the_time(per_second: float, needed: int) -> None:
    assert workers_needed(load(per_second), Target(utilisation=0.7)) == needed


def test_a_backlog_is_decided_in_the_wanted_time_beside_what_arrives() -> None:
    target = Target(utilisation=0.7, drain_seconds=60)

    # 500 a second arrive, 90,000 wait: 2,000 a second for a minute
    assert workers_needed(load(500, undecided=90_000), target) == 2
    assert workers_needed(load(500, undecided=90_000), target._replace(drain_seconds=10)) == 10


def test_what_is_in_the_workers_hands_is_no_backlog_that_takes_more_of_them() -> None:
    # Little: 1,300 a second that spend 20 ms in the system are 26 at a time
    assert workers_needed(load(1300, undecided=26, workers=2), Target()) == 2


def test_the_number_is_bounded_and_never_nobody() -> None:
    assert workers_needed(load(1_000_000), Target(most=20)) == 20
    assert workers_needed(load(0), Target(least=3)) == 3
    assert workers_needed(load(0, workers=0), Target()) == 1


@pytest.mark.parametrize(("workers", "undecided", "needed"), [(0, 0, 1), (0, 50, 1), (4, 50, 4), (4, 0, 1)])
def test_without_a_known_pace_there_are_as_many_as_there_are_but_at_least_one(
    workers: int, undecided: int, needed: int
) -> None:
    assert workers_needed(load(900, undecided=undecided, workers=workers, known=None), Target()) == needed


def test_more_load_never_takes_fewer_workers_and_a_faster_worker_never_more() -> None:
    numbers = [workers_needed(load(each * 130.0, undecided=each), Target(most=10_000)) for each in range(100)]
    by_pace = [workers_needed(load(9000, known=Pace(100.0 * each, BATCH)), Target()) for each in range(1, 100)]

    assert numbers == sorted(numbers)
    assert by_pace == sorted(by_pace, reverse=True)


def test_many_times_the_load_has_no_backlog() -> None:
    assert times(load(100, undecided=7), 10) == load(1000)


def test_the_pace_of_full_batches_is_what_was_seen() -> None:
    known = pace(batches(1) | batches(BATCH))

    assert known is not None
    assert known.measured
    assert known.per_second == pytest.approx(TRUE_PACE)


def test_a_load_that_leaves_a_worker_idle_does_not_make_it_look_slow() -> None:
    """With small batches it decides 970 a second in its busy time, and could decide 29,000."""
    timed = batches(1) | batches(2) | batches(64)
    known = pace(timed)

    assert known is not None
    assert not known.measured
    assert known.per_second == pytest.approx(TRUE_PACE)
    assert timed[1].transactions / timed[1].seconds < TRUE_PACE / 25


def test_the_pace_is_foretold_no_further_than_can_be_seen() -> None:
    known = pace(batches(1) | batches(2) | batches(4))

    assert known is not None
    assert known.per_second == pytest.approx(16 / (FIXED + EACH * 16))


def test_batches_of_one_size_foretell_nothing() -> None:
    known = pace(batches(1))

    assert known is not None
    assert known.per_second == pytest.approx(1 / (FIXED + EACH))


@pytest.mark.parametrize("seconds", [(0.004, 0.002), (0.001, 0.009)])
def test_a_noisy_measurement_never_foretells_a_negative_time(seconds: tuple[float, float]) -> None:
    known = pace({1: BatchTimes(50, 50, 50 * seconds[0]), 4: BatchTimes(50, 200, 50 * seconds[1])})

    assert known is not None
    assert 0 < known.per_second <= 16 / 0.002


def test_a_few_batches_say_nothing() -> None:
    slow = {1: BatchTimes(FEW_BATCHES - 1, FEW_BATCHES - 1, 5.0)}

    assert pace(slow | batches(BATCH)) == pace(batches(BATCH))
    assert pace(slow) is None


@pytest.mark.parametrize("timed", [{}, {1: BatchTimes(0, 0, 0.0)}, {1: BatchTimes(30, 30, 0.0)}])
def test_without_a_measurement_there_is_no_pace(timed: dict[int, BatchTimes]) -> None:
    assert pace(timed) is None


@pytest.mark.parametrize(("transactions", "size"), [(1, 1), (2, 2), (3, 2), (255, 128), (256, 256)])
def test_batches_are_sorted_by_powers_of_two(transactions: int, size: int) -> None:
    assert size_class(transactions) == size
