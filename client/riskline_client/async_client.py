"""The client for asyncio: the same calls as in `client`, which describes them."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from tenacity import AsyncRetrying

from riskline_client import protocol
from riskline_client.answers import Decision, Health, Page, Readiness, State
from riskline_client.batching import Batches
from riskline_client.connection import (
    BATCH_ROWS,
    BATCH_SECONDS,
    POOL,
    SCORE_SECONDS,
    TIMEOUT_SECONDS,
    Body,
    Connection,
    request_id_of,
    result_of,
)
from riskline_client.encoding import Transaction
from riskline_client.feed import AsyncFeed
from riskline_client.protocol import Call
from riskline_client.reading import MOST_DECISIONS, OLDEST, Reader
from riskline_client.refusals import BatchResult
from riskline_client.retrying import Deadline, Retries, attempt_seconds, policy
from riskline_client.waiting import Pause, Steps, until_decided

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: `async with AsyncClient(url) as client: await client.score(…)`."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        score_timeout: float = SCORE_SECONDS,
        retries: Retries = Retries(),  # noqa: B008  # frozen
        verify: Any = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, api_key=api_key)
        self._timeout = timeout
        self._score_timeout = score_timeout
        self._retries = retries
        with self._connection.making():
            if transport is None and self._connection.is_local:
                transport = httpx.AsyncHTTPTransport(verify=verify, limits=POOL)
            self._http = httpx.AsyncClient(**self._connection.made(), verify=verify, transport=transport)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def score(
        self,
        transaction: Transaction,
        *,
        explain: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109  # of the whole call, as for `Client`
        request_id: str | None = None,
    ) -> Decision:
        """As `Client.score`."""
        seconds = self._score_timeout if timeout is None else timeout
        return await self._send(protocol.score(transaction, explain=explain, timeout=seconds, request_id=request_id))

    async def submit(
        self,
        transaction: Transaction,
        *,
        callback_url: str | None = None,
        wait: int | None = None,
        explain: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109  # of the whole call, as for `Client`
        request_id: str | None = None,
    ) -> State:
        """As `Client.submit`."""
        call = protocol.submit(
            transaction,
            callback_url=callback_url,
            wait=wait,
            explain=explain,
            timeout=self._or_own(timeout),
            request_id=request_id,
        )
        return await self._send(call)

    async def submit_many(
        self,
        transactions: Iterable[Transaction] | AsyncIterable[Transaction],
        *,
        explain: bool = False,
        batch_rows: int = BATCH_ROWS,
        timeout: float = BATCH_SECONDS,  # noqa: ASYNC109  # of each batch, as for `Client`
    ) -> BatchResult:
        """As `Client.submit_many`; also of an async iterable."""
        batches = Batches(batch_rows=batch_rows, explain=explain, timeout=timeout)
        with batches.told_by_errors():
            async for transaction in _each(transactions):
                if steps := batches.add(transaction):
                    await self._run(steps)
            if steps := batches.rest():
                await self._run(steps)
        return batches.result

    async def get(
        self,
        transaction_id: str,
        *,
        wait: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # of the whole call, as for `Client`
        request_id: str | None = None,
    ) -> State:
        """As `Client.get`."""
        call = protocol.get(transaction_id, wait=wait, timeout=self._or_own(timeout), request_id=request_id)
        return await self._send(call)

    async def wait_for(self, transaction_id: str, timeout: float) -> State:  # noqa: ASYNC109  # as for `Client`
        """As `Client.wait_for`."""
        return await self._run(until_decided(transaction_id, timeout=timeout))

    def decisions(self, after: str = OLDEST, *, follow: bool = True) -> AsyncFeed:
        """As `Client.decisions`, for `async for`."""
        return AsyncFeed(self._run, Reader(after, follow=follow, timeout=self._timeout))

    async def page(
        self,
        after: str = OLDEST,
        *,
        limit: int = MOST_DECISIONS,
        wait: float = 0.0,
        timeout: float | None = None,  # noqa: ASYNC109  # of the whole call, as for `Client`
    ) -> Page:
        """As `Client.page`."""
        return await self._send(protocol.page(after, limit=limit, wait=wait, timeout=self._or_own(timeout)))

    async def erase(
        self,
        transaction_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # of the whole call, as for `Client`
        request_id: str | None = None,
    ) -> None:
        """As `Client.erase`."""
        await self._send(protocol.erase(transaction_id, timeout=self._or_own(timeout), request_id=request_id))

    async def health(self, *, timeout: float | None = None) -> Health:  # noqa: ASYNC109  # as for `Client`
        """As `Client.health`."""
        return await self._send(protocol.health(timeout=self._or_own(timeout)))

    async def ready(self, *, timeout: float | None = None) -> Readiness:  # noqa: ASYNC109  # as for `Client`
        """As `Client.ready`."""
        return await self._send(protocol.ready(timeout=self._or_own(timeout)))

    def _or_own(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout

    async def _send(self, call: Call[T]) -> T:
        request_id = request_id_of(call)
        deadline = Deadline(call.timeout + call.wait)
        retrying = AsyncRetrying(**policy(self._retries, deadline, persistent=call.persistent))
        return await retrying(self._attempt, call, request_id, deadline)

    async def _attempt(self, call: Call[T], request_id: str, deadline: Deadline) -> T:
        seconds = attempt_seconds(deadline, wait=call.wait)
        with self._connection.failures(call, request_id=request_id, seconds=seconds):
            request = self._connection.request(self._http, call, request_id=request_id, deadline=Deadline(seconds))
            async with asyncio.timeout(seconds):
                response = await self._http.send(request, stream=True)
                async with aclosing(response):
                    body = Body(response.headers)
                    parts = response.aiter_bytes()
                    while body.wants_more and (part := await anext(parts, None)) is not None:
                        body.add(part)
        return result_of(
            call,
            status=response.status_code,
            headers=response.headers,
            body=body.whole(),
            request_id=request_id,
        )

    async def _run(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                else:
                    answer = await self._send(step)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()


async def _each(transactions: Iterable[Transaction] | AsyncIterable[Transaction]) -> AsyncIterator[Transaction]:
    if isinstance(transactions, AsyncIterable):
        async for transaction in transactions:
            yield transaction
        return
    for transaction in transactions:
        yield transaction
