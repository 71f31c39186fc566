"""What the records of transactions say of their history."""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from riskline.shared.domain.decision import AWAY
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.store.kept_history import history_in, order_in
from riskline.shared.store.records import Record
from riskline.worker.training.history.verify import NO_ORDER, Served


def served(
    records: Iterable[Record], transaction_class: type[TransactionModel], history: History, observing: Observing
) -> Iterator[Served]:
    """The transactions of this class's history; those of other classes, and those that were erased, are left out."""
    for record in records:
        if record.get("history_of") != history.fingerprint or record["transaction"] is None:
            continue
        try:
            transaction = transaction_class.from_row(record["transaction"])
        except ValidationError:
            continue
        values, order = history_in(record, history), order_in(record, history)
        at, observation = record["submitted_at"], observing.of(transaction)
        if values is None and record["history"] == AWAY:
            yield Served(observation, None, (), at)
        elif values is None or order is None:
            yield Served(observation, None, (), at, NO_ORDER)
        else:
            yield Served(observation, values, order, at)
