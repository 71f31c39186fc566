"""Group commit: submissions that arrive while a commit is under way share the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from shared.errors import ConflictError, QueueFullError, RisklineError, StoreUnavailableError
from shared.log import get_logger
from shared.metrics import ACCEPTED, COMMIT_SIZE, REDIS_FAULTS
from shared.store.records import Record, Submission
from shared.store.transactions import ACCEPT_BATCH, NO_ROOM, TransactionIntake
from shared.store.transactions import ACCEPTED as NEW

log = get_logger(__name__)

MAX_PENDING = 20_000
"""Submissions that may wait for a commit in this process: bounds its memory where Redis is slow."""


@dataclass(frozen=True, slots=True)
class _Pending:
    submission: Submission
    done: asyncio.Future[Record]


class Submitter:
    """Takes submissions one by one and commits them together; each is answered when its own commit is safe."""

    def __init__(self, intake: TransactionIntake, *, ensure_ticket: Callable[[], Awaitable[None]]) -> None:
        self._intake = intake
        self._ensure_ticket = ensure_ticket
        self._pending: list[_Pending] = []
        self._committing: asyncio.Task[None] | None = None
        self._ticketing: asyncio.Task[None] | None = None
        self._ticket_wanted = False

    async def submit(self, submission: Submission) -> Record:
        """Accepts a transaction: the record that its id has now, its own or the first submission's.

        Raises:
            ConflictError: the id was submitted with another body.
            QueueFullError: the queue limit is reached.
            StoreUnavailableError: Redis failed; repeating the submission is safe.
        """
        if len(self._pending) >= MAX_PENDING:
            raise QueueFullError(f"{MAX_PENDING} submissions wait for Redis; repeat the request later.")
        pending = _Pending(submission, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        answer = await pending.done
        return _own_record(submission, answer)

    async def close(self) -> None:
        """Commits what is pending."""
        for task in (self._committing, self._ticketing):
            if task is not None:
                await asyncio.wait([task])

    async def _commit(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[:ACCEPT_BATCH], self._pending[ACCEPT_BATCH:]
                await self._commit_batch(batch)
        finally:
            self._committing = None

    async def _commit_batch(self, batch: list[_Pending]) -> None:
        try:
            answers = await self._intake.accept([pending.submission for pending in batch])
        except StoreUnavailableError as error:
            REDIS_FAULTS.labels("accept").inc()
            # who waits behind would find Redis no better, only later
            rest, self._pending = self._pending, []
            _refuse(batch + rest, error)
            return
        except Exception:
            log.exception("commit failed")
            _refuse(batch, RisklineError("the commit failed; the log says why"))
            return
        new = sum(answer is NEW for answer in answers)
        COMMIT_SIZE.observe(len(batch))
        ACCEPTED.inc(new)
        for pending, answer in zip(batch, answers, strict=True):
            if not pending.done.cancelled():
                pending.done.set_result(answer)
        if new:
            self._want_ticket()

    def _want_ticket(self) -> None:
        self._ticket_wanted = True
        if self._ticketing is None:
            self._ticketing = asyncio.create_task(self._ensure_tickets())

    async def _ensure_tickets(self) -> None:
        try:
            while self._ticket_wanted:
                self._ticket_wanted = False
                await self._ensure_ticket()
        except StoreUnavailableError as error:
            log.warning("no ticket enqueued; a worker's sweep will", problem=str(error))
        finally:
            self._ticketing = None


def _refuse(refused: list[_Pending], error: Exception) -> None:
    for pending in refused:
        if not pending.done.cancelled():
            # one exception each: a shared one would gather the tracebacks of all requests
            pending.done.set_exception(type(error)(*error.args))


def _own_record(submission: Submission, answer: Record) -> Record:
    if answer is NEW:
        record: Record = orjson.loads(submission.record)
        return record
    if answer is NO_ROOM:
        raise QueueFullError("The queue limit is reached; repeat the request later.")
    if answer["transaction"] != orjson.loads(submission.record)["transaction"]:
        raise ConflictError(
            "This transaction_id was submitted with another body; a new transaction needs a new id, "
            "and a repetition needs the same body."
        )
    return answer
