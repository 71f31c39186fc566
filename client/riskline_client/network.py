"""Sockets for the sync client that keep to the time of a call: httpcore gives each read of an answer all of it anew."""

import socket
import ssl
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from typing import Any

import httpcore
import httpx

from riskline_client.connection import POOL, Connection
from riskline_client.retrying import Left

PART_BYTES = 65_536
"""The bytes that are sent in one step: fewer than a system usually takes at once."""


class BoundedStream(httpcore.NetworkStream):
    """A connection whose steps share one deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore."""
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore."""
        for first in range(0, len(buffer), PART_BYTES):
            self._stream.write(buffer[first : first + PART_BYTES], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """See httpcore."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """See httpcore."""
        # no time left: the least there is, as httpcore closes what it cannot make a TLS connection of
        seconds = timeout if not isinstance(timeout, Left) else Left(timeout.deadline)
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        return self._stream.get_extra_info(info)


class BoundedBackend(httpcore.SyncBackend):
    """Connects within the time, the look-up of the name and all of its addresses included."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore."""
        addresses = _addresses(host, port, _left(timeout, httpcore.ConnectTimeout))
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for tried, address in enumerate(addresses):
            seconds = _left(timeout, httpcore.ConnectTimeout)
            # one that says nothing leaves time for the others
            share = None if seconds is None else seconds / (len(addresses) - tried)
            try:
                return BoundedStream(super().connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


def bounded_client(connection: Connection, *, verify: Any) -> httpx.Client:
    """A client of httpx over these sockets.

    Raises:
        ValueError: the proxies or certificates of the environment cannot be used.
    """
    with connection.making():
        transport = httpx.HTTPTransport(verify=verify, limits=POOL) if connection.is_local else None
        http = httpx.Client(**connection.made(), verify=verify, transport=transport)
    # the parameters of httpx have no place for them
    for each in (http._transport, *http._mounts.values()):  # noqa: SLF001
        if isinstance(each, httpx.HTTPTransport):
            each._pool._network_backend = BoundedBackend()  # noqa: SLF001
    return http


def _addresses(host: str, port: int, seconds: float | None) -> Sequence[str]:
    with suppress(ValueError):
        return [str(ip_address(host))]
    found: Future[Sequence[str]] = Future()

    def look_up() -> None:
        try:
            found.set_result([str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as error:
            found.set_exception(httpcore.ConnectError(str(error)))

    # nothing ends a look-up, so that it is left behind, and keeps no program from ending
    Thread(target=look_up, daemon=True).start()
    try:
        return found.result(seconds)
    except TimeoutError:
        raise httpcore.ConnectTimeout(f"the name {host} was not found in time") from None


def _left(timeout: float | None, over: type[Exception]) -> float | None:
    if not isinstance(timeout, Left):
        return timeout
    if not timeout.deadline.left:
        raise over
    return timeout.deadline.left
