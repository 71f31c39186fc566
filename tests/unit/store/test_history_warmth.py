"""How warm a window is said to be."""

from dataclasses import replace

import pytest

from riskline.shared.domain.history.plan import Kind
from riskline.shared.store.history.interface import Mark
from riskline.shared.store.history.warmth import windows
from tests.support.observations import DAY_US, START_US, a_history

T = START_US


def marked(live_days: int | None, from_day: int | None = None, to_day: int | None = None) -> Mark:
    """Observed live for so many days, after a backfill of the days before."""
    live = {} if live_days is None else {"live_from_us": T, "live_to_us": T + live_days * DAY_US}
    if from_day is not None and to_day is not None:
        live |= {"backfilled_from_us": T + from_day * DAY_US, "backfilled_to_us": T + to_day * DAY_US}
    return Mark("card", **live)


@pytest.mark.parametrize(
    ("mark", "days", "share"),
    [
        (marked(None), 30, 0.0),
        (marked(0), 30, 0.0),
        (marked(3), 30, 0.1),
        (marked(3), 1, 1.0),
        (marked(90), 30, 1.0),
        (marked(0, -15, 0), 30, 0.5),
        (marked(3, -27, 0), 30, 1.0),
        # a day between the file and the service
        (marked(3, -27, -1), 30, 29 / 30),
        # a file that reaches beyond the first live event
        (marked(3, -12, 1), 30, 0.5),
        # a backfill that has only begun
        (marked(3, -27, -27), 30, 0.1),
        # one without live events, 200 days ago
        (marked(None, -30, 0), 365, 30 / 365),
    ],
)
def test_the_share_is_what_was_observed_or_backfilled_of_the_window(mark: Mark, days: int, share: float) -> None:
    [plan, *_] = a_history().entities
    plan = replace(plan, columns=(plan.columns[0]._replace(window_us=days * DAY_US),))

    [found] = windows(plan, mark, now_us=T + 200 * DAY_US)

    assert found.share == pytest.approx(share)


def test_a_window_is_warm_when_it_has_left_behind_what_was_not_observed() -> None:
    [plan, *_] = a_history().entities

    def warm_at(mark: Mark) -> int | None:
        [found] = windows(plan, mark, now_us=T)
        return found.warm_at_us

    assert warm_at(Mark("card")) is None
    assert warm_at(Mark("card", T)) == T + DAY_US
    assert warm_at(Mark("card", T, T - 9 * DAY_US, T - DAY_US // 100)) == T - 8 * DAY_US
    assert warm_at(Mark("card", T, T - 9 * DAY_US, T - DAY_US // 10)) == T + DAY_US


def test_columns_are_told_by_their_window_and_those_without_one_by_how_long_the_entity_is_kept() -> None:
    [plan, *_] = a_history().entities
    last = plan.columns[0]._replace(name="last", kind=Kind.LAST, window_us=0)

    found = windows(replace(plan, columns=(last, *plan.columns)), Mark("card"), now_us=T)

    assert [(each.window_us, each.columns) for each in found] == [(DAY_US, ("count_0",)), (30 * DAY_US, ("last",))]
