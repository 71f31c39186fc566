"""The columns that a model must have been made for, to decide the transactions of a class."""

from typing import NamedTuple

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel


class Inputs(NamedTuple):
    """A class's columns, as far as a model must have the same."""

    features: tuple[str, ...]
    twin_features: tuple[str, ...] = ()
    """The columns that remain without history; empty where the class has none."""
    history: History | None = None

    def without_history(self) -> list[int]:
        """The positions of the twin's columns among all."""
        return [self.features.index(name) for name in self.twin_features]


def inputs_of(transaction_class: type[TransactionModel]) -> Inputs:
    """The inputs of a class's transactions."""
    history = history_of(transaction_class)
    twin = () if history is None else transaction_class.twin_feature_names()
    return Inputs(transaction_class.feature_names(), twin, history)
