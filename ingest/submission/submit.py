"""The use case behind POST /transactions: queue a transaction, and wait for its decision where the client asks to."""

from contextlib import suppress
from typing import NamedTuple

from riskline.ingest.long_polls.waiters import DecisionWaiters
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.lifecycle import Status
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.records import Record, Submission


class Submitted(NamedTuple):
    """The record of a submitted transaction, and the longest wait that was granted for its decision."""

    record: Record
    wait_seconds: float | None


async def submit(
    submission: Submission, submitter: Submitter, waiters: DecisionWaiters, *, wait_seconds: float | None
) -> Submitted:
    """Queues a transaction; returns its record after the commit, or after the wait for its decision.

    Raises:
        ConflictError, QueueFullError, StoreUnavailableError: as Submitter.submit.
    """
    if wait_seconds is None:
        return Submitted(await submitter.submit(submission), None)
    # watched before it can be decided, so that no read of Redis is needed
    with waiters.watching(submission.transaction_id) as decided:
        record = await submitter.submit(submission)
        granted = 0.0 if waiters.places.full else wait_seconds
        if record["status"] == Status.QUEUED:
            # where Redis fails now, the transaction is safe in it, and polling finds it there
            with suppress(StoreUnavailableError):
                record = await waiters.until(decided, submission.transaction_id, timeout_seconds=granted) or record
        return Submitted(record, granted)
