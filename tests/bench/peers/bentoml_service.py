"""BentoML, one request a call (`Single`) and with its adaptive batching (`Batched`), both on scikit-learn."""

import os

import bentoml
import joblib
import numpy as np
from pydantic import BaseModel, Field

WORKERS = 2
"""One a core, as Riskline has."""


class Transaction(BaseModel):
    """A row; its features in the order of the model's columns."""

    transaction_id: str
    amount: float = Field(gt=0)
    merchant_category_code: int
    customer_age: int = Field(ge=18)
    distance_from_home: float = Field(ge=0)
    is_online_transaction: int = Field(ge=0, le=1)


class Decision(BaseModel):
    """The answer to a row."""

    transaction_id: str
    fraud_probability: float
    action: str


def decide(model: object, transactions: list[Transaction]) -> list[Decision]:
    """All rows in one call of the model."""
    rows = np.array([list(each.model_dump(exclude={"transaction_id"}).values()) for each in transactions])
    probabilities = model.predict_proba(rows)[:, 1].tolist()  # type: ignore[attr-defined]  # a RandomForestClassifier
    return [
        Decision(
            transaction_id=each.transaction_id,
            fraud_probability=round(probability, 4),
            action="DECLINE" if probability > 0.85 else "APPROVE",
        )
        for each, probability in zip(transactions, probabilities, strict=True)
    ]


@bentoml.service(workers=WORKERS)
class Single:
    """Scores each request alone."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_FOREST"])

    @bentoml.api(route="/score-transaction")
    def score(self, transaction: Transaction) -> Decision:
        """Body: `{"transaction": {…}}`."""
        return decide(self.model, [transaction])[0]


@bentoml.service(workers=WORKERS)
class Batched:
    """Scores concurrent requests together, as many as its dispatcher finds worthwhile."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_FOREST"])

    @bentoml.api(route="/score-transaction", batchable=True, max_batch_size=512)
    def score(self, transactions: list[Transaction]) -> list[Decision]:
        """Body: `{"transactions": [{…}]}`."""
        return decide(self.model, transactions)
