"""The drain: claim, assess, decide, until nothing waits. One RQ ticket runs it once."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeGuard

from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import Model, decide, decide_all
from riskline.shared.domain.capacity import BATCH
from riskline.shared.domain.columns import raised_at, where
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.lifecycle import Status
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import HistoryRequiredError, StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.interfaces import NOTHING, Claim, TransactionQueue
from riskline.shared.store.records import Outcome, Record, decided, failed, flaw, is_later
from riskline.shared.telemetry.trace_context import log_fields
from riskline.worker.scoring.isolated_trial import without_fatal_rows
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.queued_transactions import NOT_THE_ROWS, lacking, transaction_of, unreadable_record
from riskline.worker.scoring.spans import ProcessSpans

log = get_logger(__name__)

LEASE_SECONDS = 5.0
"""The lease of a silent worker's claims: well above the time of a batch and of a wait for more."""

MAX_LOSSES = 3
"""Processes lost with a transaction before it fails: the first loss may have been chance, which a whole batch
shares; afterwards it is tried alone in a child process, and chance does not strike three times."""

WAIT_SECONDS = 1.0
"""The longest wait for more: well below the lease, which the next claim renews."""

STUCK_SECONDS = 1.0
"""A Redis call that takes longer is an outage, and not counted in a worker's pace."""

HOT_WAITS = 5
"""Empty waits before returning to RQ. Returning costs 7 ms; work that arrives more often never pays it."""


Count = Callable[[Sequence[Record], Sequence[Decision]], None]
"""Called with the records and the decisions of one batch."""


def _count_nothing(_records: Sequence[Record], _decisions: Sequence[Decision]) -> None:
    """Ignores a batch; the default."""


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """The collaborators that hear of a drain's batches."""

    announce: Callable[[], None] = lambda: None
    """Called after decisions of which some have a callback."""
    count: Count = _count_nothing
    """Called with each batch that was assessed."""
    time_batch: Callable[[int, float], None] = lambda _transactions, _seconds: None
    """Called with the size of each batch that was decided and its seconds, the claim of the next batch included."""
    later: Callable[[int], None] = lambda _transactions: None
    """Called with the number of transactions in a batch that a later release accepted."""
    spans: ProcessSpans = field(default_factory=ProcessSpans)


NO_LISTENERS = Listeners()


def drain(
    queue: TransactionQueue,
    *,
    worker: str,
    pulse: Pulse,
    model: Callable[[], Model],
    transaction_class: type[TransactionModel],
    time_is_over: Callable[[], bool],
    listeners: Listeners = NO_LISTENERS,
) -> int:
    """Decides waiting transactions until none has come for a while or the time is over; returns their number.

    Transactions of a later release are left to its workers. Where nothing else waits the drain ends, and another ticket
    looks again.

    Raises:
        StoreUnavailableError: Redis failed for longer than its client retries; a sweep gives back what was claimed.
    """
    total = in_vain = met_again = 0
    met: set[str] = set()
    with pulse.holding(give_back=lambda: queue.leave(worker)):
        claimed = NOTHING
        while max(in_vain, met_again) < HOT_WAITS and not time_is_over():
            if claimed.rows:
                claimed, left = _left_to_later(claimed)
                # once through the queue, and all of it is of a later release
                met_again = met_again + 1 if left and left <= met else 0
                met |= left
                began = time.perf_counter()
                begun = listeners.spans.begin(claimed.rows)
                with pulse.assessing():
                    tried, failures = _outlived(claimed, model(), transaction_class)
                    done = outcomes(tried, model=model(), transaction_class=transaction_class, count=listeners.count)
                    done += failures
                listeners.spans.end(begun, done)
                assessed = time.perf_counter()
                decided, claimed = _decide(queue, worker, done, gives_back=bool(left))
                ended = time.perf_counter()
                if done and ended - assessed < STUCK_SECONDS:
                    listeners.time_batch(len(done), ended - began)
                total += decided
                listeners.later(len(left))
                if any(each.callback is not None for each in done):
                    # else the delivery workers find out by themselves, within a second
                    with suppress(StoreUnavailableError):
                        listeners.announce()
            else:
                claimed = queue.claim(worker, count=BATCH, lease_seconds=LEASE_SECONDS, wait_seconds=WAIT_SECONDS)
                in_vain = 0 if claimed.rows else in_vain + 1
    return total


