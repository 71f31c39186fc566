"""The client for programs without asyncio; one may be shared by threads."""

import time
from collections.abc import Iterable
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from tenacity import Retrying

from riskline_client import protocol
from riskline_client.answers import Decision, Health, Page, Readiness, State
from riskline_client.batching import Batches
from riskline_client.connection import (
    BATCH_ROWS,
    BATCH_SECONDS,
    SCORE_SECONDS,
    TIMEOUT_SECONDS,
    Body,
    Connection,
    request_id_of,
    result_of,
)
from riskline_client.encoding import Transaction
from riskline_client.feed import Feed
from riskline_client.network import bounded_client
from riskline_client.protocol import Call
from riskline_client.reading import MOST_DECISIONS, OLDEST, Reader
from riskline_client.refusals import BatchResult
from riskline_client.retrying import Deadline, Retries, attempt_seconds, policy
from riskline_client.waiting import Pause, Steps, until_decided

T = TypeVar("T")


class Client:
    """A connection to a Riskline service, kept open between calls; close it, or use it in a `with` statement.

    `timeout` and `score_timeout` (of `score`) are the seconds that a call may take in all, its retries and their waits
    included; each call may have one of its own. What passes (429, 502, 503, 504, no connection, no answer) is tried
    again as `retries` says, which is safe for each call: `riskline_client.protocol` says why. `verify` and `transport`
    are httpx's, as are the variables of the environment that name proxies and certificates.

    A transaction is a mapping, a dataclass, anything with `model_dump()`, or bytes of JSON.

    Each call raises `ProblemError` or a subclass of it where the service refuses, `ConnectionFailed` where there was no
    answer, `TimedOut` where there was none in time, and `UnexpectedAnswer` where something else than Riskline answered;
    TypeError or ValueError where a transaction has no JSON. ValueError where the client cannot be made like that.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        score_timeout: float = SCORE_SECONDS,
        retries: Retries = Retries(),  # noqa: B008  # frozen
        verify: Any = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, api_key=api_key)
        self._timeout = timeout
        self._score_timeout = score_timeout
        self._retries = retries
        self._http = (
            bounded_client(self._connection, verify=verify)
            if transport is None
            else httpx.Client(**self._connection.made(), transport=transport)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def score(
        self,
        transaction: Transaction,
        *,
        explain: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Decision:
        """Decides a transaction now; with `explain` an approval has reasons, too.

        A repeated attempt may be decided by another model version, or not find the first recorded: recorded is one.
        """
        seconds = self._score_timeout if timeout is None else timeout
        return self._send(protocol.score(transaction, explain=explain, timeout=seconds, request_id=request_id))

    def submit(
        self,
        transaction: Transaction,
        *,
        callback_url: str | None = None,
        wait: int | None = None,
        explain: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> State:
        """Queues a transaction: when this returns, it is safe, and it is decided once, however often it is submitted.

        `wait`: up to so many seconds, 30 at the most and beside the timeout, for the decision to come with the answer.

        Raises:
            Conflict: the id was submitted with another body or another `callback_url`.
        """
        call = protocol.submit(
            transaction,
            callback_url=callback_url,
            wait=wait,
            explain=explain,
            timeout=self._or_own(timeout),
            request_id=request_id,
        )
        return self._send(call)

    def submit_many(
        self,
        transactions: Iterable[Transaction],
        *,
        explain: bool = False,
        batch_rows: int = BATCH_ROWS,
        timeout: float = BATCH_SECONDS,
    ) -> BatchResult:
        """Queues transactions, however many, holding one batch at a time; `timeout` is for each batch.

        Rows that are refused don't stop the others; those that find the queue full are sent again until there is room,
        or `Unavailable` is raised when the time of their batch is over. The service takes `RISKLINE_MAX_BATCH_ROWS` in
        a batch, 10,000 by default. An error says in `submitted` what became of the rows before it; to submit all of
        them again is safe.
        """
        batches = Batches(batch_rows=batch_rows, explain=explain, timeout=timeout)
        with batches.told_by_errors():
            for transaction in transactions:
                if steps := batches.add(transaction):
                    self._run(steps)
            if steps := batches.rest():
                self._run(steps)
        return batches.result

    def get(
        self,
        transaction_id: str,
        *,
        wait: float | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> State:
        """The state of a transaction; `wait` as for `submit`.

        Raises:
            NotFound: no such transaction was submitted, or its result has expired.
            Erased: it was erased.
        """
        call = protocol.get(transaction_id, wait=wait, timeout=self._or_own(timeout), request_id=request_id)
        return self._send(call)

    def wait_for(self, transaction_id: str, timeout: float) -> State:
        """The state of a transaction as soon as it is decided or has failed; outages meanwhile are waited out.

        Raises:
            StillQueued: it is neither in time.
            NotFound: no such transaction was submitted, or its result has expired.
        """
        return self._run(until_decided(transaction_id, timeout=timeout))

    def decisions(self, after: str = OLDEST, *, follow: bool = True) -> Feed:
        """All decisions after a cursor, in order; with `follow` those to come, too, without an end."""
        return Feed(self._run, Reader(after, follow=follow, timeout=self._timeout))

    def page(
        self, after: str = OLDEST, *, limit: int = MOST_DECISIONS, wait: float = 0.0, timeout: float | None = None
    ) -> Page:
        """One page of the feed, and the cursor of the next.

        Raises:
            CursorExpired: the feed no longer has the cursor: decisions may be missing.
        """
        return self._send(protocol.page(after, limit=limit, wait=wait, timeout=self._or_own(timeout)))

    def erase(self, transaction_id: str, *, timeout: float | None = None, request_id: str | None = None) -> None:
        """Erases all that is kept of a transaction; needs a key with the scope `admin`.

        Raises:
            NotDecidedYet: it is queued: wait for its decision.
        """
        self._send(protocol.erase(transaction_id, timeout=self._or_own(timeout), request_id=request_id))

    def health(self, *, timeout: float | None = None) -> Health:
        """The health: can transactions be scored? A service that cannot is no error."""
        return self._send(protocol.health(timeout=self._or_own(timeout)))

    def ready(self, *, timeout: float | None = None) -> Readiness:
        """The readiness: can transactions be scored and queued? A service that cannot is no error."""
        return self._send(protocol.ready(timeout=self._or_own(timeout)))

    def _or_own(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout

    def _send(self, call: Call[T]) -> T:
        request_id = request_id_of(call)
        deadline = Deadline(call.timeout + call.wait)
        retrying = Retrying(**policy(self._retries, deadline, persistent=call.persistent))
        result: T = retrying(self._attempt, call, request_id, deadline)
        return result

    def _attempt(self, call: Call[T], request_id: str, deadline: Deadline) -> T:
        seconds = attempt_seconds(deadline, wait=call.wait)
        own = Deadline(seconds)
        with self._connection.failures(call, request_id=request_id, seconds=seconds):
            request = self._connection.request(self._http, call, request_id=request_id, deadline=own)
            with closing(self._http.send(request, stream=True)) as response:
                body = Body(response.headers)
                parts = response.iter_bytes()
                while body.wants_more and (part := next(parts, None)) is not None:
                    # a transport of the caller's may not keep to the time by itself
                    if not own.left:
                        raise TimeoutError
                    body.add(part)
        return result_of(
            call,
            status=response.status_code,
            headers=response.headers,
            body=body.whole(),
            request_id=request_id,
        )

    def _run(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    answer = self._send(step)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()
