"""POST /transactions/batch: thousands of transactions into the queue with one request, read as they arrive."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice

import falcon
import falcon.asgi
import orjson

from riskline.ingest.auth.authentication import check_still_admitted, sender_of
from riskline.ingest.auth.rate_limits import RateLimiter
from riskline.ingest.edge.bodies import explain_wanted
from riskline.ingest.history.observer import Observer
from riskline.ingest.problems.problem import (
    NO_MORE,
    SOME_NOT_KNOWN,
    HttpProblem,
    described,
    not_json_content,
    queue_full,
    too_many_rows,
    undescribed,
)
from riskline.ingest.resources.transactions import TransactionResource
from riskline.ingest.submission.batch_rows import PART_BYTES, JsonArrayReader, NdjsonReader, Row, RowReader, refused_row
from riskline.ingest.submission.callback_field import SubmissionParser
from riskline.ingest.submission.group_commit import Answer
from riskline.ingest.submission.submissions import Submitter, own_record
from riskline.shared.clock import utc_now
from riskline.shared.errors import (
    ConflictError,
    HistoryRequiredError,
    OutcomeUnknownError,
    QueueFullError,
    StoreUnavailableError,
)
from riskline.shared.store.interfaces import ACCEPTED
from riskline.shared.store.records import Queueing, Submission

READERS: dict[str, type[JsonArrayReader] | type[NdjsonReader]] = {
    "application/json": JsonArrayReader,
    "application/x-ndjson": NdjsonReader,
}

ROWS_AT_A_TIME = 512
"""About the good rows of a part. It may have 20,000 bad ones, and each takes longer than a good one."""

MAX_DESCRIBED_BYTES = 1024 * 1024
"""The bytes of problems in a batch's answer. Further rows have only their type: it bounds memory and answer."""


class BatchesResource:
    """POST /transactions/batch."""

    def __init__(
        self,
        *,
        submissions: SubmissionParser,
        submitter: Submitter,
        states: TransactionResource,
        max_row_bytes: int,
        max_rows: int,
        limiter: RateLimiter,
        observer: Observer | None,
    ) -> None:
        """`observer` is None where the class has no history."""
        self._observer = observer
        self._submissions = submissions
        self._submitter = submitter
        self._states = states
        self._max_row_bytes = max_row_bytes
        self._max_rows = max_rows
        self._limiter = limiter

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The state of the transaction whose id is `batch`, which is a valid id."""
        await self._states.on_get(req, resp, transaction_id="batch")

    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Erases the transaction whose id is `batch`."""
        await self._states.on_delete(req, resp, transaction_id="batch")

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """202 once the good rows are safely in Redis, with what is wrong with the others."""
        reader = self._reader(req.content_type)
        account = req.context.get("account")
        batch = BatchIntake(
            self._submitter,
            Queueing(
                submitted_at=utc_now(),
                explain=explain_wanted(req),
                request_id=req.context.request_id,
                traceparent=req.context.traceparent,
                default_callback_url=self._submissions.default_callback_url,
                sender=sender_of(req),
            ),
            max_rows=self._max_rows,
            spend=partial(self._limiter.spend, account),
            observer=self._observer,
        )
        async for data in req.stream:
            for start in range(0, len(data), PART_BYTES):
                rows = reader.feed(data[start : start + PART_BYTES])
                check_still_admitted(req, **batch.taken())
                self._limiter.check_debt(account, self._max_rows, **batch.taken())
                await batch.take(rows)
        check_still_admitted(req, **batch.taken())
        await batch.take(reader.end())
        resp.data = orjson.dumps(batch.result())
        resp.status = falcon.HTTP_202

    def _reader(self, content_type: str | None) -> RowReader:
        media_type = (content_type or "").partition(";")[0].strip().lower()
        if media_type not in READERS:
            raise not_json_content(content_type, "application/json or application/x-ndjson")
        return READERS[media_type](self._submissions, max_row_bytes=self._max_row_bytes)


