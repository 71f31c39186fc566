"""The one use case behind every door: transactions in, decisions out. Pure: no I/O, no clock, no environment."""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.decision import Decision, Reason
from shared.policy import Action, Thresholds
from shared.transaction import TransactionModel

Rows = npt.NDArray[np.float64]


LARGEST_INTEGER = 2**63


class Model(Protocol):
    """What assessing needs of a model version."""

    version: str
    thresholds: Thresholds
    feature_names: tuple[str, ...]

    def score_one(self, features: Sequence[float]) -> float:
        """The fraud probability of one feature vector; bit for bit what `score` gives for the same row."""

    def score(self, rows: Rows) -> Rows:
        """The fraud probabilities, shape (n,), of rows of shape (n, features)."""

    def explain(self, rows: Rows) -> Rows:
        """The contributions, shape (n, features), that with the model's base add up to each row's score."""


def assess_one(transaction: TransactionModel, model: Model, *, scored_at: str, explain: bool = False) -> Decision:
    """Decides one transaction; equal to `assess` of a batch of one, without a batch's overhead."""
    features = transaction.features()
    probability = model.score_one(features)
    action = model.thresholds.action_for(probability)
    reasons = None
    if explain or action is not Action.APPROVE:
        reasons = _reasons(
            model.feature_names, features, model.explain(np.array([features], dtype=np.float64))[0].tolist()
        )
    return Decision(
        transaction_id=transaction.transaction_id,
        fraud_probability=round(probability, 4),
        action=action,
        model_version=model.version,
        scored_at=scored_at,
        reasons=reasons,
    )


def assess(
    transactions: Sequence[TransactionModel], model: Model, *, scored_at: str, explain: Collection[int] = ()
) -> list[Decision]:
    """Decides a batch, in its order; `explain` holds the positions that get reasons even when approved."""
    if not transactions:
        return []
    vectors = [transaction.features() for transaction in transactions]
    width = len(model.feature_names)
    rows = np.fromiter(chain.from_iterable(vectors), dtype=np.float64, count=len(vectors) * width).reshape(-1, width)
    probabilities = model.score(rows).tolist()
    actions = [model.thresholds.action_for(probability) for probability in probabilities]
    wanted = set(explain)
    explained = [i for i, action in enumerate(actions) if action is not Action.APPROVE or i in wanted]
    reasons: dict[int, tuple[Reason, ...]] = {}
    if explained:
        contributions = model.explain(rows[explained]).tolist()
        reasons = {
            i: _reasons(model.feature_names, vectors[i], row) for i, row in zip(explained, contributions, strict=True)
        }
    return [
        Decision(
            transaction_id=transaction.transaction_id,
            fraud_probability=round(probability, 4),
            action=action,
            model_version=model.version,
            scored_at=scored_at,
            reasons=reasons.get(i),
        )
        for i, (transaction, probability, action) in enumerate(zip(transactions, probabilities, actions, strict=True))
    ]


def _reasons(names: Sequence[str], values: Sequence[float], contributions: Sequence[float]) -> tuple[Reason, ...]:
    """The features that moved the score, the one that moved it most first; those that did not move it are left out."""
    moved = sorted(zip(names, values, contributions, strict=True), key=lambda reason: abs(reason[2]), reverse=True)
    return tuple(
        # JSON for everybody has no larger integers
        Reason(name, value if abs(value) < LARGEST_INTEGER else float(value), contribution)
        for name, value, contribution in moved
        if contribution != 0.0
    )
