"""What a team would build: FastAPI reads the columns of history from Feast's online store, scikit-learn scores."""

import os
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field

from tests.bench.peers.feast_repo import KEYS, REFERENCES, store

COLUMNS = os.environ["BENCH_COLUMNS"].split(",")
"""The model's columns, in their order."""

app = FastAPI()
model = joblib.load(os.environ["BENCH_FOREST"])
features = store(Path(os.environ["BENCH_REPO"]))


class Payment(BaseModel):
    """The request's body."""

    transaction_id: str
    timestamp: datetime
    card_id: str
    merchant_id: str
    device_id: str = ""
    amount: float = Field(gt=0)
    merchant_category_code: int = Field(ge=1, le=9999)
    is_online: int = Field(ge=0, le=1)


class Decision(BaseModel):
    """The answer."""

    transaction_id: str
    fraud_probability: float
    action: str


@app.post("/score-transaction")
def score_transaction(payment: Payment) -> Decision:
    """Reads what came before, and scores; FastAPI runs it in its thread pool."""
    row = {"amount": payment.amount, "hour_of_day": payment.timestamp.astimezone(UTC).hour}
    row |= {key: getattr(payment, key) for keys in KEYS.values() for key in keys}
    known = features.get_online_features(features=REFERENCES, entity_rows=[row]).to_dict()
    known |= {name: [getattr(payment, name)] for name in ("amount", "merchant_category_code", "is_online")}
    vector = [float(known[name][0] or 0.0) for name in COLUMNS]
    probability = float(model.predict_proba(np.array([vector]))[0, 1])
    return Decision(
        transaction_id=payment.transaction_id,
        fraud_probability=round(probability, 4),
        action="DECLINE" if probability > 0.85 else "APPROVE",
    )
