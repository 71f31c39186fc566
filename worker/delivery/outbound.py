"""Requests to the receivers of callbacks; each connects to checked addresses only, and has a deadline.

httpcore is used without its pool: where a request is cancelled while it waits, a connection can be lost to the pool for
good, and each request looks at all connections. Here a connection belongs to one request and is closed with it, unless
its answer was read to the end; then it is kept for the next one to the same scheme, host and port. So it is with HTTP/2
where the receiver offers it: in httpcore, a request that is given up leaves its stream open, and would hurt those that
share the connection.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import cast

import httpcore

from riskline.shared.webhooks.url import Allowed, CallbackUrl, CallbackUrlError
from riskline.worker.delivery.checked_network import ANSWER_BYTES, CONNECT_SECONDS, Resolver
from riskline.worker.delivery.connection_pool import Connection, ConnectionPool, create_ssl_context
from riskline.worker.delivery.delivery_errors import DeliveryError, LostError, RefusedAddressError, delivery_error

BODY_SECONDS = 1.0
BODY_BYTES = 16 * 1024
"""Bytes read of an answer's body: 200 characters are kept; reading the rest makes the connection reusable."""

HEAD_CHARACTERS = 200
HEAD_BYTES = 4 * HEAD_CHARACTERS

RETRY_AFTER_CHARACTERS = 100

DEFAULT_PORTS = {"http": 80, "https": 443}
OUR_HEADERS = frozenset({"host", "content-length", "user-agent", "accept-encoding", "connection", "transfer-encoding"})


@dataclass(frozen=True)
class ReceiverResponse:
    """A receiver's response."""

    status: int
    head: str
    """The first 200 characters of the body, fit for a terminal."""
    latency_seconds: float
    """The time until status and headers had come."""
    retry_after: str | None
    """The header as it came."""


class Outbound:
    """Sends requests, at most `limit` at a time, from one event loop."""

    def __init__(self, *, allowed: Allowed, limit: int = 500, timeout_seconds: float = 10.0, user_agent: str) -> None:
        self._allowed = allowed
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        self._free = asyncio.Semaphore(limit)
        self._limit = limit
        self._kept = ConnectionPool(limit=limit)
        self._resolver = Resolver()
        self._ssl_context = create_ssl_context()

    async def post(self, target: CallbackUrl, *, headers: Mapping[str, str], body: bytes) -> ReceiverResponse:
        """The receiver's response, whatever its status; its body is read as far as it comes quickly.

        Raises:
            RefusedAddressError: the host must not be connected to.
            DeliveryError: no status and headers came in time.
        """
        request = self._request(target, headers, body)
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except TimeoutError:
            spent = f"not tried: {self._limit} others were under way for {self._timeout_seconds:g} s"
            raise DeliveryError(spent) from None
        try:
            return await self._post(target, request, deadline)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Closes idle connections; requests in flight close theirs when they end."""
        await self._kept.close()
        self._resolver.close()

    def _request(self, target: CallbackUrl, headers: Mapping[str, str], body: bytes) -> httpcore.Request:
        host = f"[{target.host}]" if ":" in target.host else target.host
        ours = {
            "host": host if target.port == DEFAULT_PORTS[target.scheme] else target.authority,
            "user-agent": self._user_agent,
            "accept-encoding": "identity",
            "content-length": str(len(body)),
        }
        given = {name: value for name, value in headers.items() if name.lower() not in OUR_HEADERS}
        return httpcore.Request(
            "POST",
            httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.target),
            headers=[*ours.items(), *given.items()],
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        )

    async def _post(self, target: CallbackUrl, request: httpcore.Request, deadline: float) -> ReceiverResponse:
        while True:
            kept = await self._kept.take(target)
            try:
                return await self._post_on(kept or self._connection(target), request, deadline)
            except LostError:
                if kept is None:
                    raise
                # the receiver closed an idle connection, which is no failure

    def _connection(self, target: CallbackUrl) -> Connection:
        return Connection(target, allowed=self._allowed, resolver=self._resolver, ssl_context=self._ssl_context)

    async def _post_on(self, connection: Connection, request: httpcore.Request, deadline: float) -> ReceiverResponse:
        began = time.perf_counter()
        reusable = False
        connection.allow(ANSWER_BYTES)
        try:
            response = await self._response(connection, request, deadline)
            latency = time.perf_counter() - began
            head, reusable = await _read(response, connection)
        finally:
            if reusable:
                await self._kept.put(connection)
            else:
                await connection.close()
        retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
        return ReceiverResponse(
            status=response.status,
            head=_shown(head),
            latency_seconds=latency,
            retry_after=None
            if retry_after is None
            else retry_after[:RETRY_AFTER_CHARACTERS].decode("ascii", "replace"),
        )

    async def _response(self, connection: Connection, request: httpcore.Request, deadline: float) -> httpcore.Response:
        try:
            async with asyncio.timeout_at(deadline):
                return await connection.http.handle_async_request(request)
        except CallbackUrlError as error:
            raise RefusedAddressError(str(error)) from None
        except TimeoutError:
            raise DeliveryError(f"did not answer within {self._timeout_seconds:g} s") from None
        except DeliveryError:
            raise
        except Exception as error:
            meant = delivery_error(error)
            if meant is None:
                raise
            raise meant from error


async def _read(response: httpcore.Response, connection: Connection) -> tuple[bytes, bool]:
    """The beginning of the body, and whether the connection can be used again.

    The receiver has answered by now; an error in the body does not change that.
    """
    head, size = b"", 0
    with suppress(Exception):
        async with (
            asyncio.timeout(BODY_SECONDS),
            # a generator: the garbage collector would close it at some later time
            aclosing(cast("AsyncGenerator[bytes]", aiter(cast("AsyncGenerator[bytes]", response.stream)))) as chunks,
        ):
            connection.allow(BODY_BYTES + ANSWER_BYTES)
            async for chunk in chunks:
                size += len(chunk)
                head += chunk[: HEAD_BYTES - len(head)]
                if size > BODY_BYTES:
                    return head, False
            await response.aclose()
            return head, connection.is_reusable()
    return head, False


def _shown(head: bytes) -> str:
    text = head.decode(errors="replace")[:HEAD_CHARACTERS]
    return "".join(each if each.isprintable() else " " for each in text)
