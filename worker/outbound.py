"""Requests to the receivers of callbacks: each connects only to addresses that were checked, and ends in time.

httpcore is used without its pool: where a request is cancelled while it waits, a connection can be lost to the pool for
good, and each request looks at all connections. Here a connection belongs to one request and is closed with it, unless
its answer was read to the end; then it is kept for the next one to the same scheme, host and port. So it is with HTTP/2
where the receiver offers it: in httpcore, a request that is given up leaves its stream open, and would hurt those that
share the connection.
"""

import asyncio
import os
import socket
import ssl
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import anyio
import certifi
import h2.exceptions
import h11
import hpack
import httpcore

from shared.callback_url import Allowed, CallbackUrl, CallbackUrlError, check_addresses
from shared.errors import RisklineError

CONNECT_SECONDS = 5.0
"""For the look-up and the connection together, and again for TLS."""

BODY_SECONDS = 1.0
BODY_BYTES = 16 * 1024
"""Of an answer's body that are read: 200 characters are kept, the rest only leaves the connection fit for another."""
ANSWER_BYTES = 32 * 1024
"""That a receiver may send before its answer begins: headers, interim answers (1xx), HTTP/2's own frames."""
READ_BYTES = 2048
"""Taken at once: a receiver that sends without end then holds up the others for a few milliseconds at a time."""

HEAD_CHARACTERS = 200
HEAD_BYTES = 4 * HEAD_CHARACTERS

KEEP_SECONDS = 4.0
"""For how long a connection is kept idle: servers close theirs after 5 s, and a request sent just then is lost."""

LOOK_UP_THREADS = 64
LOOK_UP_SECONDS = 30.0
"""For how long the addresses of a host are used again: slow name servers of some hosts then hold up only new ones."""
MOST_HOSTS = 1000

MOST_ADDRESSES = 4
"""Addresses of a host to which a connection is tried; they share its time."""

RETRY_AFTER_CHARACTERS = 100

DEFAULT_PORTS = {"http": 80, "https": 443}
OUR_HEADERS = frozenset({"host", "content-length", "user-agent", "accept-encoding", "connection", "transfer-encoding"})


class DeliveryError(RisklineError):
    """There was no answer: why, as an operator needs it."""


class RefusedAddressError(DeliveryError):
    """The host has an address that must not be connected to."""


class _LostError(DeliveryError):
    """The connection was closed before an answer began."""


@dataclass(frozen=True)
class Answer:
    """What a receiver answered."""

    status: int
    head: str
    """The first 200 characters of the body, fit for a terminal."""
    latency_seconds: float
    """Until the status and the headers had come."""
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
        self._kept = _Kept(limit=limit)
        self._resolver = _Resolver()
        self._ssl_context = _ssl_context()

    async def post(self, target: CallbackUrl, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """The receiver's answer, whatever its status; the body of it is read as far as it comes quickly.

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
        """Closes what is open; requests that are still under way close theirs when they end."""
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

    async def _post(self, target: CallbackUrl, request: httpcore.Request, deadline: float) -> Answer:
        while True:
            kept = await self._kept.take(target)
            try:
                return await self._post_on(kept or self._connection(target), request, deadline)
            except _LostError:
                if kept is None:
                    raise
                # the receiver closed it while it was idle, which says nothing of the receiver

    def _connection(self, target: CallbackUrl) -> "_Connection":
        return _Connection(target, allowed=self._allowed, resolver=self._resolver, ssl_context=self._ssl_context)

    async def _post_on(self, connection: "_Connection", request: httpcore.Request, deadline: float) -> Answer:
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
        return Answer(
            status=response.status,
            head=_shown(head),
            latency_seconds=latency,
            retry_after=None
            if retry_after is None
            else retry_after[:RETRY_AFTER_CHARACTERS].decode("ascii", "replace"),
        )

    async def _response(
        self, connection: "_Connection", request: httpcore.Request, deadline: float
    ) -> httpcore.Response:
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
            reason = _reason(error)
            if reason is None:
                raise
            raise (_LostError if reason in LOST else DeliveryError)(reason) from error


async def _read(response: httpcore.Response, connection: "_Connection") -> tuple[bytes, bool]:
    """The beginning of the body, and whether the connection can be used again.

    The receiver has answered by now; what becomes of the body changes nothing of that.
    """
    head, size = b"", 0
    with suppress(Exception):
        async with (
            asyncio.timeout(BODY_SECONDS),
            # a generator: left to the garbage collector, it would be closed at some later time
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


class _Connection:
    """A connection of httpcore's, and what it takes to close it in whatever state it is."""

    def __init__(
        self, target: CallbackUrl, *, allowed: Allowed, resolver: "_Resolver", ssl_context: ssl.SSLContext
    ) -> None:
        self.origin = _origin(target)
        self._network = _CheckedNetwork(target, allowed=allowed, resolver=resolver)
        self.http = httpcore.AsyncHTTPConnection(
            httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port),
            ssl_context=ssl_context,
            keepalive_expiry=KEEP_SECONDS,
            http1=True,
            http2=True,
            network_backend=self._network,
        )

    def allow(self, byte_count: int) -> None:
        """How much the receiver may send from now on until this is called again."""
        self._network.left = byte_count

    def is_reusable(self) -> bool:
        """Whether the next request can go over it: its answer has ended, and nothing was sent that nobody asked for."""
        inner = getattr(self.http, "_connection", None)
        if isinstance(inner, httpcore.AsyncHTTP11Connection):
            left, _ = inner._h11_state.trailing_data  # noqa: SLF001  # it would be taken for the next answer
            return not left and self.http.is_idle()
        return self.http.is_idle()

    async def close(self) -> None:
        # the one below, too: where TLS was not finished, httpcore does not know of it
        for each in (self.http, self._network):
            with suppress(Exception):
                await each.aclose()


