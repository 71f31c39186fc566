"""Group commit: submissions that arrive while a commit is under way share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import orjson

from shared.errors import ConflictError, QueueFullError, RisklineError, StoreUnavailableError
from shared.log import get_logger
from shared.metrics import ACCEPTED, COMMIT_SIZE, REDIS_FAULTS
from shared.store.records import Record, Submission, just_queued
from shared.store.transactions import ACCEPT_BATCH, ACCEPT_BYTES, NO_ROOM, TransactionIntake
from shared.store.transactions import ACCEPTED as NEW

log = get_logger(__name__)

MAX_PENDING = 20_000
MAX_PENDING_BYTES = 32 * 1024 * 1024
"""Submissions that may wait for a commit in this process: bound its memory where Redis is slow."""

BATCHES_AT_ONCE = 8
"""Parts of batch requests that are committed at a time; the others wait, and with them their clients."""

LINGER_SECONDS = 0.002
LINGER_FROM = 16
"""How long a commit waits for as many submissions as the last one had, where it had that many: a client that was just
answered is about to come again, and a commit costs Redis a write to disk whatever its size. Below it nobody waits."""

TICKET_SECONDS = 0.05
"""For how long one look for a ticket is good: a worker that takes one stays for longer than that."""

Answer = Record | Exception
Answered = Callable[[Answer], None]


class _Pending(NamedTuple):
    submission: Submission
    answered: Answered


class Submitter:
    """Takes submissions one by one and commits them together; each is answered when its own commit is safe."""

    def __init__(self, intake: TransactionIntake, *, ensure_ticket: Callable[[], Awaitable[None]]) -> None:
        self._intake = intake
        self._tickets = _TicketCheck(ensure_ticket)
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._last_size = 0
        self._enough = asyncio.Event()
        self._committing: asyncio.Task[None] | None = None
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)

    def enqueue(self, submission: Submission, answered: Answered) -> None:
        """Takes a submission for the next commit; `answered` is called with what `accept` answers, or its error.

        Raises:
            QueueFullError: too many wait for a commit.
        """
        if len(self._pending) >= MAX_PENDING or self._pending_bytes >= MAX_PENDING_BYTES:
            raise QueueFullError(f"{len(self._pending)} submissions wait for Redis; repeat the request later.")
        self._take(submission, answered)

    def _take(self, submission: Submission, answered: Answered) -> None:
        self._pending.append(_Pending(submission, answered))
        self._pending_bytes += len(submission.record)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        elif len(self._pending) == self._last_size:
            self._enough.set()

    async def submit(self, submission: Submission) -> Record:
        """Accepts a transaction: the record that its id has now, its own or the first submission's.

        Raises:
            ConflictError: the id was submitted with another body.
            QueueFullError: the queue limit is reached.
            StoreUnavailableError: Redis failed; repeating the submission is safe.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.enqueue(submission, lambda answer: None if future.done() else future.set_result(answer))
        return own_record(submission, await future)

    async def submit_all(self, submissions: Sequence[Submission]) -> list[Answer]:
        """Accepts a part of a batch, in its turn; answers of the same form as those that `enqueue` gives."""
        async with self._batches:
            answers: list[Answer] = []
            everyone = asyncio.get_running_loop().create_future()

            def answered(answer: Answer) -> None:
                answers.append(answer)
                if len(answers) == len(submissions) and not everyone.done():
                    everyone.set_result(None)

            for submission in submissions:
                self._take(submission, answered)
            if submissions:
                await everyone
            return answers

    async def close(self) -> None:
        """Commits what is pending."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
        await self._tickets.close()

    async def _commit(self) -> None:
        try:
            while self._pending:
                await self._gather()
                await self._commit_batch(self._next_batch())
        finally:
            self._committing = None

    async def _gather(self) -> None:
        """Lets those join who are about to."""
        if LINGER_FROM <= self._last_size > len(self._pending):
            self._enough.clear()
            timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._enough.set)
            await self._enough.wait()
            timer.cancel()
        else:
            # one turn of the event loop: requests that have been read already
            await asyncio.sleep(0)

    def _next_batch(self) -> list[_Pending]:
        batch: list[_Pending] = []
        size = 0
        while self._pending and len(batch) < ACCEPT_BATCH and size < ACCEPT_BYTES:
            batch.append(self._pending.popleft())
            size += len(batch[-1].submission.record)
        self._pending_bytes -= size
        self._last_size = len(batch)
        return batch

    async def _commit_batch(self, batch: list[_Pending]) -> None:
        try:
            answers = await self._intake.accept([pending.submission for pending in batch])
        except StoreUnavailableError as error:
            REDIS_FAULTS.labels("accept").inc()
            # who waits behind would find Redis no better, only later
            rest = list(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
            _refuse(batch + rest, error)
            return
        except Exception:
            log.exception("commit failed")
            _refuse(batch, RisklineError("the commit failed; the log says why"))
            return
        COMMIT_SIZE.observe(len(batch))
        new = sum(answer is NEW for answer in answers)
        ACCEPTED.inc(new)
        if new:
            self._tickets.want()
        for pending, answer in zip(batch, answers, strict=True):
            _tell(pending, answer)


class _TicketCheck:
    """Sees to a ticket after a commit; at most once in a while where commits follow each other."""

    def __init__(self, ensure_ticket: Callable[[], Awaitable[None]]) -> None:
        self._ensure_ticket = ensure_ticket
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def want(self) -> None:
        """A commit has made transactions wait."""
        self._wanted = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Sees to the last ticket that was wanted."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self._ensure_ticket()
                await asyncio.sleep(TICKET_SECONDS)
        except StoreUnavailableError as error:
            log.warning("no ticket enqueued; a worker's sweep will", problem=str(error))
        finally:
            self._task = None


def _refuse(refused: list[_Pending], error: Exception) -> None:
    for pending in refused:
        # one exception each: a shared one would gather the tracebacks of all requests
        _tell(pending, type(error)(*error.args))


def _tell(pending: _Pending, answer: Answer) -> None:
    try:
        pending.answered(answer)
    except Exception:
        # who shares the commit with a connection that fails is answered all the same
        log.exception("an answer failed")


def own_record(submission: Submission, answer: Answer) -> Record:
    """The record that a submission's id has now, by what the commit answered.

    Raises:
        ConflictError: the id was submitted with another body.
        QueueFullError: the queue limit is reached.
        StoreUnavailableError: Redis failed; repeating the submission is safe.
    """
    if isinstance(answer, Exception):
        raise answer
    if answer is NEW:
        return just_queued(submission)
    if answer is NO_ROOM:
        raise QueueFullError("The queue limit is reached; repeat the request later.")
    if answer["transaction"] != orjson.loads(submission.record)["transaction"]:
        raise ConflictError(
            "This transaction_id was submitted with another body; a new transaction needs a new id, "
            "and a repetition needs the same body."
        )
    return answer
