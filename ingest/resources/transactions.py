"""/transactions: submits one to the queue, reads its state, erases it."""

from urllib.parse import quote

import falcon
import falcon.asgi
import orjson

from riskline.ingest.auth.authentication import sees_callback, sender_of
from riskline.ingest.edge.bodies import explain_wanted, preferred_wait_seconds, read_json_body, wait_parameter_seconds
from riskline.ingest.history.observer import Observer
from riskline.ingest.long_polls.waiters import DecisionWaiters
from riskline.ingest.problems.problem import HttpProblem
from riskline.ingest.recording.recorder import AnyRecorder
from riskline.ingest.resources.erasure_log import note_erasure
from riskline.ingest.submission.callback_field import SubmissionParser, SubmittedTransaction
from riskline.ingest.submission.group_commit import COMMITTED, Answer
from riskline.ingest.submission.submissions import Submitter, own_record
from riskline.ingest.submission.submit import submit
from riskline.shared.clock import utc_now
from riskline.shared.domain.lifecycle import Status
from riskline.shared.errors import StoreUnavailableError, UnreadableStateError
from riskline.shared.log import get_logger
from riskline.shared.store.console import ConsoleStore
from riskline.shared.store.interfaces import Erasure, TransactionIntake
from riskline.shared.store.records import Record, Submission, state_of
from riskline.shared.webhooks.event import callback_url_of

log = get_logger(__name__)

POLL_AGAIN_SECONDS = 1
"""The Retry-After for a client that polls."""


class TransactionsResource:
    """POST /transactions."""

    def __init__(
        self,
        *,
        submissions: SubmissionParser,
        submitter: Submitter,
        states: "TransactionResource",
        waiting: DecisionWaiters,
        observer: Observer | None,
        max_body_bytes: int,
    ) -> None:
        """`observer` is None where the class has no history."""
        self._submissions = submissions
        self._observer = observer
        self._states = states
        self._submitter = submitter
        self._waiting = waiting
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """202 once the transaction is safely in Redis, or 200 where it is decided already or in the time given."""
        body = await read_json_body(req, max_body_bytes=self._max_body_bytes)
        explain = explain_wanted(req)
        submission = self._submissions.submission(
            *await self._observed(req, self._submissions.parse(body)),
            explain=explain,
            request_id=req.context.request_id,
            traceparent=req.context.traceparent,
            sender=sender_of(req),
        )
        record = await self._submitted(req, resp, submission)
        resp.set_header("Location", location(req.root_path, submission.transaction_id))
        if record["status"] == Status.QUEUED:
            resp.status = falcon.HTTP_202
            resp.set_header("Retry-After", str(POLL_AGAIN_SECONDS))
            resp.data = queued_state(submission.transaction_id, record["submitted_at"])
        else:
            resp.data = await self._shown(req, submission.transaction_id, record)

    async def _observed(self, req: falcon.asgi.Request, submitted: SubmittedTransaction) -> SubmittedTransaction:
        if self._observer is None or COMMITTED in req.scope.get("state", {}):
            return submitted
        return submitted._replace(transaction=await self._observer.observed(submitted.transaction))

    async def _submitted(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, submission: Submission) -> Record:
        committed: Answer | None = req.scope.get("state", {}).get(COMMITTED)
        if committed is not None:
            return own_record(submission, committed)
        wait_seconds = preferred_wait_seconds(req)
        submitted = await submit(submission, self._submitter, self._waiting, wait_seconds=wait_seconds)
        if submitted.wait_seconds is not None:
            resp.set_header("Preference-Applied", f"wait={submitted.wait_seconds:.0f}")
        return submitted.record

    async def _shown(self, req: falcon.asgi.Request, transaction_id: str, record: Record) -> bytes:
        try:
            return await self._states.shown(req, transaction_id, record)
        except StoreUnavailableError as error:
            raise UnreadableStateError(str(error)) from error


class TransactionResource:
    """GET /transactions/{transaction_id}."""

    def __init__(
        self, *, waiting: DecisionWaiters, recorder: AnyRecorder, intake: TransactionIntake, notes: ConsoleStore
    ) -> None:
        """The erasure of each transaction is kept in `notes`."""
        self._intake = intake
        self._notes = notes
        self._waiting = waiting
        self._recorder = recorder

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """200 and the transaction's state, at once or after `?wait=N` seconds at the latest."""
        wait_seconds = wait_parameter_seconds(req)
        record = await self._waiting.for_decision(transaction_id, timeout_seconds=wait_seconds)
        if record is None and self._recorder.pending:
            await self._recorder.flush_of(transaction_id)
            record = await self._waiting.for_decision(transaction_id, timeout_seconds=wait_seconds)
        if record is None:
            raise HttpProblem("unknown-transaction")
        if record["status"] == Status.ERASED:
            raise HttpProblem("transaction-erased")
        resp.data = await self.shown(req, transaction_id, record)
        if record["status"] == Status.QUEUED:
            resp.set_header("Retry-After", str(POLL_AGAIN_SECONDS))

    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """204 once only the fact of the erasure is kept of the transaction."""
        # a synchronous decision may be on its way into Redis
        await self._recorder.flush_of(transaction_id)
        outcome = await self._intake.erase(transaction_id, erased_at=utc_now())
        log.info("erasure", transaction_id=transaction_id, outcome=outcome, request_id=req.context.request_id)
        if outcome is Erasure.UNKNOWN:
            raise HttpProblem("unknown-transaction")
        if outcome is Erasure.QUEUED:
            raise HttpProblem("not-decided-yet")
        await note_erasure(
            self._notes, req, what="transaction erased", about=transaction_id, transaction=transaction_id
        )
        resp.status = falcon.HTTP_204

    async def shown(self, req: falcon.asgi.Request, transaction_id: str, record: Record) -> bytes:
        """The state of a transaction as JSON, with that of its callback where it has one."""
        called_back = record["status"] != Status.QUEUED and callback_url_of(record) is not None
        callback = await self._intake.callback(transaction_id) if called_back else None
        return orjson.dumps(state_of(transaction_id, record, callback, sees_callback=sees_callback(req, record)))


def location(root_path: str, transaction_id: str) -> str:
    """The URL of a transaction's state. It is quoted, as a class may allow ids that no header takes."""
    return f"{root_path}/transactions/{quote(transaction_id, safe=':~')}"


def queued_state(transaction_id: str, submitted_at: str) -> bytes:
    """The body of the answer to a transaction that is queued."""
    return orjson.dumps({"transaction_id": transaction_id, "status": Status.QUEUED, "submitted_at": submitted_at})
