from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from riskline import shared
from riskline.shared.domain.assessment import assess, decide, decide_all
from riskline.shared.domain.decision import Reason, is_decision
from riskline.shared.domain.policy import Action, Thresholds
from riskline.shared.errors import HistoryRequiredError
from tests.support.factories import AmountModel, a_transaction
from tests.support.histories import Purchase, purchase

NOW = "2026-11-24T03:15:07.123Z"


def test_a_decision_is_declined_strictly_above_the_threshold() -> None:
    model = AmountModel()

    at = decide(a_transaction(amount=8500), model, scored_at=NOW)
    above = decide(a_transaction(amount=8500.01), model, scored_at=NOW)

    assert at.action is Action.APPROVE
    assert above.action is Action.DECLINE
    assert at.fraud_probability == above.fraud_probability == 0.85


def test_a_review_threshold_makes_a_band_below_the_decline_threshold() -> None:
    model = AmountModel(thresholds=Thresholds(decline=0.8, review=0.5))

    actions = [decide(a_transaction(amount=a), model, scored_at=NOW).action for a in (5000, 5001, 8000, 8001)]

    assert actions == [Action.APPROVE, Action.REVIEW, Action.REVIEW, Action.DECLINE]


def test_a_review_threshold_above_the_decline_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be above"):
        Thresholds(decline=0.5, review=0.6)


def test_reasons_are_given_unless_approved_or_where_asked_for() -> None:
    model = AmountModel()

    approved = decide(a_transaction(amount=10), model, scored_at=NOW)
    explained = decide(a_transaction(amount=10), model, scored_at=NOW, explain=True)
    declined = decide(a_transaction(amount=9000), model, scored_at=NOW)

    assert approved.reasons is None
    assert "reasons" not in approved.to_dict()
    assert explained.reasons == (Reason("amount", 10.0, 0.001, "amount 10.0: raises the risk"),)
    assert declined.to_dict()["reasons"] == [
        {"feature": "amount", "value": 9000.0, "contribution": 0.9, "text": "amount 9000.0: raises the risk"}
    ]