class BatchIntake:
    """The rows of one request so far: the numbers accepted and known, and the problems of the others."""

    def __init__(
        self,
        submitter: Submitter,
        queueing: Queueing,
        *,
        max_rows: int,
        spend: Callable[[int], None],
        observer: Observer | None,
    ) -> None:
        self._spend = spend
        self._observer = observer
        self._submitter = submitter
        self._queueing = queueing
        self._max_rows = max_rows
        self._seen = self._accepted = self._known = self._unknown = 0
        # as JSON at once: ten thousand problems as objects make each garbage collection hold up all requests
        self._refused: list[tuple[int, bytes]] = []
        self._refused_for = set[str]()
        self._described_bytes = 0
        self._retry_after_seconds = 1

    async def take(self, rows: Iterable[Row]) -> None:
        """Accepts the good rows of a part.

        Raises:
            HttpProblem: there are too many rows, or Redis failed; says how many were accepted.
        """
        coming = iter(rows)
        while part := list(islice(coming, ROWS_AT_A_TIME)):
            await self._take(part)

    async def _take(self, rows: Sequence[Row]) -> None:
        room = self._max_rows - self._seen
        numbered = list(enumerate(rows[:room], start=self._seen))
        # the request was counted as one when it came
        counted = max(self._seen, 1)
        self._seen += len(numbered)
        self._spend(max(self._seen, 1) - counted)
        good: list[tuple[int, Submission]] = []
        for index, row in await self._observed(numbered):
            if isinstance(row, HttpProblem):
                self._refuse(index, row)
            else:
                good.append((index, self._queueing.submission(row.transaction, callback_url=row.callback_url)))
        answers = await self._submitter.submit_all([submission for _, submission in good])
        self._note(good, answers)
        # a part of bad rows commits nothing, and would go on without a pause
        await asyncio.sleep(0)
        if len(rows) > room:
            raise too_many_rows(self._max_rows, **self.taken())

    async def _observed(self, rows: Sequence[tuple[int, Row]]) -> Sequence[tuple[int, Row]]:
        """The rows, each good one with its history.

        Raises:
            HttpProblem: the history is away, and no row may lack it.
        """
        if self._observer is None:
            return rows
        found = dict(rows)
        good = [(index, row) for index, row in rows if not isinstance(row, HttpProblem)]
        observed = await self._observer.observe_all([row.transaction for _, row in good])
        for (index, row), each in zip(good, observed, strict=True):
            if isinstance(each, HistoryRequiredError):
                raise HttpProblem("history-unavailable", f"{each} {NO_MORE}", members=self.taken())
            found[index] = refused_row(each) if isinstance(each, Exception) else row._replace(transaction=each)
        return list(found.items())

    def _note(self, submitted: Sequence[tuple[int, Submission]], answers: Sequence[Answer]) -> None:
        """Counts what became of submitted rows.

        Raises:
            HttpProblem: Redis failed; says how many were accepted.
        """
        is_away = False
        for (index, submission), answer in zip(submitted, answers, strict=True):
            if answer is ACCEPTED:
                self._accepted += 1
                continue
            try:
                own_record(submission, answer)
                self._known += 1
            except ConflictError as error:
                self._refuse(index, HttpProblem("conflict", str(error)))
            except QueueFullError as error:
                self._retry_after_seconds = error.retry_after_seconds
                self._refuse(index, queue_full(str(error), error.retry_after_seconds))
            except StoreUnavailableError as error:
                is_away = True
                self._unknown += isinstance(error, OutcomeUnknownError)
        if is_away:
            members = {**self.taken(), "unknown": self._unknown}
            raise HttpProblem("store-unavailable", SOME_NOT_KNOWN if self._unknown else NO_MORE, members=members)

    def taken(self) -> dict[str, int]:
        """The numbers of rows that are safe in the queue."""
        return {"accepted": self._accepted, "known": self._known}

    def _refuse(self, index: int, problem: HttpProblem) -> None:
        self._described_bytes += sum(
            (len(each["pointer"]) + len(each["detail"]) for each in problem.errors or ()),
            start=len(problem.description or ""),
        )
        if self._described_bytes > MAX_DESCRIBED_BYTES:
            problem = undescribed(problem)
        self._refused.append((index, orjson.dumps({"index": index, **described(problem)})))
        self._refused_for.add(problem.name)

    def result(self) -> dict[str, object]:
        """The body of the answer.

        Raises:
            HttpProblem: no row was accepted.
        """
        refused = [orjson.Fragment(row) for _, row in sorted(self._refused)]
        if self._accepted + self._known == 0:
            if not refused:
                raise HttpProblem("empty-batch")
            if self._refused_for == {"queue-full"}:
                raise queue_full("As many transactions wait as may; see rows.", self._retry_after_seconds, rows=refused)
            raise HttpProblem("no-row-accepted", members={"rows": refused})
        return {"accepted": self._accepted, "known": self._known, "refused": len(refused), "rows": refused}
