"""The URLs that callbacks may be sent to, and the addresses that may be connected to; does no I/O.

A URL comes from a client and must not make us call our own networks. It is read by one parser, that of WHATWG, and only
what that makes of it is used afterwards. Where its host is a name, `parse_callback_url` cannot know the addresses:
`check_addresses` has the last word when they are known, right before the connection is made.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from pydantic_core import Url

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_CHARACTERS = 2048
MOST_HOST_CHARACTERS = 253
PUBLIC_PORTS = frozenset({443, 8443})
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")

SETTING = "RISKLINE_CALLBACK_ALLOW"
EXAMPLE = "https://hooks.example.com/riskline"

BEGINNING = re.compile(r"https?://(?P<authority>[^/?#]+)", re.IGNORECASE)
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")
NUMBER_AT_THE_END = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")
"""A host that the parser takes for an IPv4 address."""

NEVER_IPV4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT; 100.100.100.200 is a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own host, as seen from its machines: a public address by its number only
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",  # 192.0.0.192 is a cloud's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""Written out, as what Python calls global differs between its versions."""

GLOBAL_IPV6 = IPv6Network("2000::/3")
NEVER_IPV6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, among them Teredo, 2001::/32, which carries an IPv4 address in disguise
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")
ISATAP = 0x5EFE
"""The upper half of an interface identifier that ends in an IPv4 address (RFC 5214), whatever the network."""
ISATAP_FLAGS = 0x0300_0000
"""Its bits `universal` and `group`, which say nothing of the address."""
SHARED_BY_CARRIERS = IPv4Network("100.64.0.0/10")


class CallbackUrlError(ValueError):
    """A callback must not be sent there. The message is the rest of a sentence, without the URL or its secrets."""


@dataclass(frozen=True)
class Allowed:
    """Private hosts and networks that may be reached, by http too and on any port."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The hosts and networks of a list separated by commas, such as `127.0.0.1/32,hooks.internal,::1`.

        Raises:
            ValueError: an entry is none of them; the message names it.
        """
        hosts, networks = set[str](), list[Network]()
        for entry in (each.strip().lower() for each in text.split(",")):
            if not entry:
                continue
            network = _network(entry)
            if network is not None:
                networks.append(network)
            elif HOST_NAME.fullmatch(entry) and not NUMBER_AT_THE_END.search(entry):
                hosts.add(entry)
            else:
                raise ValueError(
                    f"has the entry {entry!r}, which is no host, address or network: write hooks.internal, 10.1.2.3 or "
                    "10.0.0.0/8, without a scheme, a port or a path"
                )
        return cls(frozenset(hosts), tuple(networks))

    def has(self, address: Address) -> bool:
        """True where the address is in one of the networks."""
        either = {address, _plain(address)}
        return any(each in network for each in either for network in self.networks)


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError as error:
        if "host bits set" not in str(error):
            return None
    meant = ip_network(entry, strict=False)
    raise ValueError(f"has the network {entry!r}, whose address is not its first: write {meant}")


@dataclass(frozen=True)
class CallbackUrl:
    """A URL that may be called, if its addresses may be connected to."""

    url: str
    scheme: str
    host: str
    """Without the brackets of an IPv6 address."""
    port: int
    authority: str
    """Host and port in one spelling; identifies the receiver."""
    target: str
    """Path and query."""

    @property
    def is_address(self) -> bool:
        """True where the host is an address, not a name."""
        return _address(self.host) is not None


def parse_callback_url(url: str, allowed: Allowed) -> CallbackUrl:
    """Parses a client's URL.

    Raises:
        CallbackUrlError: no callback may be sent there.
    """
    _check_spelling(url)
    try:
        parsed = Url(url)
    except ValueError:
        raise CallbackUrlError(f"must have a host and a port that are valid: {EXAMPLE}") from None
    spelled, host, port = str(parsed), parsed.host or "", parsed.port or 0
    if len(spelled) > MOST_CHARACTERS:
        raise CallbackUrlError(f"must have at most {MOST_CHARACTERS} characters, as it is sent")
    target = CallbackUrl(
        url=spelled,
        scheme=parsed.scheme,
        host=host.removeprefix("[").removesuffix("]"),
        port=port,
        authority=f"{host}:{port}",
        # what follows the third / of the one spelling that all use, so that nothing is put together anew
        target="/" + spelled.split("/", 3)[3],
    )
    if port == 0:
        raise CallbackUrlError("must have a port from 1 to 65535")
    if target.is_address:
        check_addresses(target, [target.host], allowed)
    else:
        _check_name(target, allowed)
    return target


