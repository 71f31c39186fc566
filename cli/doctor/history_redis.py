"""`riskline doctor`: the Redis of the history, and its secret."""

import asyncio
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.store import DOCTOR_SECONDS
from riskline.cli.up.redis_fault import without_password, without_redis
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.errors import HistoryUnavailableError, RisklineError, SettingsError, StoreUnavailableError
from riskline.shared.settings import Settings
from riskline.shared.store.history.opening import open_history
from riskline.shared.store.history.secret import history_secret, secret_file
from riskline.shared.store.status.redis_safety import WANTED_REDIS, dangers
from riskline.shared.store.status.servers import ServerReport, servers

CHECK = "history"

WANTED = {
    "appendonly": ("yes", "all history is lost when Redis restarts"),
    "maxmemory-policy": (
        "noeviction",
        "Redis may drop entities when its memory is full; columns then count too few",
    ),
}
"""Of a Redis of its own. Any `appendfsync` will do: a power cut takes the events of a second."""

OTHERS_MAY_READ = 0o077


def check_history_redis(settings: Settings) -> Iterator[Finding]:
    """Checks the history of a class that has one: that it answers, keeps what it has, and knows the secret."""
    history = None
    with suppress(RisklineError):
        # a class that cannot be loaded is told with the model
        history = history_of(load_transaction_class(settings.transaction))
    if history is None:
        return
    knows_secret = yield from _secret(settings)
    if settings.redis_url is None and settings.history_url is None:
        return
    if settings.history_url not in (None, settings.redis_url, settings.store_url):
        yield from _of_own_redis(settings.history_url)
    if knows_secret:
        yield _answers(settings, history)


def _secret(settings: Settings) -> Generator[Finding, None, bool]:
    """Returns True where there is a secret; it makes none, as this may not be where the API runs."""
    file = secret_file(settings)
    if settings.history_secret is None and not file.exists():
        yield Finding(CHECK, Verdict.OK, f"no secret yet: the first API process makes {file}")
        return False
    try:
        history_secret(settings)
    except SettingsError as error:
        yield Finding(CHECK, Verdict.FAIL, str(error))
        return False
    if settings.history_secret is None and stat.S_IMODE(file.stat().st_mode) & OTHERS_MAY_READ:
        yield Finding(CHECK, Verdict.WARN, f"others may read {file}: `chmod 600` it")
    return True


def _of_own_redis(url: str) -> Iterator[Finding]:
    shown = without_password(url)
    try:
        found = list(servers(url, timeout_seconds=DOCTOR_SECONDS))
    except StoreUnavailableError as error:
        yield Finding(CHECK, Verdict.FAIL, without_redis(shown, error.__cause__, variable="RISKLINE_HISTORY_URL"))
        return
    for server in found:
        yield from _of_server(server, server.name or shown)


def _of_server(server: ServerReport, name: str) -> Iterator[Finding]:
    if server.facts is None:
        yield Finding(CHECK, Verdict.FAIL, f"{name} does not answer: {server.problem}")
        return
    yield Finding(CHECK, Verdict.OK, f"{server.facts.version or 'one of unknown version'} answers at {name}")
    for setting, (wanted, consequence) in WANTED.items():
        value = server.facts.settings.get(setting, wanted)
        if value != wanted:
            remedy = f"set it to {wanted}"
            yield Finding(CHECK, Verdict.FAIL, f"{name}: {setting} is {value}: {consequence}; {remedy}")
    for danger in dangers(server.facts):
        if danger.setting not in WANTED_REDIS:
            yield Finding(CHECK, Verdict(danger.severity.value), f"{name}: {danger.sentence}")


def _answers(settings: Settings, history: History) -> Finding:
    try:
        asyncio.run(_warm(settings, history))
    except HistoryUnavailableError as error:
        return Finding(CHECK, Verdict.FAIL, str(error))
    return Finding(CHECK, Verdict.OK, "answers, and was kept with our secret")


async def _warm(settings: Settings, history: History) -> None:
    store = open_history(settings, history, timeout_seconds=DOCTOR_SECONDS)
    try:
        await store.warm()
    finally:
        await store.close()
