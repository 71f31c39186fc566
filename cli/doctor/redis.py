"""`riskline doctor`: Redis, the workers and the callbacks."""

from collections.abc import Generator, Iterator, Sequence

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.store import DOCTOR_SECONDS, check_identity, check_layout, check_store
from riskline.cli.installation import Installation, open_store
from riskline.cli.up.redis_fault import without_password, without_redis
from riskline.cli.up.redis_server import find_server, probe
from riskline.shared.errors import InstallationError, StoreUnavailableError
from riskline.shared.settings import Settings
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.operations import AllAudits
from riskline.shared.store.status.counts import Counts, together
from riskline.shared.store.status.processes import Processes, ProcessState
from riskline.shared.store.status.redis_safety import WANTED_REDIS, dangers, facts_of
from riskline.shared.wording import counted


def check_redis(settings: Settings) -> Generator[Finding, None, bool]:
    """Checks that Redis answers or can be started, and lists its dangers; returns True where the store answers."""
    if settings.redis_url is None:
        yield _startable(settings)
        return False
    if settings.required_store_url != settings.redis_url:
        yield _tickets(settings.redis_url)
        return (yield from check_store(settings))
    url = without_password(settings.redis_url)
    redis = probe(settings.redis_url, timeout_seconds=DOCTOR_SECONDS)
    try:
        with redis_faults_named():
            redis.ping()
        facts = facts_of(redis)
    except StoreUnavailableError as error:
        yield Finding("redis", Verdict.FAIL, without_redis(url, error.__cause__))
        return False
    finally:
        redis.close()
    if facts.too_old:
        yield Finding("redis", Verdict.FAIL, f"{facts.version} at {url} is too old: 6.2 is the least")
        return False
    yield Finding("redis", Verdict.OK, f"{facts.version or 'one of unknown version'} answers at {url}")
    found = dangers(facts)
    amiss = {danger.setting for danger in found}
    for name in WANTED_REDIS:
        if name not in amiss:
            yield Finding("redis", Verdict.OK, f"{name} {facts.settings[name]}")
    for danger in found:
        yield Finding("redis", Verdict(danger.severity.value), danger.sentence)
    return (yield from check_layout(settings))


def _tickets(url: str) -> Finding:
    """Checks that the Redis of RQ's tickets answers; the workers' sweeps repair what it loses."""
    shown = without_password(url)
    redis = probe(url, timeout_seconds=DOCTOR_SECONDS)
    try:
        with redis_faults_named():
            redis.ping()
    except StoreUnavailableError as error:
        return Finding("redis", Verdict.FAIL, without_redis(shown, error.__cause__))
    finally:
        redis.close()
    return Finding("redis", Verdict.OK, f"answers at {shown}, for RQ's tickets")


def check_work(settings: Settings) -> Iterator[Finding]:
    """Checks that accepted transactions are decided, and that callbacks are signed and delivered."""
    try:
        with open_store(settings, timeout_seconds=DOCTOR_SECONDS) as store:
            counts = together(AllAudits(store.shards).counts())
            processes = Processes(store.first).living()
            identity = check_identity(settings, store)
    except StoreUnavailableError as error:
        yield Finding("workers", Verdict.FAIL, f"nothing is known of them: {error}")
        return
    yield identity
    yield decided_by_workers(counts, processes)
    yield _callbacks(settings, counts)


def decided_by_workers(counts: Counts, processes: Sequence[ProcessState]) -> Finding:
    """Checks that a scoring worker lives where transactions wait or an API accepts them."""
    advice = "start `riskline worker`"
    if counts.workers:
        return Finding("workers", Verdict.OK, f"{counts.workers} live{'s' if counts.workers == 1 else ''}")
    if counts.undecided:
        waiting = counted(counts.undecided, "transaction waits", "transactions wait")
        return Finding("workers", Verdict.FAIL, f"none lives, and {waiting}: {advice}")
    if any(each.kind == "api" for each in processes):
        return Finding("workers", Verdict.FAIL, f"none lives, and the API queues what none will decide: {advice}")
    return Finding("workers", Verdict.WARN, f"none lives, and no API: {advice} and `riskline api`")


def _callbacks(settings: Settings, counts: Counts) -> Finding:
    count = len(settings.callback_secrets)
    signed = (
        f"signed by {count} secret{'s' if count != 1 else ''}" if count else "off: RISKLINE_CALLBACK_SECRET is not set"
    )
    state = f"{signed}; {counts.callbacks_pending} pending, {counts.callbacks_dead_now} given up"
    if counts.nobody_delivers:
        since = f"nobody delivers since {counts.callbacks_overdue_ms / 1000:.0f} s"
        return Finding("callbacks", Verdict.FAIL, f"{state}; {since}: start `riskline worker --queue callbacks`")
    if counts.receivers_paused:
        advice = "`riskline callbacks receivers` says which and until when"
        paused = f"{counts.callbacks_held} wait for receivers that fail and are paused ({counts.receivers_paused})"
        return Finding("callbacks", Verdict.WARN, f"{state}; {paused}: {advice}")
    return Finding("callbacks", Verdict.OK, state)


def _startable(settings: Settings) -> Finding:
    try:
        server = find_server(Installation(settings.data).redis_dir)
    except InstallationError as error:
        return Finding("redis", Verdict.FAIL, str(error))
    return Finding("redis", Verdict.OK, f"none runs; `riskline up` starts {server}")
