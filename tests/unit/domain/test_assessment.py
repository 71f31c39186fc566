from pathlib import Path

import numpy as np
import pytest

from riskline import shared
from riskline.shared.domain.assessment import assess, decide, decide_all
from riskline.shared.domain.decision import Reason
from riskline.shared.domain.policy import Action, Thresholds
from tests.support.factories import AmountModel, a_transaction

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
