"""/transactions: submit one to the queue, and see what became of it."""

import falcon
import falcon.asgi
import orjson

from ingest.bodies import explain_wanted, preferred_wait_seconds, read_json_body, wait_parameter_seconds
from ingest.problems import not_found
from ingest.recording import Recorder
from ingest.submission import Submitter
from ingest.waiting import Waiting
from shared.clock import utc_now
from shared.lifecycle import Status
from shared.store.records import Record, queued_record, state_of
from shared.transaction import TransactionModel

POLL_AGAIN_SECONDS = 1
"""What Retry-After tells a client that polls."""


class TransactionsResource:
    """POST /transactions."""

    def __init__(
        self, *, transaction_class: type[TransactionModel], submitter: Submitter, waiting: Waiting, max_body_bytes: int
    ) -> None:
        self._transaction_class = transaction_class
        self._submitter = submitter
        self._waiting = waiting
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """202 once the transaction is safely in Redis, or 200 where it is decided already or in the time given."""
        transaction = self._transaction_class.parse(await read_json_body(req, max_body_bytes=self._max_body_bytes))
        record = await self._submitter.submit(
            queued_record(
                transaction,
                submitted_at=utc_now(),
                explain=explain_wanted(req),
                request_id=req.context.request_id,
                traceparent=req.context.traceparent,
            )
        )
        record = await self._wait_if_preferred(req, resp, transaction.transaction_id, record)
        _answer_submission(req, resp, transaction.transaction_id, record)

    async def _wait_if_preferred(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str, record: Record
    ) -> Record:
        seconds = preferred_wait_seconds(req)
        if seconds is None:
            return record
        resp.set_header("Preference-Applied", f"wait={seconds:.0f}")
        if record["status"] != Status.QUEUED:
            return record
        decided = await self._waiting.for_decision(transaction_id, timeout_seconds=seconds)
        return record if decided is None else decided


class TransactionResource:
    """GET /transactions/{transaction_id}."""

    def __init__(self, *, waiting: Waiting, recorder: Recorder) -> None:
        self._waiting = waiting
        self._recorder = recorder

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """200 and the transaction's state, at once or after `?wait=N` seconds at the latest."""
        wait_seconds = wait_parameter_seconds(req)
        record = await self._waiting.for_decision(transaction_id, timeout_seconds=wait_seconds)
        if record is None and self._recorder.pending:
            await self._recorder.flush()
            record = await self._waiting.for_decision(transaction_id, timeout_seconds=wait_seconds)
        if record is None:
            raise not_found(transaction_id)
        resp.data = orjson.dumps(state_of(transaction_id, record))
        if record["status"] == Status.QUEUED:
            resp.set_header("Retry-After", str(POLL_AGAIN_SECONDS))


def _answer_submission(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str, record: Record
) -> None:
    resp.set_header("Location", f"{req.root_path}/transactions/{transaction_id}")
    state = state_of(transaction_id, record)
    if record["status"] == Status.QUEUED:
        resp.status = falcon.HTTP_202
        resp.set_header("Retry-After", str(POLL_AGAIN_SECONDS))
        state = {key: state[key] for key in ("transaction_id", "status", "submitted_at")}
    resp.data = orjson.dumps(state)
