"""The history with which a known transaction was decided first: its record has it."""

from collections.abc import Sequence

import orjson
from pydantic import ValidationError

from riskline.ingest.history.patience import patience
from riskline.shared.domain.decision import AWAY
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.kept_history import history_in, order_in
from riskline.shared.store.records import Record, is_later

log = get_logger(__name__)


class FirstValues:
    """Reads the values of known transactions from their records, for what is decided at once again."""

    def __init__(self, intake: TransactionIntake, history: History, *, timeout_seconds: float) -> None:
        self._intake = intake
        self._history = history
        self._timeout_seconds = timeout_seconds

    async def of(self, transactions: Sequence[TransactionModel]) -> list[TransactionModel | None]:
        """Each as it was decided first, without history where it was so; None where no record of it tells."""
        try:
            async with patience(self._timeout_seconds):
                records = await self._intake.get([each.transaction_id for each in transactions])
        except (StoreUnavailableError, TimeoutError) as error:
            # the history itself knows the first values of all but the oldest
            log.debug("the first values of repeated transactions are not read", problem=str(error))
            return [None] * len(transactions)
        return list(map(self._as_recorded, transactions, records))

    def _as_recorded(self, transaction: TransactionModel, record: Record | None) -> TransactionModel | None:
        if record is None or not _is_of(record, transaction):
            return None
        if record.get("history") == AWAY:
            return transaction
        values = history_in(record, self._history)
        if values is None:
            return None
        try:
            return transaction.with_history(values, order_in(record, self._history) or ())
        except ValidationError as error:
            # the class fails with these values: what it does with those of the history is this transaction's alone
            log.warning("the first values of a repeated transaction are not used", problem=str(error))
            return None


def _is_of(record: Record, transaction: TransactionModel) -> bool:
    """False where the id was another transaction's first: the values of its entities are not those of this one."""
    return is_later(record) or record.get("transaction") == orjson.loads(transaction.to_json())