def _origin(target: CallbackUrl) -> tuple[str, str]:
    return target.scheme, target.authority


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that the target's host has, once all were checked; to sockets of this machine never."""

    def __init__(self, target: CallbackUrl, *, allowed: Allowed, resolver: "_Resolver") -> None:
        self._target = target
        self._allowed = allowed
        self._resolver = resolver
        self._network = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None
        self.left = ANSWER_BYTES
        """Bytes that may be read yet."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002 - same
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - same
    ) -> httpcore.AsyncNetworkStream:
        target = self._target
        if (host, port) != (target.host, target.port):
            raise RuntimeError("a connection was asked for that is not the target's")
        deadline = asyncio.get_running_loop().time() + (timeout or CONNECT_SECONDS)
        addresses: Sequence[str] = [host]
        if not target.is_address:
            try:
                async with asyncio.timeout_at(deadline):
                    addresses = await self._resolver.addresses(host)
            except TimeoutError:
                raise DeliveryError(f"its host name could not be looked up within {CONNECT_SECONDS:g} s") from None
        check_addresses(target, addresses, self._allowed)
        self._stream = await self._connect(addresses[:MOST_ADDRESSES], port, deadline)
        return _MeteredStream(self._stream, self)

    async def _connect(self, addresses: Sequence[str], port: int, deadline: float) -> httpcore.AsyncNetworkStream:
        now = asyncio.get_running_loop().time
        last: Exception = DeliveryError("its host name has no address")
        for number, address in enumerate(addresses):
            share = max(0.0, deadline - now()) / (len(addresses) - number)
            try:
                return await self._network.connect_tcp(address, port, timeout=share)
            except httpcore.ConnectTimeout:
                last = DeliveryError(f"did not accept a connection within {CONNECT_SECONDS:g} s")
            except httpcore.ConnectError as error:
                last = error
        raise last

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


class _MeteredStream(httpcore.AsyncNetworkStream):
    """Reads no more than the network's meter allows, and lets others have their turn between two reads."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: _CheckedNetwork) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        if self._meter.left <= 0:
            raise DeliveryError("sent too much before its answer")
        data = await self._stream.read(min(max_bytes, READ_BYTES), timeout)
        self._meter.left -= len(data)
        if len(data) == READ_BYTES:
            # more is there: where it always is, nothing else would end this turn
            await asyncio.sleep(0)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - same
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - same
    ) -> httpcore.AsyncNetworkStream:
        return _MeteredStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._meter)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Resolver:
    """Looks hosts up in threads of its own, so that slow name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOK_UP_THREADS, thread_name_prefix="look-up")
        self._under_way: dict[str, asyncio.Future[list[str]]] = {}
        self._known: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()

    async def addresses(self, host: str) -> list[str]:
        """The host's addresses, in the order of the system."""
        loop = asyncio.get_running_loop()
        if host in self._known:
            until, addresses = self._known[host]
            if loop.time() < until:
                return addresses
        look_up = self._under_way.get(host)
        if look_up is None:
            look_up = loop.run_in_executor(self._threads, _look_up, host)
            self._under_way[host] = look_up
            look_up.add_done_callback(partial(self._keep, host))
        # one that waits no more must not end it for the others
        return await asyncio.shield(look_up)

    def _keep(self, host: str, look_up: "asyncio.Future[list[str]]") -> None:
        del self._under_way[host]
        if look_up.cancelled() or look_up.exception() is not None:
            return
        self._known[host] = (look_up.get_loop().time() + LOOK_UP_SECONDS, look_up.result())
        self._known.move_to_end(host)
        if len(self._known) > MOST_HOSTS:
            self._known.popitem(last=False)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class _Kept:
    """Idle connections, at most `limit`; those that were used last are used first, and the others expire."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._by_age: OrderedDict[_Connection, None] = OrderedDict()
        self._by_origin: defaultdict[tuple[str, str], dict[_Connection, None]] = defaultdict(dict)

    async def take(self, target: CallbackUrl) -> _Connection | None:
        """One that is open, as far as is known; None where there is none."""
        origin = _origin(target)
        while origin in self._by_origin:
            connection = next(reversed(self._by_origin[origin]))
            self._forget(connection)
            if connection.http.is_idle() and not connection.http.has_expired():
                return connection
            await connection.close()
        return None

    async def put(self, connection: _Connection) -> None:
        """Keeps it, and closes those that were kept too long or are too many."""
        self._by_age[connection] = None
        self._by_origin[connection.origin][connection] = None
        while self._by_age and (self._closed or len(self._by_age) > self._limit or self._oldest.http.has_expired()):
            oldest = self._oldest
            self._forget(oldest)
            await oldest.close()

    async def close(self) -> None:
        self._closed = True
        while self._by_age:
            oldest = self._oldest
            self._forget(oldest)
            await oldest.close()

    @property
    def _oldest(self) -> _Connection:
        return next(iter(self._by_age))

    def _forget(self, connection: _Connection) -> None:
        del self._by_age[connection]
        same = self._by_origin[connection.origin]
        del same[connection]
        if not same:
            del self._by_origin[connection.origin]


def _ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # beside what the system has, as an image may have nothing
    context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


RESET = "reset the connection"
CLOSED_SILENTLY = "closed the connection without an answer"
LOST = frozenset({RESET, CLOSED_SILENTLY})

HEADERS_TOO_LARGE = 431
INVALID = "sent no valid HTTP"
CLOSED = (
    httpcore.NetworkError,
    httpcore.RemoteProtocolError,
    httpcore.ConnectionNotAvailable,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)
NO_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def _reason(error: Exception) -> str | None:
    """What went wrong, by the cause of it that says most; None where it is a fault of our own."""
    causes = list(_causes(error))
    for cause in causes:
        reason = _telling_reason(cause)
        if reason is not None:
            return reason
    for cause in causes:
        reason = _vague_reason(cause)
        if reason is not None:
            return reason
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _telling_reason(error: BaseException) -> str | None:  # noqa: PLR0911 - one for each kind
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate verify failed: {error.verify_message}"
        case ssl.SSLError(reason=reason):
            return f"TLS failed: {(reason or 'the connection was closed').lower().replace('_', ' ')}"
        case socket.gaierror():
            return "no such host name" if error.errno in NO_NAME else "its host name cannot be looked up at present"
        case ConnectionResetError() | BrokenPipeError():
            return RESET
        case h11.RemoteProtocolError(error_status_hint=hint):
            return "sent headers that are too long" if hint == HEADERS_TOO_LARGE else INVALID
        case httpcore.LocalProtocolError() | h2.exceptions.H2Error() | hpack.HPACKError() | ValueError():
            # a ValueError is what httpcore makes of a status that is no number
            return INVALID
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
    return None


def _vague_reason(error: BaseException) -> str | None:
    if isinstance(error, httpcore.ConnectTimeout):
        return f"did not finish the TLS handshake within {CONNECT_SECONDS:g} s"
    if isinstance(error, httpcore.ConnectError):
        return "closed the connection before TLS was set up"
    # uvloop says by a RuntimeError that a connection was reset
    if isinstance(error, CLOSED) or (isinstance(error, RuntimeError) and "closed" in str(error)):
        return CLOSED_SILENTLY
    return None