def _check_spelling(url: str) -> None:
    """Refuses spellings that URL parsers read differently, before parsing."""
    if len(url) > MOST_CHARACTERS:
        raise CallbackUrlError(f"must have at most {MOST_CHARACTERS} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise CallbackUrlError("must have no blanks, backslashes or characters that cannot be seen")
    beginning = BEGINNING.match(url)
    if beginning is None:
        raise CallbackUrlError(f"must begin with https:// and a host: {EXAMPLE}")
    if "@" in beginning["authority"]:
        raise CallbackUrlError("must have no user or password: the signature shows who calls")
    if "%" in beginning["authority"]:
        raise CallbackUrlError("must have a host without %")
    if "#" in url:
        raise CallbackUrlError("must have no #: what follows it is never sent")


def _check_name(target: CallbackUrl, allowed: Allowed) -> None:
    host = target.host
    if len(host) > MOST_HOST_CHARACTERS or not HOST_NAME.fullmatch(host):
        raise CallbackUrlError("must have a host name of letters, digits, hyphens and dots")
    if host in allowed.hosts or allowed.networks:
        # a name's networks are known when it is looked up, for each delivery
        return
    if "." not in host or host.endswith((".", *LOCAL_SUFFIXES)):
        raise CallbackUrlError(
            f"must have a public host name: {host} is a local one, which the operator can allow in {SETTING}"
        )
    _check_scheme_and_port(target)


def _check_scheme_and_port(target: CallbackUrl) -> None:
    if target.scheme != "https":
        raise CallbackUrlError(f"must use https: http is for hosts and networks in {SETTING}")
    if target.port not in PUBLIC_PORTS:
        ports = " or ".join(str(port) for port in sorted(PUBLIC_PORTS))
        raise CallbackUrlError(f"must use port {ports}: others are for hosts and networks in {SETTING}")


def check_addresses(target: CallbackUrl, addresses: Sequence[str], allowed: Allowed) -> None:
    """Checks that each of the host's addresses may be connected to.

    Raises:
        CallbackUrlError: an address is forbidden, or there is none.
    """
    if not addresses:
        raise CallbackUrlError("must have a host that has an address")
    if target.host in allowed.hosts:
        return
    for text in addresses:
        address = _address(text)
        if address is None:
            raise CallbackUrlError("must have a host whose addresses can be read")
        if allowed.has(address):
            continue
        if not _is_public(address):
            address = _plain(address)
            private = address.is_private or address in SHARED_BY_CARRIERS
            kind = "private" if private else "not a public one"
            # the client must not learn a name's address in our networks
            which = f"its address {address}" if target.is_address else "an address of its host"
            raise CallbackUrlError(f"{which} is {kind}: the operator can allow it in {SETTING}")
        _check_scheme_and_port(target)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """The IPv4 address that the system connects to for its form as an IPv6 address."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_public(address: Address) -> bool:
    address = _plain(address)
    if isinstance(address, IPv4Address):
        odd = not address.is_global or address.is_multicast or address.is_reserved
        return not odd and not any(address in network for network in NEVER_IPV4)
    if address.scope_id is not None:
        return False
    if not all(map(_is_public, _carried(address))):
        return False
    if address in NAT64:
        # how networks without IPv4 see all of it
        return True
    return address in GLOBAL_IPV6 and not any(address in network for network in NEVER_IPV6)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses in an IPv6 address, to which a router may forward its packets."""
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address in NAT64 or (number >> 32 & 0xFFFFFFFF & ~ISATAP_FLAGS) == ISATAP:
        yield last
    if address in SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & 0xFFFFFFFF)
