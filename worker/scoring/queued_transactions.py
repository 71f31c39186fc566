"""Builds the transaction of a queued record, with the history that it was accepted with; or its failure."""

from pydantic import ValidationError
from rq.exceptions import StopRequested
from rq.timeouts import BaseTimeoutException

from riskline.shared.domain.columns import raised_at, raised_in, where
from riskline.shared.domain.decision import AWAY
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.domain.wrong_fields import first_errors
from riskline.shared.errors import HistoryRequiredError
from riskline.shared.log import get_logger
from riskline.shared.store.kept_history import history_in
from riskline.shared.store.records import Outcome, Record, failed, unreadable
from riskline.shared.telemetry.trace_context import log_fields

log = get_logger(__name__)

NOT_THE_ROWS = (BaseTimeoutException, StopRequested, MemoryError)
"""Exceptions during a row that are not its fault: RQ's limit on a job, a stop signal, a lack of memory.
Any other fails that row only, also one that is no Exception, such as a panic of an extension in Rust."""


def transaction_of(
    transaction_id: str, record: Record, transaction_class: type[TransactionModel]
) -> TransactionModel | Outcome:
    """The transaction of a record, or its failure.

    It lacks its history where the record has none that the class can use.
    """
    try:
        transaction = _with_its_history(transaction_class.from_row(record["transaction"]), record)
    except ValidationError as error:
        return _refused(transaction_id, record, error)
    except NOT_THE_ROWS:
        raise
    except BaseException as error:
        # a team's own class, or a record of another program: it must not stop the others of the batch
        log.exception("transaction failed", transaction_id=transaction_id, **log_fields(record))
        return failed(transaction_id, record, f"the transaction class raised {raised_at(error)}")
    if transaction.transaction_id != transaction_id:
        # else the other transaction would be decided by this one's values, and this one never
        return unreadable_record(transaction_id, record, "transaction: it is of another id")
    return transaction


def _with_its_history(transaction: TransactionModel, record: Record) -> TransactionModel:
    if not transaction.lacks_history:
        return transaction
    history = history_of(type(transaction))
    values = None if history is None else history_in(record, history)
    if values is not None:
        return transaction.with_history(values)
    if record.get("history") != AWAY:
        log.warning(
            "a transaction is without history",
            transaction_id=transaction.transaction_id,
            why=_lack(record, transaction),
            **log_fields(record),
        )
    return transaction


def _lack(record: Record, transaction: TransactionModel) -> str:
    """The reason that a transaction lacks its history, from its record."""
    if record.get("history") == AWAY:
        return "its history was away when it was accepted"
    history = history_of(type(transaction))
    if history is not None and record.get("history_of") != history.fingerprint:
        return "its record has no history of the columns that the transaction class has now"
    return "the history in its record cannot be read"


def lacking(transaction: TransactionModel, record: Record, error: HistoryRequiredError) -> Outcome:
    """The failure of a transaction that is not decided without its history."""
    reason = f"{_lack(record, transaction)}; {error}"
    log.error("transaction failed", transaction_id=transaction.transaction_id, problem=reason, **log_fields(record))
    return failed(transaction.transaction_id, record, reason)


def _refused(transaction_id: str, record: Record, error: ValidationError) -> Outcome:
    """The failure of a record that the class refuses, or fails with."""
    raised = raised_in(error)
    for each in raised:
        if isinstance(each, NOT_THE_ROWS):
            raise each from None
    names, at = sorted(map(raised_at, raised)), [where(each) for each in raised]
    fields = sorted({str(detail["loc"][0]) for detail in first_errors(error) if detail["loc"]})
    # a bug of the team's class is logged as an error
    (log.error if raised else log.warning)(
        "transaction failed",
        transaction_id=transaction_id,
        fields=fields,
        raised=sorted({type(each).__name__ for each in raised}),
        at=at,
        **log_fields(record),
    )
    reasons = [f"the record does not fit the transaction class in: {', '.join(fields)}"] if fields else []
    if names or not fields:
        reasons.append(f"the transaction class {'raised ' + ', '.join(names) if names else 'refuses the record'}")
    return failed(transaction_id, record, "; ".join(reasons))


def unreadable_record(transaction_id: str, record: Record, flawed: str) -> Outcome:
    """The failure of an accepted transaction whose record is malformed."""
    log.error("the record of an accepted transaction cannot be read", transaction_id=transaction_id, member=flawed)
    return unreadable(transaction_id, record, flawed=flawed)
