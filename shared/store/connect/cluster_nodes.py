"""The nodes of a Redis Cluster: the owner of a slot, and the cluster's state."""

from functools import partial
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from riskline.shared.store.connect.inquiry import LONGEST_WAIT_SECONDS, Address, Question, ask
from riskline.shared.store.connect.sentinel import tls_connection_options
from riskline.shared.store.connect.url import ClusterUrl


class Nodes:
    """The nodes of a cluster, of which the one that is likely to know is asked first."""

    def __init__(self, url: ClusterUrl, *, timeout_seconds: float) -> None:
        wait_seconds = min(timeout_seconds, LONGEST_WAIT_SECONDS)
        self._named = url.nodes
        self._nodes = url.nodes
        self._options: dict[str, Any] = {
            "username": url.username,
            "password": url.password,
            "socket_timeout": wait_seconds,
            "socket_connect_timeout": wait_seconds,
            "ssl": url.tls,
            **tls_connection_options(url.tls_options),
        }

    def owner(self, slot: int | None) -> Question:
        """The question for the slot's present server; without a slot, for any node that answers."""
        known = "answers" if slot is None else f"says who serves slot {slot}"
        return Question(
            "CLUSTER SLOTS",
            self._nodes,
            self._options,
            learn=partial(self._learn, slot),
            unanswered=lambda said: RedisConnectionError(f"no node of the cluster {known} ({said})"),
        )

    def ask_first(self, node: Address) -> None:
        """Asks this address first: it has just redirected, so it knows the owner."""
        self._nodes = (node, *(each for each in self._nodes if each != node))

    def ask_last(self, node: Address) -> None:
        """Asks this address last: it has just failed."""
        self._nodes = (*(each for each in self._nodes if each != node), node)

    def _learn(self, slot: int | None, asked: Address, ranges: Any) -> Address | str:
        """The owner of the slot by a node's answer; the node itself where any will do."""
        owner, known = None, dict.fromkeys((asked, *self._nodes))
        nodes = set(self._named)
        for first, last, *servers in ranges:
            # a node that does not know its own name means the one by which it was reached
            addresses = [((host or asked[0].encode()).decode(), port) for host, port, *_ in servers]
            nodes.update(addresses)
            if slot is not None and first <= slot <= last:
                owner = addresses[0]
        # one assignment of the whole list, so that another thread loses none
        self._nodes = (*(each for each in known if each in nodes or each == asked), *(nodes - known.keys()))
        if slot is None:
            return asked
        return owner or "nobody serves it"


def nodes_of(url: ClusterUrl, *, timeout_seconds: float) -> list[tuple[Address, list[tuple[int, int]]]]:
    """The servers of the cluster and the ranges of slots that each serves: none, where it is a replica.

    Raises:
        redis.exceptions.ConnectionError: no node that is named answers.
    """
    host, port = ask(Nodes(url, timeout_seconds=timeout_seconds).owner(None))
    with node_client(url, (host, port), timeout_seconds=timeout_seconds) as redis:
        ranges: Any = redis.execute_command("CLUSTER SLOTS")
    served: dict[Address, list[tuple[int, int]]] = {}
    for first, last, *servers in ranges:
        for number, (name, server_port, *_) in enumerate(servers):
            parts = served.setdefault(((name or host.encode()).decode(), server_port), [])
            if number == 0:
                parts.append((first, last))
    return sorted(served.items())


def cluster_facts(url: ClusterUrl, *, timeout_seconds: float) -> dict[str, str]:
    """The state of the cluster, by the first node that answers.

    Raises:
        redis.exceptions.ConnectionError: no node that is named answers.
    """
    node = ask(Nodes(url, timeout_seconds=timeout_seconds).owner(None))
    with node_client(url, node, timeout_seconds=timeout_seconds) as redis:
        facts: dict[str, str] = redis.execute_command("CLUSTER INFO")
    return facts


def node_client(url: ClusterUrl, node: Address, *, timeout_seconds: float) -> Redis:
    """A client of one node."""
    return Redis(
        host=node[0],
        port=node[1],
        ssl=url.tls,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        **connection_options(url),
    )


def connection_options(url: ClusterUrl) -> dict[str, Any]:
    """The options of all connections to the cluster."""
    return {"username": url.username, "password": url.password, **tls_connection_options(url.tls_options)}
