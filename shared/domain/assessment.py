"""The one use case behind every door: transactions in, decisions out. Pure: no I/O, no clock, no environment."""

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.columns import LARGEST_KEPT
from riskline.shared.domain.decision import AWAY, Decision, Reason, with_direction
from riskline.shared.domain.history.wording import phrases
from riskline.shared.domain.policy import Action, Thresholds
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import HistoryRequiredError

Rows = npt.NDArray[np.float64]

Result = TypeVar("Result")


class Model(Protocol):
    """A model version, as far as deciding needs it."""

    version: str
    thresholds: Thresholds
    feature_names: tuple[str, ...]

    @property
    def twin(self) -> "Model | None":
        """Decides transactions that lack their history; None where there is none."""

    def score_one(self, features: Sequence[float]) -> float:
        """The fraud probability of one feature vector; bit for bit what `score` gives for the same row."""

    def score(self, rows: Rows) -> Rows:
        """The fraud probabilities, shape (n,), of rows of shape (n, features)."""

    def explain(self, rows: Rows) -> tuple[Rows, Rows]:
        """The probabilities as `score` gives them, and the contributions to each, shape (n, features).

        With the model's base the contributions add up to the score.
        """

    def words(self, feature: str, value: float, shown: float | str, *, nominal: bool, phrase: str | None = None) -> str:
        """The wording of a value in a reason: how usual it is, or of a nominal one how frequent.

        A phrase, in which `{}` stands for the value, says what the value is where the feature's name is not enough.
        """


class Assessment(NamedTuple):
    """A transaction's score, and the action that it comes to."""

    fraud_probability: float
    action: Action


def decide(transaction: TransactionModel, model: Model, *, scored_at: str, explain: bool = False) -> Decision:
    """Decides one transaction; equal to `decide_all` of it alone, without a batch's overhead.

    Raises:
        HistoryRequiredError: it lacks its history, and the model has no twin.
    """
    if transaction.lacks_history:
        model = _twin(model)
    features = transaction.features()
    probability = model.score_one(features)
    action = model.thresholds.action_for(probability)
    reasons = None
    if explain or action is not Action.APPROVE:
        _, contributions = model.explain(_rows([features]))
        reasons = _reasons(model, transaction, features, contributions[0].tolist())
    return _decision(transaction, model, probability, action, reasons, scored_at=scored_at)


def decide_all(
    transactions: Sequence[TransactionModel], model: Model, *, scored_at: str, explain: Collection[int] = ()
) -> list[Decision]:
    """Decides a batch, in its order; `explain` holds the positions that get reasons even when approved.

    Raises:
        HistoryRequiredError: one lacks its history, and the model has no twin.
    """
    chosen = set(explain)

    def decide_part(part: Sequence[TransactionModel], positions: Sequence[int], decider: Model) -> list[Decision]:
        wanted = {at for at, position in enumerate(positions) if position in chosen} if chosen else chosen
        return _decide_alike(part, decider, scored_at=scored_at, explain=wanted)

    return _by_model(transactions, model, decide_part)


def assess(transactions: Sequence[TransactionModel], model: Model) -> list[Assessment]:
    """Says what each would come to, without reasons.

    Raises:
        HistoryRequiredError: one lacks its history, and the model has no twin.
    """
    return _by_model(transactions, model, lambda part, _, decider: _assess_alike(part, decider))


def _by_model(
    transactions: Sequence[TransactionModel],
    model: Model,
    judge: Callable[[Sequence[TransactionModel], Sequence[int], Model], list[Result]],
) -> list[Result]:
    """Judges those with history by the model and those without by its twin, each part at once; in their order."""
    if not transactions:
        return []
    if not type(transactions[0]).lacks_history:
        # a class without history
        return judge(transactions, range(len(transactions)), model)
    judged: dict[int, Result] = {}
    for lacks in (False, True):
        positions = [i for i, each in enumerate(transactions) if each.lacks_history is lacks]
        if positions:
            part = judge([transactions[i] for i in positions], positions, _twin(model) if lacks else model)
            judged.update(zip(positions, part, strict=True))
    return [judged[i] for i in range(len(transactions))]


def _decide_alike(
    transactions: Sequence[TransactionModel], model: Model, *, scored_at: str, explain: set[int]
) -> list[Decision]:
    """Decides transactions that all have their history, or all lack it."""
    vectors = [transaction.features() for transaction in transactions]
    rows = _rows(vectors)
    if len(explain) == len(transactions):
        scores, contributions = model.explain(rows)
    else:
        scores, contributions = model.score(rows), None
    assessed = [(probability, model.thresholds.action_for(probability)) for probability in scores.tolist()]
    explained = [i for i, (_, action) in enumerate(assessed) if action is not Action.APPROVE or i in explain]
    if explained and contributions is None:
        _, contributions = model.explain(rows[explained])
    moved = () if contributions is None else zip(explained, contributions.tolist(), strict=True)
    reasons = {i: _reasons(model, transactions[i], vectors[i], row) for i, row in moved}
    return [
        _decision(transaction, model, probability, action, reasons.get(i), scored_at=scored_at)
        for i, (transaction, (probability, action)) in enumerate(zip(transactions, assessed, strict=True))
    ]


def _assess_alike(transactions: Sequence[TransactionModel], model: Model) -> list[Assessment]:
    scores = model.score(_rows([transaction.features() for transaction in transactions])).tolist()
    return [Assessment(probability, model.thresholds.action_for(probability)) for probability in scores]


def _twin(model: Model) -> Model:
    twin = model.twin
    if twin is None:
        raise HistoryRequiredError(
            f"model {model.version} decides no transaction without its history: RISKLINE_HISTORY is `required`, or the "
            "version has no twin; `riskline train FILE` and `riskline models import --twin FILE` make one that has"
        )
    return twin


def _rows(vectors: Sequence[Sequence[float]]) -> Rows:
    size = len(vectors) * len(vectors[0])
    return np.fromiter(chain.from_iterable(vectors), dtype=np.float64, count=size).reshape(len(vectors), -1)


def _decision(
    transaction: TransactionModel,
    model: Model,
    probability: float,
    action: Action,
    reasons: tuple[Reason, ...] | None,
    *,
    scored_at: str,
) -> Decision:
    return Decision(
        transaction_id=transaction.transaction_id,
        fraud_probability=round(probability, 4),
        action=action,
        model_version=model.version,
        scored_at=scored_at,
        reasons=reasons,
        history=AWAY if transaction.lacks_history else None,
    )


def _reasons(
    model: Model, transaction: TransactionModel, values: Sequence[float], contributions: Sequence[float]
) -> tuple[Reason, ...]:
    """The features that moved the score, the one that moved it most first; those that did not move it are left out."""
    nominal, said = transaction.nominal_features(), phrases(type(transaction))

    def words(feature: str, value: float, shown: float | str) -> str:
        phrase = said[feature](value) if feature in said else None
        return model.words(feature, value, shown, nominal=feature in nominal, phrase=phrase)

    features = zip(model.feature_names, values, transaction.shown_values(), contributions, strict=True)
    moved = sorted(features, key=lambda each: abs(each[3]), reverse=True)
    return tuple(
        Reason(
            feature,
            # JSON for everybody has no larger integers
            float(shown) if isinstance(shown, int) and abs(shown) > LARGEST_KEPT else shown,
            contribution,
            with_direction(words(feature, value, shown), contribution),
        )
        for feature, value, shown, contribution in moved
        if contribution != 0.0
    )
