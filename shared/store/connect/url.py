"""Parses Redis URLs that name several servers; without redis-py, so that `--help` stays quick."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

SENTINEL_SCHEMES = ("redis+sentinel://", "rediss+sentinel://")

SENTINEL_FORM = "redis+sentinel://[user:password@]host:26379,host:26379/master[/db]"

SENTINEL_PORT = 26379

CLUSTER_SCHEMES = ("redis+cluster://", "rediss+cluster://")

CLUSTER_FORM = "redis+cluster://[user:password@]host:6379,host:6379"

CLUSTER_PORT = 6379

LARGEST_PORT = 65535

HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]+))?")

TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)


OPTIONS = frozenset({"db", "protocol", "client_name", "health_check_interval", *TLS_OPTIONS})
"""The allowed query options of a plain Redis URL; others would change redis-py's answers."""


def check_plain_url(url: str) -> None:
    """Checks that redis-py can connect with the URL.

    Raises:
        ValueError: the URL is not usable; one line without any part that may be a password.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port == -1 or parts.fragment or "@" in parts.path:
        raise ValueError(
            f"has a port that is no number from 0 to {LARGEST_PORT}; in a password, / is written %2F, # %23, @ %40"
        )
    if not url.startswith("unix://") and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise ValueError("has something after the port that is not the number of a database")
    options = dict(parse_qsl(parts.query))
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"has the unknown option {unknown[0]}: known are {', '.join(sorted(OPTIONS))}")
    for name in ("db", "protocol", "health_check_interval"):
        if not options.get(name, "0").isdigit():
            raise ValueError(f"has an option {name} that is no number")


@dataclass(frozen=True, kw_only=True)
class SentinelUrl:
    """The sentinels, their master, and the options of both; no password in its repr."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    db: int
    tls: bool
    username: str | None
    password: str | None = field(repr=False)
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)
    tls_options: dict[str, str]
    """As in the query: the options of redis-py that begin with `ssl_`."""


@dataclass(frozen=True, kw_only=True)
class ClusterUrl:
    """The nodes of a cluster to ask for the others, and their options; no password in its repr."""

    nodes: tuple[tuple[str, int], ...]
    tls: bool
    username: str | None
    password: str | None = field(repr=False)
    tls_options: dict[str, str]
    """As in the query: the options of redis-py that begin with `ssl_`."""


def is_cluster_url(url: str) -> bool:
    """True where the URL names nodes of a Redis Cluster."""
    return url.startswith(CLUSTER_SCHEMES)


def parse_cluster_url(url: str) -> ClusterUrl:
    """The parsed URL.

    Raises:
        ValueError: the URL is not usable; one line without any part that may be a password.
    """
    parts = _parts(url)
    if not parts.hosts:
        raise ValueError(f"names no node of a cluster: {CLUSTER_FORM}")
    if parts.path not in {"", "0"}:
        raise ValueError(f"names a database, and a cluster has only 0: {CLUSTER_FORM}")
    return ClusterUrl(
        nodes=tuple(
            _host_and_port(each, kind="node", form=CLUSTER_FORM, port=CLUSTER_PORT) for each in parts.hosts.split(",")
        ),
        tls=parts.tls,
        username=parts.username,
        password=parts.password,
        tls_options=_tls_options(parts.options, tls=parts.tls, known=sorted(TLS_OPTIONS), needs="rediss+cluster://"),
    )


def is_sentinel_url(url: str) -> bool:
    """True where the URL names sentinels, not a Redis."""
    return url.startswith(SENTINEL_SCHEMES)


def parse_sentinel_url(url: str) -> SentinelUrl:
    """The parsed URL.

    Raises:
        ValueError: the URL is not usable; one line without any part that may be a password.
    """
    parts = _parts(url)
    master, _, db = parts.path.rstrip("/").partition("/")
    options = parts.options
    if not parts.hosts:
        raise ValueError(f"names no host of a sentinel: {SENTINEL_FORM}")
    if not master:
        raise ValueError(f"names no master after the sentinels: {SENTINEL_FORM}")
    return SentinelUrl(
        sentinels=tuple(
            _host_and_port(each, kind="sentinel", form=SENTINEL_FORM, port=SENTINEL_PORT)
            for each in parts.hosts.split(",")
        ),
        master=unquote(master),
        db=_database(options.pop("db", db)),
        tls=parts.tls,
        username=parts.username,
        password=parts.password,
        sentinel_username=options.pop("sentinel_username", None),
        sentinel_password=options.pop("sentinel_password", None),
        tls_options=_tls_options(
            options,
            tls=parts.tls,
            known=["sentinel_username", "sentinel_password", *sorted(TLS_OPTIONS)],
            needs="rediss+sentinel://",
        ),
    )


class _Parts(NamedTuple):
    tls: bool
    username: str | None
    password: str | None
    hosts: str
    path: str
    options: dict[str, str]


def _parts(url: str) -> _Parts:
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if "@" in path:
        raise ValueError("must have a / in its password as %2F")
    credentials, _, hosts = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    return _Parts(
        tls=scheme.startswith("rediss"),
        username=unquote(username) or None,
        password=unquote(password) or None,
        hosts=hosts,
        path=path,
        options=dict(parse_qsl(query)),
    )


def _host_and_port(text: str, *, kind: str, form: str, port: int) -> tuple[str, int]:
    if not text:
        raise ValueError(f"names a {kind} without a host: {form}")
    found = HOST_AND_PORT.fullmatch(text)
    port = int(found["port"] or port) if found else 0
    if found is None or not 0 < port <= LARGEST_PORT:
        # not the text itself: where a password holds a character that must be encoded, it may be a part of it
        raise ValueError(f"has a {kind} whose port is no number from 1 to {LARGEST_PORT} (an IPv6 host needs [ ])")
    return unquote(found["ipv6"] or found["host"]), port


def _database(text: str) -> int:
    if text and not re.fullmatch(r"[0-9]+", text):
        raise ValueError("has something after the master's name that is not the number of a database")
    return int(text or 0)


def _tls_options(options: dict[str, str], *, tls: bool, known: list[str], needs: str) -> dict[str, str]:
    unknown = sorted(options.keys() - TLS_OPTIONS)
    if unknown:
        raise ValueError(f"has the unknown option {unknown[0]}: known are {', '.join(known)}")
    if options and not tls:
        raise ValueError(f"has options of TLS: they need {needs}")
    return options
