"""The network below httpcore: looks hosts up, connects only to addresses that were checked, meters what is read."""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpcore

from riskline.shared.webhooks.url import Allowed, CallbackUrl, check_addresses
from riskline.worker.delivery.delivery_errors import DeliveryError

CONNECT_SECONDS = 5.0
"""The time for look-up and connection together, and again for TLS."""

ANSWER_BYTES = 32 * 1024
"""The most bytes before the answer's body: headers, interim answers (1xx), HTTP/2's own frames."""
READ_BYTES = 2048
"""Bytes of one read: a receiver that sends without end then delays the others by a few milliseconds at a time."""

LOOK_UP_THREADS = 64
LOOK_UP_SECONDS = 30.0
"""The time a host's addresses are reused: slow name servers then delay new hosts only."""
MOST_HOSTS = 1000

MOST_ADDRESSES = 4
"""Addresses of a host to which a connection is tried; they share its time."""


class Resolver:
    """Looks hosts up in separate threads, so that slow name servers delay nothing else."""

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
        # a cancelled waiter must not end the look-up for the others
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
        """Ends the threads after their present look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the addresses of the target's host after all were checked; never to Unix sockets."""

    def __init__(self, target: CallbackUrl, *, allowed: Allowed, resolver: Resolver) -> None:
        self._target = target
        self._allowed = allowed
        self._resolver = resolver
        self._network = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None
        self.left = ANSWER_BYTES
        """Bytes that may still be read."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002 - same
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - same
    ) -> httpcore.AsyncNetworkStream:
        """A metered stream to the first address that accepts a connection."""
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
        """Closes the connection."""
        if self._stream is not None:
            await self._stream.aclose()


class _MeteredStream(httpcore.AsyncNetworkStream):
    """Reads no more than the meter allows, and yields to other tasks between two reads."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: CheckedNetwork) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        if self._meter.left <= 0:
            raise DeliveryError("sent too much before its answer")
        data = await self._stream.read(min(max_bytes, READ_BYTES), timeout)
        self._meter.left -= len(data)
        if len(data) == READ_BYTES:
            # more is there already: without this a fast sender would never yield
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
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectTimeout:
            raise DeliveryError(f"did not finish the TLS handshake within {CONNECT_SECONDS:g} s") from None
        return _MeteredStream(stream, self._meter)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
