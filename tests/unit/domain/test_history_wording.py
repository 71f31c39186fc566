"""A reason says what a column of history counts, of which entity and in which time."""

from typing import Annotated

import numpy as np
import pytest
from pydantic import AwareDatetime

from riskline import Count, Entity, EventTime, SinceLast, TransactionModel
from riskline.shared.domain.assessment import Rows, decide
from riskline.shared.domain.history.wording import phrases
from riskline.shared.domain.transaction import Transaction
from tests.support.factories import AmountModel
from tests.support.histories import Purchase, purchase


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("purchases_1h", 5, "{} transactions of the same card_id in the last hour"),
        ("purchases_1h", 1, "{} transaction of the same card_id in the last hour"),
        ("purchases_1h", 0, "{} transactions of the same card_id in the last hour"),
        ("spent_24h", 9.5, "total cost {} of the same card_id in the last day"),
        ("mean_30d", 1.0, "mean cost {} of the same card_id in the last 30 days"),
        ("largest_30d", 1.0, "largest cost {} of the same card_id in the last 30 days"),
        ("smallest_30d", 1.0, "smallest cost {} of the same card_id in the last 30 days"),
        ("spread_30d", 1.0, "standard deviation {} of cost of the same card_id in the last 30 days"),
        ("cards_on_device", 3, "{} different card_id of the same device_id in the last 7 days"),
        ("cards_on_device", 1, "{} card_id of the same device_id in the last 7 days"),
        ("times_here", 2, "{} transactions of the same card_id and merchant_id in the last 30 days"),
        ("minutes_since", 2.5, "{} minutes since the last transaction of the same card_id"),
        ("minutes_since", 1.0, "{} minute since the last transaction of the same card_id"),
        ("minutes_since", 43200.0, "no earlier transaction of the same card_id"),
        ("last_cost", 1.0, "last cost {} of the same card_id"),
        ("seen_web", 1, "known channel of the same card_id in the last 30 days"),
        ("seen_web", 0, "no known channel of the same card_id in the last 30 days"),
    ],
)
def test_each_kind_has_its_words(column: str, value: float, said: str) -> None:
    assert phrases(Purchase)[column](value) == said


def test_an_empty_value_that_may_be_a_time_is_told_as_one() -> None:
    class Close(TransactionModel):
        at: Annotated[AwareDatetime, EventTime]
        card_id: Annotated[str, Entity("30d")]
        kind: int
        in_week: Annotated[int, Count("card_id", "7d")]
        hours: Annotated[float, SinceLast("card_id", unit="h", empty=24)]
        seconds: Annotated[float, SinceLast("card_id", empty=-1)]

    said = phrases(Close)
    assert said["hours"](24.0) == "{} hours since the last transaction of the same card_id"
    assert said["seconds"](-1.0) == "no earlier transaction of the same card_id"
    assert said["in_week"](2) == "{} transactions of the same card_id in the last 7 days"


def test_a_class_without_history_has_no_words_for_it() -> None:
    assert phrases(Transaction) == {}


class EachMoves(AmountModel):
    def explain(self, rows: Rows) -> tuple[Rows, Rows]:
        return self.score(rows), np.ones_like(rows)


def test_the_reasons_of_a_decision_use_them() -> None:
    bare = Purchase.from_row(purchase())
    made = bare.with_history([5, *[0.0] * 11])

    decision = decide(made, EachMoves(transaction_class=Purchase), scored_at="now", explain=True)

    assert decision.reasons is not None
    texts = {each.feature: each.text for each in decision.reasons}
    assert texts["purchases_1h"].startswith("5 transactions of the same card_id in the last hour")
    assert texts["cost"].startswith("cost 48.5")
