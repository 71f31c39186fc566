"""The simulation of bursts keeps what is true of any queue, and of KEDA's and HPA's rules."""

import math
from itertools import pairwise

import pytest

from riskline.shared.domain.capacity import Target
from tests.bench.scaling_simulation import SYNC_SECONDS, Redis, Rules, Run, burst, simulate, total

PACE = 1_000.0
BURST_AT = 60.0
TENFOLD = burst(700, factor=10, at=BURST_AT, ramp_seconds=10, lasts_seconds=60)


def run(workers: int = 1, rules: Rules | None = None, redis: Redis | None = None) -> Run:
    options = {} if redis is None else {"redis": redis}
    return simulate(TENFOLD, seconds=1200, workers=workers, pace=PACE, rules=rules, **options)


def steady(per_second: float, workers: int) -> Run:
    return simulate(lambda _now: per_second, seconds=600, workers=workers, pace=PACE)


@pytest.mark.parametrize("rules", [None, Rules(), Rules(most=3)])
@pytest.mark.parametrize("redis", [None, Redis(0.0001, 0.0002)])
@pytest.mark.parametrize("workers", [1, 8, 40])
def test_what_arrived_was_decided_or_waits(workers: int, rules: Rules | None, redis: Redis | None) -> None:
    moments = run(workers, rules, redis).moments

    assert total(moments, "arrived") == pytest.approx(total(moments, "decided") + moments[-1].backlog)
    assert min(each.backlog for each in moments) >= 0


def test_more_workers_never_leave_more_waiting() -> None:
    peaks = [run(workers).peak_backlog for workers in range(1, 12)]
    drained = [run(workers).drained_after(BURST_AT) or 0 for workers in range(2, 12)]

    assert peaks == sorted(peaks, reverse=True)
    assert drained == sorted(drained, reverse=True)
    assert peaks[-1] == drained[-1] == 0


def test_in_a_steady_state_the_busy_workers_are_those_of_littles_law() -> None:
    """Arrivals a second times the time that a worker has for each."""
    for per_second, workers in ((700, 1), (2_500, 3), (9_000, 30)):
        moments = steady(per_second, workers).moments
        assert total(moments, "busy") / len(moments) == pytest.approx(per_second / PACE)
        assert moments[-1].backlog == 0


def test_those_that_wait_are_as_many_as_arrive_while_one_waits() -> None:
    """Little's law, with the waits reckoned from first come, first served."""
    seen = run(4)
    waits = seen.waits()
    arrived = [each.arrived for each in seen.moments if each.arrived]

    mean_wait = sum(wait * count for wait, count in zip(waits, arrived, strict=True)) / sum(arrived)
    mean_backlog = total(seen.moments, "backlog") / len(seen.moments)
    rate = sum(arrived) / (len(seen.moments) * seen.step_seconds)
    assert mean_backlog == pytest.approx(rate * mean_wait, rel=0.01)


def test_too_few_workers_never_catch_up() -> None:
    moments = steady(1_100, 1).moments

    assert all(after.backlog > before.backlog for before, after in pairwise(moments))
    assert Run(moments, 0.5).drained_after(0) is None


def test_a_burst_takes_the_autoscaler_a_look_and_a_pods_start() -> None:
    rules = Rules(start_seconds=20)
    seen = run(1, rules)
    first = next(number for number, each in enumerate(seen.moments) if each.ready > 1) * seen.step_seconds

    assert BURST_AT + rules.start_seconds <= first <= BURST_AT + SYNC_SECONDS + rules.start_seconds + seen.step_seconds
    assert seen.peak_workers >= 10
    assert (seen.drained_after(BURST_AT) or math.inf) < 300


def test_a_pod_that_starts_sooner_never_leaves_more_waiting() -> None:
    peaks = [run(1, Rules(start_seconds=seconds)).peak_backlog for seconds in (0, 5, 20, 60, 120)]

    assert peaks == sorted(peaks)


def test_workers_are_added_four_or_as_many_again_at_a_time_and_never_more_than_allowed() -> None:
    wanted = [each.wanted for each in run(1, Rules(most=8)).moments]

    assert max(wanted) == 8
    assert all(after <= max(before + 4, 2 * before) for before, after in pairwise(wanted))


def test_workers_go_five_minutes_after_they_were_wanted_last_and_half_of_them_a_minute() -> None:
    seen = run(1, Rules())
    ready = [each.ready for each in seen.moments]
    last_peak = max(number for number, count in enumerate(ready) if count == max(ready))

    assert last_peak * seen.step_seconds >= BURST_AT + 70 + 300 - SYNC_SECONDS
    minute = round(60 / seen.step_seconds)
    assert all(ready[at + minute] >= ready[at] // 2 for at in range(last_peak, len(ready) - minute))
    assert ready[-1] == 1


def test_a_steady_load_changes_nothing() -> None:
    seen = simulate(lambda _now: 3_400, seconds=1200, workers=5, pace=PACE, rules=Rules())

    assert {each.wanted for each in seen.moments} == {5}


def test_where_redis_is_the_limit_more_workers_do_not_help() -> None:
    redis = Redis(0.0001, 0.0002)

    assert redis.most_per_second == pytest.approx(3_333, rel=0.001)
    assert run(4, None, redis).peak_backlog == pytest.approx(run(40, None, redis).peak_backlog)
    # and the rule, which cannot see that, takes all that it may: its bound is what the Redis takes
    assert run(1, Rules(most=40), redis).peak_workers > 20


def test_shards_multiply_what_redis_can_do() -> None:
    redis = Redis(0.0001, 0.0002)
    seen = simulate(TENFOLD, seconds=600, workers=10, pace=PACE, redis=redis, shards=3)

    assert seen.peak_backlog == 0


def test_a_backlog_is_drained_in_the_time_that_is_wanted_once_the_pods_are_there() -> None:
    fast, slow = (
        simulate(TENFOLD, seconds=1200, workers=1, pace=PACE, rules=Rules(), target=Target(drain_seconds=seconds))
        for seconds in (20, 600)
    )

    assert (fast.drained_after(BURST_AT) or math.inf) < (slow.drained_after(BURST_AT) or math.inf)
    assert fast.peak_workers > slow.peak_workers
