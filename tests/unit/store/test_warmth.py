"""How warm a history is, from its marks."""

import pytest

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.store.history.interface import Mark
from riskline.shared.store.history.warmth import Warmth, warmth
from tests.support.histories import Purchase

DAY_US = 86_400_000_000
NOW_US = 1_764_000_000_000_000


def days_ago(days: float) -> int:
    return NOW_US - round(days * DAY_US)


@pytest.fixture
def history() -> History:
    found = history_of(Purchase)
    assert found is not None
    return found


def of_card(history: History, mark: Mark | None) -> Warmth:
    plan = next(each for each in history.entities if each.name == "card_id")
    found = warmth(history, {} if mark is None else {plan.fingerprint: mark}, now_us=NOW_US)
    return next(each for each in found if each.entity == "card_id")


@pytest.mark.parametrize(
    ("mark", "days", "is_warm"),
    [
        (None, 0, False),
        (Mark("card_id"), 0, False),
        (Mark("card_id", live_from_us=days_ago(3)), 3, False),
        (Mark("card_id", live_from_us=days_ago(400)), 30, True),
        (Mark("card_id", live_from_us=days_ago(28)), 28, True),
        (Mark("card_id", live_from_us=NOW_US + 60_000_000), 0, False),
        # a file that was put before the first transaction, with half a day between
        (Mark("card_id", days_ago(1), days_ago(60), days_ago(1.5)), 29.5, True),
        (Mark("card_id", days_ago(1), days_ago(60), days_ago(9)), 22, False),
        # one that goes on where live ones have begun, as told twice
        (Mark("card_id", days_ago(10), days_ago(20), days_ago(5)), 20, False),
        # no transaction has come yet
        (Mark("card_id", None, days_ago(60), days_ago(0.5)), 29.5, True),
        (Mark("card_id", None, days_ago(60), None), 0, False),
    ],
)
def test_what_is_covered_of_the_longest_window_counts(
    history: History, mark: Mark | None, days: float, *, is_warm: bool
) -> None:
    found = of_card(history, mark)

    assert found.needed_us == 30 * DAY_US
    assert found.covered_us == round(days * DAY_US)
    assert found.is_warm is is_warm


def test_each_entity_has_its_own(history: History) -> None:
    found = warmth(history, {}, now_us=NOW_US)

    assert [each.entity for each in found] == [plan.name for plan in history.entities]
    assert {each.entity: each.needed_us // DAY_US for each in found}["device_id"] == 7
