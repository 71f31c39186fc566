"""The part that the sync and the async client share: requests from calls, results from answers."""

import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, TypedDict, TypeVar
from uuid import uuid4

import httpx

from riskline_client.errors import ConnectionFailed, TimedOut
from riskline_client.problems import Answer, unexpected
from riskline_client.protocol import Call
from riskline_client.retrying import Deadline, TimeLeft
from riskline_client.version import __version__

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
SCORE_SECONDS = 2.0
"""A checkout page waits for it: what it does without an answer is decided by then."""

BATCH_SECONDS = 60.0
"""For each batch: while the queue is full, its rows are sent again until there is room for all of them."""

BATCH_ROWS = 1000
"""Reaches the rate of larger batches, and a service that takes fewer than this in one is unusual."""

MOST_BYTES = 16_000_000
"""The longest answer: a page of 1,000 decisions with their reasons has one or two million."""

PROXIES = "the proxy of the environment (ALL_PROXY, HTTPS_PROXY or HTTP_PROXY)"

USER_AGENT = f"riskline-client/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"

POOL = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=50.0)
"""Idle connections are closed here before the service does so after 75 s, or a load balancer after 60 s."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""The form of an id that the service takes over; it would replace another one."""


class Made(TypedDict):
    """The arguments of httpx's clients."""

    base_url: httpx.URL
    headers: dict[str, str]
    limits: httpx.Limits


class Connection:
    """The URL of the service, and its key, which is never shown.

    Raises:
        ValueError: the URL or the key cannot be used.
    """

    def __init__(self, url: str, *, api_key: str | None) -> None:
        try:
            self._base = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError("the URL of the service cannot be read; give one like https://riskline.example") from None
        if self._base.scheme not in ("http", "https") or not self._base.host or self._base.userinfo:
            raise ValueError("the URL of the service must be like https://riskline.example, without a user in it")
        if api_key is not None and not (
            api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key != ""
        ):
            raise ValueError("the API key has characters that no key has, or is empty")
        self._authorization = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}

    def __repr__(self) -> str:
        return repr(str(self._base))

    def made(self) -> Made:
        """The arguments of httpx's client."""
        # what is sent as it is cannot become a thousand times as large here
        accepted = {"Accept": "application/json", "Accept-Encoding": "identity"}
        headers = {"User-Agent": USER_AGENT, **accepted, **self._authorization}
        return Made(base_url=self._base, headers=headers, limits=POOL)

    @property
    def is_local(self) -> bool:
        """True where the service is on this machine, so that no proxy is used."""
        host = self._base.host
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def is_in_clear(self) -> bool:
        """True where requests are not encrypted on a network."""
        return self._base.scheme == "http" and not self.is_local

    @contextmanager
    def making(self) -> Iterator[None]:
        """Names settings of the environment with which httpx's client cannot be made.

        Raises:
            ValueError: says which variables it is about, and shows no proxy's password.
        """
        try:
            yield
        except ImportError as error:
            raise ValueError(
                f"{PROXIES} names a SOCKS proxy: `pip install 'httpx[socks]'`, or unset it for this service"
            ) from error
        except OSError as error:
            raise ValueError(
                f"the certificates to trust cannot be read: {error}; see `verify`, or SSL_CERT_FILE and SSL_CERT_DIR "
                "in the environment"
            ) from error
        except (ValueError, httpx.InvalidURL):
            raise ValueError(f"{PROXIES} cannot be used: give a URL like http://proxy.example:3128") from None

    def request(
        self, http: httpx.Client | httpx.AsyncClient, call: Call[Any], *, request_id: str, deadline: Deadline
    ) -> httpx.Request:
        """One attempt's request."""
        return http.build_request(
            call.method,
            call.path,
            params=call.params,
            headers={**call.headers, "X-Request-ID": request_id},
            content=call.body,
            extensions={"timeout": TimeLeft(deadline)},
        )

    @contextmanager
    def failures(self, call: Call[Any], *, request_id: str, seconds: float) -> Iterator[None]:
        """Turns errors of the connection into the client's own."""
        try:
            yield
        except (httpx.TimeoutException, TimeoutError) as error:
            raise TimedOut(
                f"{self._base}: no answer to {call.method} {call.path} within {seconds:.3g} s", request_id=request_id
            ) from error
        except httpx.RequestError as error:
            why = str(error) or type(error).__name__
            raise ConnectionFailed(f"{self._base} cannot be reached: {why}", request_id=request_id) from error


class Body:
    """Gathers an answer. One that is too large or compressed is not Riskline's, and is taken for an empty one."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._bytes = bytearray()
        self.wants_more = headers.get("content-encoding", "identity") == "identity"

    def add(self, part: bytes) -> None:
        """Takes the next part."""
        self._bytes += part
        if len(self._bytes) > MOST_BYTES:
            self._bytes.clear()
            self.wants_more = False

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self._bytes)


def request_id_of(call: Call[Any]) -> str:
    """The id of all attempts of a call: the caller's, else a new one.

    Raises:
        ValueError: the caller's is none.
    """
    if call.request_id is None:
        return uuid4().hex
    if not REQUEST_ID.fullmatch(call.request_id):
        raise ValueError("a request_id has 1 to 128 of A-Z a-z 0-9 . _ : -")
    return call.request_id


def result_of(call: Call[T], *, status: int, headers: Mapping[str, str], body: bytes, request_id: str) -> T:
    """The answer to the call.

    Raises:
        RisklineError: the answer is an error, or is not Riskline's.
    """
    answer = Answer(status=status, headers=headers, body=body, request_id=headers.get("x-request-id", request_id))
    try:
        return call.parse(answer)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise unexpected(answer) from error
