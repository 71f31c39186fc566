"""`riskline doctor`: what it says of a store that is not on the Redis of the tickets."""

from collections.abc import Iterator

from cli.doctor import Finding, Verdict
from cli.installation import open_store
from cli.up import without_password, without_redis
from shared.errors import StoreUnavailableError
from shared.redis_url import is_cluster_url
from shared.settings import Settings
from shared.store.connection import redis_faults_named
from shared.store.layout import OtherLayoutError
from shared.store.servers import Server, dangers_of_server, servers, uncovered
from shared.store.shards import all_keys, tags


def check_store(settings: Settings) -> Iterator[Finding]:
    """Whether each of its servers is there, what is dangerous about it, and whether all shards have one."""
    url = settings.required_store_url
    shown = without_password(url)
    try:
        found = list(servers(url))
    except StoreUnavailableError as error:
        yield Finding("store", Verdict.FAIL, without_redis(shown, error.__cause__, variable="RISKLINE_STORE_URL"))
        return
    for server in found:
        yield from _of_server(server, settings.shards, shown)
    if is_cluster_url(url):
        yield from _of_cluster(url, found, settings.shards)
    yield from check_layout(settings)


def check_layout(settings: Settings) -> Iterator[Finding]:
    """Whether the store has as many shards as are set; nothing is said of one that does not answer."""
    away, made = 0, True
    with open_store(settings) as store:
        for redis, keys in zip(store.shards, all_keys(settings.shards), strict=True):
            try:
                with redis_faults_named():
                    made = redis.get(keys.shards) is not None and made
            except StoreUnavailableError as error:
                if isinstance(error.__cause__, OtherLayoutError):
                    yield Finding("store", Verdict.FAIL, str(error.__cause__))
                    return
                away += 1
    if settings.shards > 1 and away:
        yield Finding("store", Verdict.FAIL, f"{away} of {settings.shards} shards do not answer")
    elif settings.shards > 1:
        state = "made with" if made else "new; the first process will make it with"
        yield Finding("store", Verdict.OK, f"{state} {settings.shards} shards, and each answers")


def _of_server(server: Server, shards: int, url: str) -> Iterator[Finding]:
    name = server.name or url
    serves = _serves(server, shards)
    if server.facts is None:
        bad = Verdict.FAIL if server.node is not None and server.node.tags(shards) else Verdict.WARN
        yield Finding("store", bad, f"{name}{serves} does not answer: {server.problem}")
        return
    version = server.facts.version or "one of unknown version"
    yield Finding("store", Verdict.OK, f"{version} answers at {name}{serves}")
    for danger in dangers_of_server(server):
        yield Finding("store", Verdict(danger.severity.value), f"{name}: {danger.sentence}")


def _serves(server: Server, shards: int) -> str:
    if server.node is None:
        return ""
    if not server.node.ranges:
        return " (a replica, or spare)"
    mine = server.node.tags(shards)
    return f" (shards tagged {', '.join(mine)})" if mine else " (no shard)"


def _of_cluster(url: str, found: list[Server], shards: int) -> Iterator[Finding]:
    nodes = [server.node for server in found if server.node is not None and server.node.ranges]
    counts = [len(node.tags(shards)) for node in nodes]
    served = {tag for node in nodes for tag in node.tags(shards)}
    missing = [tag for tag in tags(shards) if tag not in served]
    if missing:
        advice = "`redis-cli --cluster fix` gives them a node"
        yield Finding("store", Verdict.FAIL, f"nobody serves the shards tagged {', '.join(missing)}: {advice}")
    elif (gone := uncovered(url)) > 0:
        yield Finding("store", Verdict.FAIL, f"{gone} of the cluster's slots have no server that lives")
    if counts and max(counts) - min(counts) > 1:
        spread = ", ".join(map(str, counts))
        advice = "equal parts of the slots, and shards that are a multiple of the nodes, spread them evenly"
        detail = f"the nodes have {spread} shards: {advice}"
        yield Finding("store", Verdict.WARN, detail)