def _left_to_later(claimed: Claim) -> tuple[Claim, set[str]]:
    """The claimed rows that this release can read, and the ids of the others."""
    left = {transaction_id for transaction_id, record in claimed.rows if record and is_later(record)}
    if not left:
        return claimed, left
    return claimed._replace(rows=[row for row in claimed.rows if row[0] not in left]), left


def _decide(queue: TransactionQueue, worker: str, done: Sequence[Outcome], *, gives_back: bool) -> tuple[int, Claim]:
    if not gives_back:
        return queue.decide_and_claim(worker, done, count=BATCH, lease_seconds=LEASE_SECONDS)
    decided = queue.decide(worker, done) if done else 0
    # to the end of the queue: this release's transactions must not wait behind them
    queue.leave(worker, last=True)
    return decided, NOTHING


def _outlived(claimed: Claim, model: Model, transaction_class: type[TransactionModel]) -> tuple[Claim, list[Outcome]]:
    """The rows of a claim that end no process, and the failures of the others."""
    if claimed.losses == 1:
        log.warning("a worker was lost with these; trying them in another process", transactions=len(claimed.rows))

    def attempt(rows: Sequence[tuple[str, Record | None]]) -> None:
        outcomes(Claim(list(rows)), model=model, transaction_class=transaction_class)

    left, ended = without_fatal_rows(claimed, attempt, most_losses=MAX_LOSSES)
    failures: list[Outcome] = []
    for transaction_id, record, losses in ended:
        if _is_queued(record):
            log.error("transaction failed", transaction_id=transaction_id, losses=losses, **log_fields(record))
            failures.append(failed(transaction_id, record, f"{losses} processes were lost while they assessed it"))
        else:
            failures.append(_undecidable(transaction_id, record))
    return left, failures


def outcomes(
    claimed: Claim,
    *,
    model: Model,
    transaction_class: type[TransactionModel],
    count: Count = _count_nothing,
) -> list[Outcome]:
    """The outcome of each claimed transaction; one that cannot be decided fails alone, with its reason."""
    results: list[Outcome] = []
    transactions: list[TransactionModel] = []
    records: list[Record] = []
    for transaction_id, record in claimed.rows:
        if not _is_queued(record):
            results.append(_undecidable(transaction_id, record))
            continue
        built = transaction_of(transaction_id, record, transaction_class)
        if isinstance(built, Outcome):
            results.append(built)
        else:
            transactions.append(built)
            records.append(record)
    scored_at = utc_now()
    try:
        explain = [i for i, record in enumerate(records) if record.get("explain")]
        decisions: list[Decision] = decide_all(transactions, model, scored_at=scored_at, explain=explain)
        outcomes_of_all = [decided(record, decision) for record, decision in zip(records, decisions, strict=True)]
    except NOT_THE_ROWS:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever one row makes the model raise must not keep the others waiting
        log.warning(
            "batch failed, deciding one by one", rows=len(transactions), error=type(error).__name__, at=where(error)
        )
        return results + [
            _outcome_alone(transaction, record, model, scored_at, count)
            for transaction, record in zip(transactions, records, strict=True)
        ]
    count(records, decisions)
    if log.is_enabled_for(logging.DEBUG):
        for record, decision in zip(records, decisions, strict=True):
            log.debug("decided", transaction_id=decision.transaction_id, **log_fields(record))
    return results + outcomes_of_all


def _outcome_alone(
    transaction: TransactionModel, record: Record, model: Model, scored_at: str, count: Count
) -> Outcome:
    try:
        decision = decide(transaction, model, scored_at=scored_at, explain=bool(record.get("explain")))
        outcome = decided(record, decision)
    except HistoryRequiredError as error:
        return lacking(transaction, record, error)
    except NOT_THE_ROWS:
        raise
    except BaseException as error:
        log.exception("transaction failed", transaction_id=transaction.transaction_id, **log_fields(record))
        return failed(transaction.transaction_id, record, f"deciding it raised {raised_at(error)}")
    count([record], [decision])
    return outcome


def _undecidable(transaction_id: str, record: Record | None) -> Outcome:
    """The outcome of a transaction that is not queued: it fails where its record is unreadable, else it stays."""
    if record is None:
        log.error("an accepted transaction has no record", transaction_id=transaction_id)
    elif (flawed := flaw(record)) is not None:
        return unreadable_record(transaction_id, record, flawed)
    return Outcome(transaction_id, b"", b"")


def _is_queued(record: Record | None) -> TypeGuard[Record]:
    """True for the record of a queued transaction; anything else in Redis must not block those behind it."""
    return record is not None and record.get("status") == Status.QUEUED and flaw(record) is None
