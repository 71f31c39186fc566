"""The servers of a store, and the dangers of each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.settings import Settings
from riskline.shared.store.connect.cluster_nodes import cluster_facts, node_client, nodes_of
from riskline.shared.store.connect.connection import connect, redis_faults_named
from riskline.shared.store.connect.inquiry import Address, address_text
from riskline.shared.store.connect.url import ClusterUrl, is_cluster_url, parse_cluster_url
from riskline.shared.store.sharding.shards import SLOTS, slot_of, tags
from riskline.shared.store.status.redis_safety import Danger, ServerFacts, Severity, dangers, facts_of, warn

ANSWER_SECONDS = 5.0


class Node(NamedTuple):
    """A server of a Redis Cluster."""

    address: Address
    ranges: list[tuple[int, int]]
    """First and last slot of each range that it serves; none where it is a replica, or spare."""

    def tags(self, shards: int) -> list[str]:
        """The names of the shards on it."""
        return [tag for tag in tags(shards) if any(first <= slot_of(tag) <= last for first, last in self.ranges)]


class ServerReport(NamedTuple):
    """One server with its facts, or the error where it does not answer."""

    name: str
    node: Node | None
    facts: ServerFacts | None
    problem: str = ""


def servers(url: str, *, timeout_seconds: float = ANSWER_SECONDS) -> Iterator[ServerReport]:
    """Each server of a Redis Cluster, or the one that the URL leads to.

    Raises:
        StoreUnavailableError: no server answers.
    """
    if not is_cluster_url(url):
        with connect(url, timeout_seconds=timeout_seconds, retries=0) as redis:
            yield ServerReport("", None, facts_of(redis))
        return
    cluster = parse_cluster_url(url)
    with redis_faults_named():
        found = nodes_of(cluster, timeout_seconds=timeout_seconds)
    with ThreadPoolExecutor(len(found)) as threads:
        # at the same time: several that hang cost the time of one
        yield from threads.map(lambda each: _server(cluster, *each, timeout_seconds=timeout_seconds), found)


def _server(
    cluster: ClusterUrl, address: Address, ranges: list[tuple[int, int]], *, timeout_seconds: float
) -> ServerReport:
    node = Node(address, ranges)
    try:
        with node_client(cluster, address, timeout_seconds=timeout_seconds) as redis:
            return ServerReport(address_text(address), node, facts_of(redis))
    except StoreUnavailableError as error:
        return ServerReport(address_text(address), node, None, str(error))


def dangers_of_server(server: ServerReport) -> list[Danger]:
    """The dangers of this server; being a replica is none in a cluster."""
    if server.facts is None:
        return []
    found = dangers(server.facts)
    if server.node is None:
        return found
    found = [each for each in found if each.setting not in {"role", "cluster-enabled"}]
    whole = server.facts.settings.get("cluster-require-full-coverage")
    if whole == "yes":
        consequence = "where one shard has no server, all stop"
        found.append(Danger("cluster-require-full-coverage", whole, "no", consequence, _SET_NO, Severity.WARN))
    return found


_SET_NO = "set `cluster-require-full-coverage no`"


def warn_of_store(settings: Settings) -> None:
    """Logs one warning for each danger of the store's servers.

    Raises:
        StoreUnavailableError: no server answers.
    """
    for server in servers(settings.required_store_url):
        warn(dangers_of_server(server), **({"server": server.name} if server.name else {}))


def uncovered(url: str, *, timeout_seconds: float = ANSWER_SECONDS) -> int:
    """The number of slots of the cluster without a server.

    Raises:
        StoreUnavailableError: no node answers.
    """
    with redis_faults_named():
        served = cluster_facts(parse_cluster_url(url), timeout_seconds=timeout_seconds)
    return SLOTS - int(served.get("cluster_slots_ok", SLOTS))
