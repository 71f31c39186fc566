"""Connections to the receivers of callbacks, and the pool of idle ones."""

import ssl
from collections import OrderedDict, defaultdict
from contextlib import suppress

import certifi
import httpcore

from riskline.shared.webhooks.url import Allowed, CallbackUrl
from riskline.worker.delivery.checked_network import CheckedNetwork, Resolver

KEEP_SECONDS = 4.0
"""The idle time of a connection: servers close theirs after 5 s, and a request sent just then is lost."""


class Connection:
    """A connection of httpcore's that can be closed in any state."""

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
        """Sets how many bytes the receiver may send from now on."""
        self._network.left = byte_count

    def is_reusable(self) -> bool:
        """True where another request can use the connection: the answer has ended, and no further bytes came."""
        inner = getattr(self.http, "_connection", None)
        if isinstance(inner, httpcore.AsyncHTTP11Connection):
            left, _ = inner._h11_state.trailing_data  # noqa: SLF001  # it would be taken for the next answer
            return not left and self.http.is_idle()
        return self.http.is_idle()

    async def close(self) -> None:
        """Closes the connection; ignores errors."""
        # the connection below, too: httpcore does not know it until TLS is finished
        for each in (self.http, self._network):
            with suppress(Exception):
                await each.aclose()


class ConnectionPool:
    """Idle connections, at most `limit`; the last used is taken first, and the others expire."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._by_age: OrderedDict[Connection, None] = OrderedDict()
        self._by_origin: defaultdict[tuple[str, str], dict[Connection, None]] = defaultdict(dict)

    async def take(self, target: CallbackUrl) -> Connection | None:
        """An idle connection to the target that seems open; None where there is none."""
        origin = _origin(target)
        while origin in self._by_origin:
            connection = next(reversed(self._by_origin[origin]))
            self._forget(connection)
            if connection.http.is_idle() and not connection.http.has_expired():
                return connection
            await connection.close()
        return None

    async def put(self, connection: Connection) -> None:
        """Keeps a connection; closes expired ones, and the oldest above the limit."""
        self._by_age[connection] = None
        self._by_origin[connection.origin][connection] = None
        while self._by_age and (self._closed or len(self._by_age) > self._limit or self._oldest.http.has_expired()):
            oldest = self._oldest
            self._forget(oldest)
            await oldest.close()

    async def close(self) -> None:
        """Closes all connections, and those that are put later."""
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
    """The TLS context that verifies receivers' certificates."""
    context = ssl.create_default_context()
    # beside the system's certificates, since an image may have none
    context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _origin(target: CallbackUrl) -> tuple[str, str]:
    return target.scheme, target.authority
