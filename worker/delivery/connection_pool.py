"""Connections to the receivers of callbacks: what each takes to be used again or closed, and those kept idle."""

import ssl
from collections import OrderedDict, defaultdict
from contextlib import suppress

import certifi
import httpcore

from riskline.shared.webhooks.url import Allowed, CallbackUrl
from riskline.worker.delivery.checked_network import CheckedNetwork, Resolver

KEEP_SECONDS = 4.0
"""For how long a connection is kept idle: servers close theirs after 5 s, and a request sent just then is lost."""


class Connection:
    """A connection of httpcore's, and what it takes to close it in whatever state it is."""

    def __init__(
        self, target: CallbackUrl, *, allowed: Allowed, resolver: Resolver, ssl_context: ssl.SSLContext
    ) -> None:
        self.origin = _origin(target)
        self._network = CheckedNetwork(target, allowed=allowed, resolver=resolver)
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
        """Closes it; what goes wrong at that is of no interest."""
        # the one below, too: where TLS was not finished, httpcore does not know of it
        for each in (self.http, self._network):
            with suppress(Exception):
                await each.aclose()


class ConnectionPool:
    """Idle connections, at most `limit`; those that were used last are used first, and the others expire."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._by_age: OrderedDict[Connection, None] = OrderedDict()
        self._by_origin: defaultdict[tuple[str, str], dict[Connection, None]] = defaultdict(dict)

    async def take(self, target: CallbackUrl) -> Connection | None:
        """One that is open, as far as is known; None where there is none."""
        origin = _origin(target)
        while origin in self._by_origin:
            connection = next(reversed(self._by_origin[origin]))
            self._forget(connection)
            if connection.http.is_idle() and not connection.http.has_expired():
                return connection
            await connection.close()
        return None

    async def put(self, connection: Connection) -> None:
        """Keeps it, and closes those that were kept too long or are too many."""
        self._by_age[connection] = None
        self._by_origin[connection.origin][connection] = None
        while self._by_age and (self._closed or len(self._by_age) > self._limit or self._oldest.http.has_expired()):
            oldest = self._oldest
            self._forget(oldest)
            await oldest.close()

    async def close(self) -> None:
        """Closes them all, and from now on what comes to be kept."""
        self._closed = True
        while self._by_age:
            oldest = self._oldest
            self._forget(oldest)
            await oldest.close()

    @property
    def _oldest(self) -> Connection:
        return next(iter(self._by_age))

    def _forget(self, connection: Connection) -> None:
        del self._by_age[connection]
        same = self._by_origin[connection.origin]
        del same[connection]
        if not same:
            del self._by_origin[connection.origin]


def create_ssl_context() -> ssl.SSLContext:
    """What the certificates of receivers are verified with."""
    context = ssl.create_default_context()
    # beside what the system has, as an image may have nothing
    context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _origin(target: CallbackUrl) -> tuple[str, str]:
    return target.scheme, target.authority