def test_reasons_come_largest_first_whatever_their_sign() -> None:
    class TwoReasons(AmountModel):
        def explain(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.score(rows), np.tile([0.1, -0.4, 0.2, 0.0, 0.0], (len(rows), 1))

    decision = decide(a_transaction(), TwoReasons(), scored_at=NOW, explain=True)

    assert [reason.contribution for reason in decision.reasons or ()] == [-0.4, 0.2, 0.1]


def test_a_batch_decides_each_transaction_as_it_would_be_decided_alone() -> None:
    model = AmountModel(thresholds=Thresholds(decline=0.7, review=0.3))
    transactions = [a_transaction(transaction_id=str(i), amount=i * 97.3 + 0.01) for i in range(100)]

    for explained in ([3], [], range(len(transactions))):
        batch = decide_all(transactions, model, scored_at=NOW, explain=explained)

        assert batch == [
            decide(each, model, scored_at=NOW, explain=i in explained) for i, each in enumerate(transactions)
        ]


def test_an_empty_batch_has_no_decisions() -> None:
    assert decide_all([], AmountModel(), scored_at=NOW) == []


def test_nothing_but_deciding_turns_a_score_into_an_action() -> None:
    root = Path(shared.__file__).parents[1]
    rooms = (root / room for room in ("shared", "ingest", "worker", "cli"))
    callers = {each.name for room in rooms for each in room.rglob("*.py") if ".action_for(" in each.read_text()}

    assert callers == {"assessment.py"}


def test_what_each_would_come_to_is_what_deciding_it_says() -> None:
    model = AmountModel(thresholds=Thresholds(decline=0.8, review=0.5))
    transactions = [a_transaction(amount=amount) for amount in (10, 5000, 5001, 8000, 8001)]

    would = assess(transactions, model)

    decided = [decide(each, model, scored_at=NOW) for each in transactions]
    assert [(round(each.fraud_probability, 4), each.action) for each in would] == [
        (each.fraud_probability, each.action) for each in decided
    ]
    assert assess([], model) == []


class Counting:
    """A model that has a twin: 0.9 where its last feature is above a bound, else 0.1."""

    def __init__(self, feature: str, features: tuple[str, ...], twin: "Counting | None" = None) -> None:
        self.version = "20261124T031500-3f9a2c1b"
        self.thresholds = Thresholds()
        self.feature_names = features
        self.twin = twin
        self._at = features.index(feature)

    def score_one(self, features: Sequence[float]) -> float:
        return 0.9 if features[self._at] > 4 else 0.1

    def score(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self.score_one(row) for row in rows.tolist()])

    def explain(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        contributions = np.zeros_like(rows)
        contributions[:, self._at] = 0.4
        return self.score(rows), contributions

    def words(self, feature: str, value: float, shown: float | str, *, nominal: bool, phrase: str | None = None) -> str:
        return f"{feature} {shown}"


def with_twin() -> Counting:
    twin = Counting("items", Purchase.twin_feature_names())
    return Counting("purchases_1h", Purchase.feature_names(), twin)


def purchases() -> list[Purchase]:
    """Ten, of which each third lacks its history."""
    made = [Purchase.from_row(purchase(i, items=9 if i % 2 else 1)) for i in range(10)]
    count = len(made[0].with_history([0] * 12).history_values())
    return [each if i % 3 == 0 else each.with_history([i] * count) for i, each in enumerate(made)]


def test_one_that_lacks_its_history_is_decided_by_the_twin_and_says_so() -> None:
    lacking = Purchase.from_row(purchase(items=9))

    decision = decide(lacking, with_twin(), scored_at=NOW)

    assert decision.action is Action.DECLINE
    assert decision.to_dict()["history"] == "away"
    assert [reason.feature for reason in decision.reasons or ()] == ["items"]
    assert is_decision(decision.to_dict())


def test_one_with_its_history_is_decided_by_the_model_and_says_nothing_of_it() -> None:
    known = Purchase.from_row(purchase(items=9)).with_history([5] * 12)

    decision = decide(known, with_twin(), scored_at=NOW)

    assert decision.action is Action.DECLINE
    assert "history" not in decision.to_dict()
    assert [reason.feature for reason in decision.reasons or ()] == ["purchases_1h"]
    assert decide(known, with_twin(), scored_at=NOW, explain=True) == decision


@pytest.mark.parametrize("explained", [[], [0, 4, 7], range(10)])
def test_a_batch_of_both_is_decided_in_its_order_each_as_it_would_be_alone(explained: Sequence[int]) -> None:
    transactions, model = purchases(), with_twin()

    decisions = decide_all(transactions, model, scored_at=NOW, explain=explained)

    assert decisions == [
        decide(each, model, scored_at=NOW, explain=i in explained) for i, each in enumerate(transactions)
    ]
    assert [each.history for each in decisions] == ["away" if i % 3 == 0 else None for i in range(10)]
    assert [each.transaction_id for each in decisions] == [f"P-{i}" for i in range(10)]
    assert [each.fraud_probability for each in assess(transactions, model)] == [
        each.fraud_probability for each in decisions
    ]


def test_without_a_twin_one_that_lacks_its_history_is_refused_and_others_are_decided() -> None:
    model = Counting("purchases_1h", Purchase.feature_names())
    lacking = Purchase.from_row(purchase())

    with pytest.raises(
        HistoryRequiredError, match=r"no transaction without its history: .* or the version has no twin"
    ):
        decide(lacking, model, scored_at=NOW)
    with pytest.raises(HistoryRequiredError):
        decide_all([lacking], model, scored_at=NOW)

    assert decide_all([lacking.with_history([5] * 12)], model, scored_at=NOW)[0].history is None
