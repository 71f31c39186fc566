"""The host names that an API without keys answers to.

A page in a browser can point its own site's name at this machine (DNS rebinding), and could then read and erase
decisions. It cannot choose the header `Host`, which names its site. No site's name is an address or a name of this
machine.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address

import falcon.asgi

from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.problems.refusals import host_not_allowed

ANY = "*"
LOOPBACK_NAMES = ("localhost", "*.localhost")

AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9_.-]{1,255}))(?::[0-9]{0,5})?")


class AllowedHosts:
    """The values of the header `Host` that are accepted."""

    def __init__(self, gate: Authenticator, allowed: Iterable[str] = ()) -> None:
        """`allowed` are names, and `*.` before one for all below it; `*` for any."""
        self._gate = gate
        names = {each.lower() for each in (*LOOPBACK_NAMES, *allowed) if each}
        self._any = ANY in names
        self._names = frozenset(name for name in names if not name.startswith("*."))
        self._endings = tuple(name[1:] for name in names if name.startswith("*."))

    def admit(self, host: str | None) -> bool:
        """True where a request with this header passes. A request without it is not a browser's."""
        if self._gate.asks or self._any or not host:
            return True
        name = name_in(host)
        return name in self._names or name.endswith(self._endings) or _is_address(name)


def name_in(host: str) -> str:
    """The name or address of a `Host`, without its port; empty where it is none."""
    found = AUTHORITY.fullmatch(host.lower())
    return "" if found is None else (found["v6"] or found["name"]).removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class HostMiddleware:
    """Refuses requests to another name before any work is done for them."""

    def __init__(self, hosts: AllowedHosts) -> None:
        self._hosts = hosts

    async def process_request(self, req: falcon.asgi.Request, _resp: falcon.asgi.Response) -> None:
        """Checks `Host`. Several values come joined by a comma, which no name has.

        Raises:
            HttpProblem: 421.
        """
        host = req.get_header("Host")
        if not self._hosts.admit(host):
            raise host_not_allowed(name_in(str(host)))
