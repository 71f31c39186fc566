"""FastAPI and scikit-learn, today's versions: a model in the process, `predict_proba` for each request."""

import os

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field

app = FastAPI()
model = joblib.load(os.environ["BENCH_FOREST"])


class Transaction(BaseModel):
    """The request's body."""

    transaction_id: str
    amount: float = Field(gt=0)
    merchant_category_code: int
    customer_age: int = Field(ge=18)
    distance_from_home: float = Field(ge=0)
    is_online_transaction: int = Field(ge=0, le=1)


class Decision(BaseModel):
    """The answer."""

    transaction_id: str
    fraud_probability: float
    action: str


@app.post("/score-transaction")
def score_transaction(transaction: Transaction) -> Decision:
    """Scores one transaction; FastAPI runs it in its thread pool."""
    row = list(transaction.model_dump(exclude={"transaction_id"}).values())
    probability = float(model.predict_proba(np.array([row]))[0, 1])
    return Decision(
        transaction_id=transaction.transaction_id,
        fraud_probability=round(probability, 4),
        action="DECLINE" if probability > 0.85 else "APPROVE",
    )
