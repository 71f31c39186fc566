"""The one use case behind every door: transactions in, decisions out. Pure: no I/O, no clock, no environment."""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.columns import LARGEST_KEPT
from riskline.shared.domain.decision import Decision, Reason
from riskline.shared.domain.policy import Action, Thresholds
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.reasons import with_direction
from riskline.shared.model.trees import Scoring

Rows = npt.NDArray[np.float64]


class Model(Protocol):
    """What assessing needs of a model version, and who shows how it came to a score."""

    version: str
    thresholds: Thresholds
    scoring: Scoring
    feature_names: tuple[str, ...]

    def score_one(self, features: Sequence[float]) -> float:
        """The fraud probability of one feature vector; bit for bit what `score` gives for the same row."""

    def score(self, rows: Rows) -> Rows:
        """The fraud probabilities, shape (n,), of rows of shape (n, features)."""

    def explain(self, rows: Rows) -> tuple[Rows, Rows]:
        """The probabilities as `score` gives them, and the contributions to each, shape (n, features).

        With the model's base the contributions add up to the score.
        """

    def usual(self, feature: str) -> tuple[float, float] | None:
        """Between which values nearly all rows are that it was made with; None where that is not known."""

    def common(self, feature: str) -> tuple[float, ...]:
        """What several of a hundred such rows have, the most frequent first; nothing where that is not known."""

    def words(self, feature: str, value: float, shown: float | str, *, nominal: bool) -> str:
        """What a reason says of the value: how usual it is, or of one that is neither high nor low how frequent."""


def assess_one(transaction: TransactionModel, model: Model, *, scored_at: str, explain: bool = False) -> Decision:
    """Decides one transaction; equal to `assess` of a batch of one, without a batch's overhead."""
    features = transaction.features()
    probability = model.score_one(features)
    action = model.thresholds.action_for(probability)
    reasons = None
    if explain or action is not Action.APPROVE:
        _, contributions = model.explain(np.array([features], dtype=np.float64))
        reasons = _reasons(model, transaction, features, contributions[0].tolist())
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
    wanted = set(explain)
    if len(wanted) == len(transactions):
        scores, contributions = model.explain(rows)
    else:
        scores, contributions = model.score(rows), None
    probabilities = scores.tolist()
    actions = [model.thresholds.action_for(probability) for probability in probabilities]
    explained = [i for i, action in enumerate(actions) if action is not Action.APPROVE or i in wanted]
    reasons: dict[int, tuple[Reason, ...]] = {}
    if explained:
        if contributions is None:
            _, contributions = model.explain(rows[explained])
        reasons = {
            i: _reasons(model, transactions[i], vectors[i], row)
            for i, row in zip(explained, contributions.tolist(), strict=True)
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


def _reasons(
    model: Model, transaction: TransactionModel, values: Sequence[float], contributions: Sequence[float]
) -> tuple[Reason, ...]:
    """The features that moved the score, the one that moved it most first; those that did not move it are left out."""
    nominal = transaction.nominal_features()
    features = zip(model.feature_names, values, transaction.shown_values(), contributions, strict=True)
    moved = sorted(features, key=lambda each: abs(each[3]), reverse=True)
    return tuple(
        Reason(
            feature,
            # JSON for everybody has no larger integers
            float(shown) if isinstance(shown, int) and abs(shown) > LARGEST_KEPT else shown,
            contribution,
            with_direction(model.words(feature, value, shown, nominal=feature in nominal), contribution),
        )
        for feature, value, shown, contribution in moved
        if contribution != 0.0
    )
