"""What tests build on: transactions, and a model that needs no file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.inputs import Inputs
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.model.trees import Scoring


def transaction_json(**changes: Any) -> dict[str, Any]:
    """The transaction of the widely copied tutorial, with changes; None leaves a field out."""
    body: dict[str, Any] = {
        "transaction_id": "TXN-99827364",
        "amount": 4500.00,
        "merchant_category_code": 5942,
        "customer_age": 24,
        "distance_from_home": 1250.5,
        "is_online_transaction": 1,
    }
    body.update(changes)
    return {name: value for name, value in body.items() if value is not None}


def a_transaction(**changes: Any) -> Transaction:
    """A valid transaction."""
    return Transaction.from_row(transaction_json(**changes))


class AmountModel:
    """A model whose probability is a tenth of a thousandth of the amount, at most 1; all of it the amount's doing."""

    base = 0.0
    scoring = Scoring(inputs="float64", aggregation="mean", link="identity", base=0.0)
    twin: "AmountModel | None" = None

    def __init__(
        self,
        *,
        version: str = "20261124T031500-3f9a2c1b",
        thresholds: Thresholds | None = None,
        transaction_class: type[TransactionModel] = Transaction,
    ) -> None:
        self.version = version
        self.thresholds = Thresholds() if thresholds is None else thresholds
        self.feature_names = transaction_class.feature_names()

    def without_twin(self) -> "AmountModel":
        self.twin = None
        return self

    def score_one(self, features: Sequence[float]) -> float:
        return min(features[0] / 10_000, 1.0)

    def score(self, rows: Rows) -> Rows:
        return np.array([self.score_one(row) for row in rows.tolist()])

    def explain(self, rows: Rows) -> tuple[Rows, Rows]:
        contributions = np.zeros_like(rows)
        contributions[:, 0] = self.score(rows)
        return self.score(rows), contributions

    def usual(self, feature: str) -> tuple[float, float] | None:
        return None

    def common(self, feature: str) -> tuple[float, ...]:
        return ()

    def words(self, feature: str, value: float, shown: float | str, *, nominal: bool, phrase: str | None = None) -> str:
        return f"{feature} {shown}" if phrase is None else phrase.replace("{}", str(shown))


class FixedSource:
    """A model source that always has this model, or a problem."""

    def __init__(self, model: Any = None) -> None:
        self.model = model

    def active_version(self) -> str | None:
        return getattr(self.model, "version", None)

    def load_active(self, inputs: Inputs) -> Any:
        if isinstance(self.model, Exception):
            raise self.model
        return self.model
