"""`riskline doctor`: what it says of Redis."""

from collections.abc import Iterator

from cli.doctor import Finding, Verdict
from cli.doctor_store import check_layout, check_store
from cli.installation import Installation, open_store
from cli.redis_server import find_server, probe
from cli.up import without_password, without_redis
from shared.errors import InstallationError, StoreUnavailableError
from shared.settings import Settings
from shared.store.connection import redis_faults_named
from shared.store.counts import together
from shared.store.safety import WANTED_REDIS, dangers, facts_of
from shared.store.upkeep import AllAudits

ANSWER_SECONDS = 5.0


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Whether it is there, or can be started, and what is dangerous about it."""
    if settings.redis_url is None:
        yield _startable(settings)
        return
    if settings.required_store_url != settings.redis_url:
        yield _tickets(settings.redis_url)
        yield from check_store(settings)
        return
    url = without_password(settings.redis_url)
    redis = probe(settings.redis_url, timeout_seconds=ANSWER_SECONDS)
    try:
        with redis_faults_named():
            redis.ping()
        facts = facts_of(redis)
    except StoreUnavailableError as error:
        yield Finding("redis", Verdict.FAIL, without_redis(url, error.__cause__))
        return
    finally:
        redis.close()
    if facts.too_old:
        yield Finding("redis", Verdict.FAIL, f"{facts.version} at {url} is too old: 6.2 is the least")
        return
    yield Finding("redis", Verdict.OK, f"{facts.version or 'one of unknown version'} answers at {url}")
    found = dangers(facts)
    amiss = {danger.setting for danger in found}
    for name in WANTED_REDIS:
        if name not in amiss:
            yield Finding("redis", Verdict.OK, f"{name} {facts.settings[name]}")
    for danger in found:
        yield Finding("redis", Verdict(danger.severity.value), danger.sentence)
    yield from check_layout(settings)


def _tickets(url: str) -> Finding:
    """Whether the Redis of RQ's tickets is there; what it loses the workers' sweeps make up for."""
    shown = without_password(url)
    redis = probe(url, timeout_seconds=ANSWER_SECONDS)
    try:
        with redis_faults_named():
            redis.ping()
    except StoreUnavailableError as error:
        return Finding("redis", Verdict.FAIL, without_redis(shown, error.__cause__))
    finally:
        redis.close()
    return Finding("redis", Verdict.OK, f"answers at {shown}, for RQ's tickets")


def check_callbacks(settings: Settings) -> Iterator[Finding]:
    """Whether callbacks can be signed, and are delivered."""
    count = len(settings.callback_secrets)
    signed = (
        f"signed by {count} secret{'s' if count != 1 else ''}" if count else "off: RISKLINE_CALLBACK_SECRET is not set"
    )
    if settings.redis_url is None:
        yield Finding("callbacks", Verdict.OK, signed)
        return
    try:
        with open_store(settings) as store:
            counts = together(AllAudits(store.shards).counts())
    except StoreUnavailableError:
        yield Finding("callbacks", Verdict.OK, signed)
        return
    state = f"{signed}; {counts.callbacks_pending} pending, {counts.callbacks_dead_now} given up"
    if counts.nobody_delivers:
        since = f"nobody delivers since {counts.callbacks_overdue_ms / 1000:.0f} s"
        yield Finding("callbacks", Verdict.FAIL, f"{state}; {since}: start `riskline worker --queue callbacks`")
    else:
        yield Finding("callbacks", Verdict.OK, state)


def _startable(settings: Settings) -> Finding:
    try:
        server = find_server(Installation(settings.data).redis_dir)
    except InstallationError as error:
        return Finding("redis", Verdict.FAIL, str(error))
    return Finding("redis", Verdict.OK, f"none runs; `riskline up` starts {server}")
