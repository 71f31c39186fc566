"""Submissions on their way into the store: committed together, each answered when its own commit is safe."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from riskline.ingest.submission.group_commit import Answer, commits_of
from riskline.shared.domain.lifecycle import Status
from riskline.shared.errors import ConflictError, QueueFullError, StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.interfaces import ACCEPTED as NEW
from riskline.shared.store.interfaces import NO_ROOM, Stored, TransactionIntake
from riskline.shared.store.records import Record, Submission, is_later, just_queued, readable
from riskline.shared.telemetry.metrics import ACCEPTED, COMMIT_SIZE
from riskline.shared.telemetry.trace_context import log_fields

log = get_logger(__name__)

BATCHES_AT_ONCE = 8
"""Parts of batch requests that are committed at a time; the others wait, and with them their clients."""

TICKET_SECONDS = 0.05
"""The time for which a ticket found counts as present: a worker that takes one stays for longer."""


class Submitter:
    """Takes submissions one by one and commits them together; each is answered when its own commit is safe."""

    def __init__(
        self,
        intake: TransactionIntake,
        *,
        ensure_ticket: Callable[[], Awaitable[None]],
        queue_full: Callable[[], QueueFullError],
    ) -> None:
        self._tickets = _TicketCheck(ensure_ticket)
        self._queue_full = queue_full
        self._commits = commits_of(intake, self._accept, call="accept")
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)
        self.enqueue = self._commits.enqueue

    async def submit(self, submission: Submission) -> Record:
        """Accepts a transaction: the record that its id has now, its own or the first submission's.

        Raises:
            ConflictError: the id was submitted with another body.
            QueueFullError: the queue limit is reached.
            StoreUnavailableError: Redis failed; repeating the submission is safe.
        """
        return own_record(submission, await self._commits.answer(submission))

    async def submit_all(self, submissions: Sequence[Submission]) -> list[Answer]:
        """Accepts a part of a batch, in its turn; answers of the same form as those that `enqueue` gives."""
        async with self._batches:
            answers: dict[int, Answer] = {}
            everyone = asyncio.get_running_loop().create_future()

            def answered(place: int, answer: Answer) -> None:
                # shards answer in an order of their own
                answers[place] = answer
                if len(answers) == len(submissions) and not everyone.done():
                    everyone.set_result(None)

            for place, submission in enumerate(submissions):
                self._commits.take(submission, partial(answered, place))
            if submissions:
                await everyone
            return [answers[place] for place in range(len(submissions))]

    async def close(self) -> None:
        """Commits what is pending."""
        await self._commits.close()
        await self._tickets.close()

    async def _accept(self, intake: TransactionIntake, submissions: Sequence[Submission]) -> list[Answer]:
        answers = await intake.accept(submissions)
        COMMIT_SIZE.observe(len(submissions))
        new = sum(answer is NEW for answer in answers)
        ACCEPTED.inc(new)
        if new:
            self._tickets.want()
        if log.is_enabled_for(logging.DEBUG):
            _say_accepted(submissions, answers)
        return [self._queue_full() if answer is NO_ROOM else answer for answer in answers]


class _TicketCheck:
    """Ensures a ticket after a commit; at most once in a while where commits follow each other."""

    def __init__(self, ensure_ticket: Callable[[], Awaitable[None]]) -> None:
        self._ensure_ticket = ensure_ticket
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self._outage = Outage(
            log, failing="no ticket enqueued; a worker's sweep will", back="tickets work again", steady=False
        )

    def want(self) -> None:
        """Called when a commit has made transactions wait."""
        self._wanted = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ensures the last ticket that was wanted."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self._ensure_ticket()
                self._outage.over()
                await asyncio.sleep(TICKET_SECONDS)
        except StoreUnavailableError as error:
            self._outage.failed(error)
        finally:
            self._task = None


def _say_accepted(submissions: Sequence[Submission], answers: Sequence[Stored]) -> None:
    for submission, answer in zip(submissions, answers, strict=True):
        if answer is NEW:
            record = readable(submission.record) or {}
            log.debug("accepted", transaction_id=submission.transaction_id, **log_fields(record))


def own_record(submission: Submission, answer: Answer) -> Record:
    """The record that a submission's id has now, from the commit's answer.

    Raises:
        ConflictError: the id was submitted with another body.
        QueueFullError: the queue limit is reached.
        StoreUnavailableError: Redis failed; repeating the submission is safe.
    """
    if isinstance(answer, Exception):
        raise answer
    if answer is NEW:
        return just_queued(submission)
    submitted = readable(submission.record)
    if submitted is None:
        raise ConflictError("This transaction was submitted before, and whether it is the same cannot be told.")
    require_same(answer, submitted["transaction"])
    if answer.get("callback_url") != submitted.get("callback_url"):
        raise ConflictError(
            "This transaction was submitted before, or decided at once, with another callback_url or none; where its "
            "decision is sent cannot be changed any more."
        )
    return answer


def require_same(record: Record, transaction: object) -> None:
    """Checks that a record is that of this transaction, by its JSON.

    Raises:
        ConflictError: the id was submitted with another body.
    """
    if record.get("status") == Status.ERASED:
        raise ConflictError(
            "The transaction of this id was erased; the id is not free before its results would expire."
        )
    # while two releases run side by side, a later release's record cannot be compared
    if record["transaction"] != transaction and not is_later(record):
        raise ConflictError(
            "This transaction_id was submitted with another body; a new transaction needs a new id, "
            "and a repetition needs the same body."
        )
