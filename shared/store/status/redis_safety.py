"""Dangers of a Redis: in its settings, its version and its state."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import ResponseError

from riskline.shared.log import get_logger
from riskline.shared.store.connect.connection import redis_faults_named

log = get_logger(__name__)

OLDEST_REDIS = (6, 2)

FULL_FROM = 0.9
"""Share of maxmemory from which Redis counts as full: a burst still fits, and there is time to act."""

WANTED_REDIS = {
    "appendonly": ("yes", "accepted transactions are lost when Redis restarts"),
    "appendfsync": ("always", "the last second's accepted transactions are lost at a power cut"),
    "maxmemory-policy": ("noeviction", "Redis may drop accepted transactions when its memory is full"),
}

ASKED_SETTINGS = (*WANTED_REDIS, "save", "stop-writes-on-bgsave-error", "min-replicas-to-write")
"""Settings that are read from every Redis; CLUSTER_SETTING also, in a cluster."""

CLUSTER_SETTING = "cluster-require-full-coverage"


class Severity(StrEnum):
    """The severity of a danger."""

    WARN = "warn"
    """A legitimate choice, or something that may become a danger."""

    FAIL = "fail"
    """A promise of Riskline is broken, or will be."""


class Danger(NamedTuple):
    """A setting or state that should be different; `found` is None where Redis does not show it."""

    setting: str
    found: str | None
    wanted: str
    consequence: str
    remedy: str
    severity: Severity = Severity.FAIL

    @property
    def sentence(self) -> str:
        """The danger and its remedy in one sentence."""
        if self.found is None:
            return f"does not let us read {self.setting}: see that it is {self.wanted}, else {self.consequence}"
        return f"{self.setting} is {self.found}: {self.consequence}; {self.remedy}"


class ServerFacts(NamedTuple):
    """The settings and INFO of a Redis, as far as it shows them."""

    settings: Mapping[str, str]
    info: Mapping[str, Any]

    @property
    def version(self) -> str | None:
        """The version as Redis or valkey shows it; valkey shows the Redis version that it is compatible with."""
        version = self.info.get("redis_version")
        return None if version is None else str(version)

    @property
    def too_old(self) -> bool:
        """True where the version is known to be too old for Riskline's scripts."""
        numbers = re.match(r"(\d+)\.(\d+)", self.version or "")
        return numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_REDIS


def facts_of(redis: Redis) -> ServerFacts:
    """The facts of this Redis.

    Raises:
        StoreUnavailableError: it does not answer.
    """
    settings: dict[Any, Any] = {}
    info: Any = {}
    with redis_faults_named():
        # CONFIG is refused by most managed Redis, INFO by some access lists
        with suppress(ResponseError):
            for name in (*ASKED_SETTINGS, CLUSTER_SETTING):
                settings.update(redis.config_get(name))
        with suppress(ResponseError):
            info = redis.info()
    return _put_together(settings, info)


def _put_together(settings: dict[str, str], info: Mapping[str, Any]) -> ServerFacts:
    known_from_info = {}
    if "aof_enabled" in info:
        known_from_info["appendonly"] = "yes" if info["aof_enabled"] else "no"
    if "maxmemory_policy" in info:
        known_from_info["maxmemory-policy"] = str(info["maxmemory_policy"])
    return ServerFacts({**known_from_info, **settings}, info)


def dangers(facts: ServerFacts) -> list[Danger]:
    """The dangers, the worst first."""
    if facts.too_old:
        remedy = "install Redis 6.2 or later, or valkey"
        return [Danger("version", facts.version, "6.2 or later", "Riskline's scripts do not run", remedy)]
    found = [*_of_settings(facts.settings), *_of_role(facts), *_of_replicas(facts), *_of_health(facts)]
    if not facts.info:
        consequence = "it may be too old, a replica, or full without notice"
        found.append(Danger("INFO", None, "allowed", consequence, "allow INFO", Severity.WARN))
    return sorted(found, key=lambda danger: danger.severity is not Severity.FAIL)


def warn(found: Sequence[Danger], **where: str) -> None:
    """Logs one warning for each danger; leaves out unknown settings, which `riskline doctor` reports."""
    for danger in found:
        if danger.found is not None:
            log.warning(
                "Redis is not safe to use as it is",
                setting=danger.setting,
                found=danger.found,
                consequence=danger.consequence,
                remedy=danger.remedy,
                **where,
            )


def _of_settings(settings: Mapping[str, str]) -> list[Danger]:
    found = []
    for name, (wanted, consequence) in WANTED_REDIS.items():
        value = settings.get(name)
        if value != wanted:
            # without a file a promise of the API is broken; the others are legitimate choices
            choice = value is None or (name == "appendfsync" and value == "everysec")
            severity = Severity.WARN if choice else Severity.FAIL
            found.append(Danger(name, value, wanted, consequence, f"set `{name} {wanted}`", severity))
    return found


def _of_role(facts: ServerFacts) -> list[Danger]:
    info = facts.info
    if info.get("role") == "slave" and info.get("slave_read_only", 1):
        remedy = "name the master, or its sentinels, in REDIS_URL"
        return [Danger("role", "read-only replica", "master", "nothing can be queued or recorded", remedy)]
    if info.get("cluster_enabled"):
        consequence = "what other nodes have is not found"
        remedy = "name it in RISKLINE_STORE_URL as redis+cluster://, and another Redis in REDIS_URL"
        return [Danger("cluster-enabled", "yes", "no", consequence, remedy)]
    return []


def _of_replicas(facts: ServerFacts) -> list[Danger]:
    info, name = facts.info, "min-replicas-to-write"
    replicas, needed = int(info.get("connected_slaves", 0)), facts.settings.get(name)
    if info.get("role") != "master" or needed is None or not needed.isdigit() or int(needed) >= replicas:
        return []
    # a promoted replica no longer counts: with fewer, the rest would let the old primary go on
    consequence = f"of {replicas} connected replicas; a master that is replaced goes on accepting what is then lost"
    remedy = f"set `{name} {replicas}`, or RISKLINE_REPLICAS={replicas}, for the Riskline processes"
    return [Danger(name, needed, str(replicas), consequence, remedy, Severity.WARN)]


def _of_health(facts: ServerFacts) -> list[Danger]:
    info = facts.info
    found = []
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        found.append(_failing("aof_last_write_status", info["aof_last_write_status"]))
    if info.get("rdb_last_bgsave_status", "ok") != "ok" and _stops_at_failed_snapshot(facts.settings):
        found.append(_failing("rdb_last_bgsave_status", info["rdb_last_bgsave_status"]))
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > most * FULL_FROM:
        remedy = "give it more, or keep results for less long (RISKLINE_RESULT_TTL)"
        percent = f"{100 * used // most} % of maxmemory"
        found.append(
            Danger("used_memory", percent, "below 90 %", "Redis will refuse submissions", remedy, Severity.WARN)
        )
    return found


def _stops_at_failed_snapshot(settings: Mapping[str, str]) -> bool:
    """True where a failed snapshot stops writes; assumes Redis's defaults where it does not show them."""
    return settings.get("stop-writes-on-bgsave-error", "yes") == "yes" and settings.get("save", "3600 1") != ""


def _failing(name: str, status: object) -> Danger:
    return Danger(name, str(status), "ok", "Redis refuses every write", "see its log and whether its disk is full")
