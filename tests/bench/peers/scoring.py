"""What the queues' jobs do: score one transaction, with Riskline's engine or with scikit-learn, loaded at import."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson

from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry

REDIS_URL = os.environ["BENCH_REDIS"]


def _kernel() -> Callable[[Sequence[float]], float]:
    return Registry(Path(os.environ["BENCH_MODELS"])).load_active(inputs_of(Transaction)).score_one


def _sklearn() -> Callable[[Sequence[float]], float]:
    forest = joblib.load(os.environ["BENCH_FOREST"])
    return lambda features: float(forest.predict_proba(np.array([features]))[0, 1])


probability_of = {"kernel": _kernel, "scikit-learn": _sklearn}[os.environ["BENCH_ENGINE"]]()


def decide(transaction: dict[str, Any]) -> dict[str, Any]:
    """The job: its return value is what the queue writes back."""
    probability = probability_of([transaction[name] for name in Transaction.feature_names()])
    return {
        "transaction_id": transaction["transaction_id"],
        "fraud_probability": round(probability, 4),
        "action": "DECLINE" if probability > 0.85 else "APPROVE",
    }


def transactions(count: int) -> Iterator[dict[str, Any]]:
    """The first rows of the benchmark's file."""
    with Path(os.environ["BENCH_ROWS"]).open("rb") as file:
        for _, line in zip(range(count), file, strict=False):
            yield orjson.loads(line)
