"""`riskline doctor`: the store, its servers, its shards and its losses."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.installation import OpenStore, open_store
from riskline.cli.up.redis_fault import without_password, without_redis
from riskline.shared.errors import InstallationError, StoreUnavailableError
from riskline.shared.settings import Settings
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.connect.url import is_cluster_url
from riskline.shared.store.keys import Keys
from riskline.shared.store.sharding.layout import OtherLayoutError
from riskline.shared.store.sharding.shards import all_keys, tags
from riskline.shared.store.status.identity import Identity, RememberedShard, memory_of
from riskline.shared.store.status.servers import ServerReport, dangers_of_server, servers, uncovered

DOCTOR_SECONDS = 2.0
"""For each answer of Redis: one that hangs costs the whole diagnosis this once or twice."""


def check_store(settings: Settings) -> Generator[Finding, None, bool]:
    """Checks that each server of the store answers, lists its dangers, and finds shards without a server.

    Returns True where each shard answers.
    """
    url = settings.required_store_url
    shown = without_password(url)
    try:
        found = list(servers(url, timeout_seconds=DOCTOR_SECONDS))
    except StoreUnavailableError as error:
        yield Finding("store", Verdict.FAIL, without_redis(shown, error.__cause__, variable="RISKLINE_STORE_URL"))
        return False
    for server in found:
        yield from _of_server(server, settings.shards, shown)
    if is_cluster_url(url):
        yield from _of_cluster(url, found, settings.shards)
    return (yield from check_layout(settings))


def check_layout(settings: Settings) -> Generator[Finding, None, bool]:
    """Checks the number of shards against the setting; returns True where each shard answers."""
    keys = all_keys(settings.shards)
    with (
        open_store(settings, timeout_seconds=DOCTOR_SECONDS) as store,
        ThreadPoolExecutor(settings.shards) as threads,
    ):
        # at once: those of a node that hangs would wait for it one after another
        answers = list(threads.map(_layout_of, store.shards, keys))
    others = [each for each in answers if isinstance(each, OtherLayoutError)]
    if others:
        yield Finding("store", Verdict.FAIL, str(others[0]))
        return False
    away, made = answers.count(None), all(answers)
    if settings.shards > 1 and away:
        yield Finding("store", Verdict.FAIL, f"{away} of {settings.shards} shards do not answer")
    elif settings.shards > 1:
        state = "made with" if made else "new; the first process will make it with"
        yield Finding("store", Verdict.OK, f"{state} {settings.shards} shards, and each answers")
    return not away


def _layout_of(redis: Redis, keys: Keys) -> bool | OtherLayoutError | None:
    """True where a shard holds its layout; the error of another layout; None where it does not answer."""
    try:
        with redis_faults_named():
            return redis.get(keys.shards) is not None
    except StoreUnavailableError as error:
        return error.__cause__ if isinstance(error.__cause__, OtherLayoutError) else None


def _of_server(server: ServerReport, shards: int, url: str) -> Iterator[Finding]:
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


def _serves(server: ServerReport, shards: int) -> str:
    if server.node is None:
        return ""
    if not server.node.ranges:
        return " (a replica, or spare)"
    mine = server.node.tags(shards)
    return f" (shards tagged {', '.join(mine)})" if mine else " (no shard)"


def _of_cluster(url: str, found: list[ServerReport], shards: int) -> Iterator[Finding]:
    nodes = [server.node for server in found if server.node is not None and server.node.ranges]
    counts = [len(node.tags(shards)) for node in nodes]
    served = {tag for node in nodes for tag in node.tags(shards)}
    missing = [tag for tag in tags(shards) if tag not in served]
    if missing:
        advice = "`redis-cli --cluster fix` gives them a node"
        yield Finding("store", Verdict.FAIL, f"nobody serves the shards tagged {', '.join(missing)}: {advice}")
    elif (gone := uncovered(url, timeout_seconds=DOCTOR_SECONDS)) > 0:
        yield Finding("store", Verdict.FAIL, f"{gone} of the cluster's slots have no server that lives")
    if counts and max(counts) - min(counts) > 1:
        spread = ", ".join(map(str, counts))
        advice = "equal parts of the slots, and shards that are a multiple of the nodes, spread them evenly"
        detail = f"the nodes have {spread} shards: {advice}"
        yield Finding("store", Verdict.WARN, detail)


def check_identity(settings: Settings, store: OpenStore) -> Finding:
    """Compares the identity of the store with the one that the data directory remembers.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    lost = list(losses(settings, store))
    if not lost:
        remembered = memory_of(settings.data, settings.required_store_url).read()
        if not remembered.keys() >= {keys.shard for keys in all_keys(settings.shards)}:
            unknown = f"no loss is noted in it; {settings.data} does not know it from before, so none can be found here"
            return Finding("store", Verdict.OK, unknown)
        return Finding("store", Verdict.OK, "it is the one that it was, and has all that it had accepted")
    advice = "find out why, tell its clients, then `riskline doctor --accept-loss`"
    return Finding("store", Verdict.FAIL, f"it has lost data: {'; '.join(lost)}: {advice}")


def losses(settings: Settings, store: OpenStore) -> Iterator[str]:
    """The losses of each shard that no operator has accepted, in words; raises as above."""
    remembered = memory_of(settings.data, settings.required_store_url).read()
    for redis, keys in zip(store.shards, all_keys(settings.shards), strict=True):
        state = Identity(redis, keys=keys).read()
        lost = state.lost or state.differs_from(remembered.get(keys.shard))
        if lost is not None:
            since = f" (found {state.lost_at})" if state.lost_at else ""
            yield (f"shard {keys.shard}: " if settings.shards > 1 else "") + lost + since


def accept_losses(settings: Settings, store: OpenStore) -> list[str]:
    """Accepts the store as it is, and returns its losses in words.

    Raises:
        InstallationError: the data directory cannot be written.
        StoreUnavailableError: Redis failed.
    """
    known, lost = {}, list(losses(settings, store))
    for redis, keys in zip(store.shards, all_keys(settings.shards), strict=True):
        identity = Identity(redis, keys=keys)
        identity.accept_loss()
        state = identity.read()
        if state.identity is not None:
            known[keys.shard] = RememberedShard(state.identity, state.accepted)
    try:
        memory_of(settings.data, settings.required_store_url).write(known)
    except OSError as error:
        raise InstallationError(
            f"{settings.data} cannot be written ({error}): name the directory with --data"
        ) from error
    return lost
