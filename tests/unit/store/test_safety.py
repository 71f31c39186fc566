from typing import Any

import pytest
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.status.redis_safety import Danger, ServerFacts, Severity, dangers, facts_of, warn

SAFE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
    "stop-writes-on-bgsave-error": "yes",
    "min-replicas-to-write": "0",
}
HEALTHY = {
    "redis_version": "7.2.4",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory_policy": "noeviction",
    "used_memory": 50,
    "maxmemory": 100,
}


class SaidByRedis:
    """A Redis that says this of itself."""

    def __init__(self, settings: Any, info: Any) -> None:
        self._settings = settings
        self._info = info

    def config_get(self, name: str) -> dict[str, str]:
        if isinstance(self._settings, Exception):
            raise self._settings
        return {name: self._settings[name]} if name in self._settings else {}

    def info(self) -> Any:
        if isinstance(self._info, Exception):
            raise self._info
        return self._info


def named(found: list[Danger]) -> dict[str, tuple[str | None, str]]:
    return {danger.setting: (danger.found, danger.severity.value) for danger in found}


def test_a_redis_that_is_set_up_as_ours_is_safe() -> None:
    assert dangers(ServerFacts(SAFE, HEALTHY)) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"appendonly": "no"}, {"appendonly": ("no", "fail")}),
        ({"appendfsync": "everysec"}, {"appendfsync": ("everysec", "warn")}),
        ({"appendfsync": "no"}, {"appendfsync": ("no", "fail")}),
        ({"maxmemory-policy": "allkeys-lru"}, {"maxmemory-policy": ("allkeys-lru", "fail")}),
    ],
)
def test_a_setting_that_loses_transactions_is_a_danger(
    settings: dict[str, str], expected: dict[str, tuple[str, str]]
) -> None:
    assert named(dangers(ServerFacts({**SAFE, **settings}, HEALTHY))) == expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"redis_version": "6.0.16"}, {"version": ("6.0.16", "fail")}),
        ({"redis_version": "255.255.255"}, {}),
        ({"redis_version": "unstable"}, {}),
        ({"role": "slave", "slave_read_only": 1}, {"role": ("read-only replica", "fail")}),
        ({"cluster_enabled": 1}, {"cluster-enabled": ("yes", "fail")}),
        ({"role": "slave", "slave_read_only": 0}, {}),
        ({"connected_slaves": 1}, {"min-replicas-to-write": ("0", "warn")}),
        ({"aof_last_write_status": "err"}, {"aof_last_write_status": ("err", "fail")}),
        ({"aof_last_write_status": "err", "aof_enabled": 0}, {}),
        ({"used_memory": 91}, {"used_memory": ("91 % of maxmemory", "warn")}),
        ({"used_memory": 91, "maxmemory": 0}, {}),
    ],
)
def test_what_redis_is_and_how_it_fares_can_be_a_danger(
    info: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    assert named(dangers(ServerFacts(SAFE, {**HEALTHY, **info}))) == expected


def test_a_master_that_needs_its_replicas_is_safe() -> None:
    assert dangers(ServerFacts({**SAFE, "min-replicas-to-write": "2"}, {**HEALTHY, "connected_slaves": 2})) == []


def test_a_master_that_goes_on_without_the_replica_that_is_promoted_is_a_danger() -> None:
    # SENTINEL FAILOVER with 1 of 2 lost 51 and 33 accepted transactions
    [danger] = dangers(ServerFacts({**SAFE, "min-replicas-to-write": "1"}, {**HEALTHY, "connected_slaves": 2}))

    assert (danger.setting, danger.found, danger.wanted) == ("min-replicas-to-write", "1", "2")
    assert "set `min-replicas-to-write 2`, or RISKLINE_REPLICAS=2" in danger.sentence


@pytest.mark.parametrize(
    ("settings", "dangerous"),
    [
        ({"save": ""}, False),
        ({"save": "3600 1"}, True),
        ({"save": "3600 1", "stop-writes-on-bgsave-error": "no"}, False),
    ],
)
def test_a_failed_snapshot_is_a_danger_where_redis_then_refuses_writes(
    settings: dict[str, str], dangerous: bool
) -> None:
    found = dangers(ServerFacts({**SAFE, **settings}, {**HEALTHY, "rdb_last_bgsave_status": "err"}))

    assert ("rdb_last_bgsave_status" in named(found)) is dangerous


@pytest.mark.parametrize("refusal", [ResponseError("unknown command 'CONFIG'"), NoPermissionError("no permissions")])
def test_where_config_is_refused_info_says_most_and_the_rest_is_said_to_be_unknown(refusal: ResponseError) -> None:
    safe = dangers(facts_of(SaidByRedis(refusal, HEALTHY)))  # type: ignore[arg-type]
    unsafe = dangers(facts_of(SaidByRedis(refusal, {**HEALTHY, "aof_enabled": 0, "maxmemory_policy": "volatile-lru"})))  # type: ignore[arg-type]

    assert named(safe) == {"appendfsync": (None, "warn")}
    assert named(unsafe) == {
        "appendonly": ("no", "fail"),
        "maxmemory-policy": ("volatile-lru", "fail"),
        "appendfsync": (None, "warn"),
    }
    assert safe[0].sentence == (
        "does not let us read appendfsync: see that it is always, else "
        "the last second's accepted transactions are lost at a power cut"
    )


def test_where_everything_is_refused_all_is_unknown_and_nothing_is_claimed() -> None:
    refusal = NoPermissionError("no permissions")

    found = dangers(facts_of(SaidByRedis(refusal, refusal)))  # type: ignore[arg-type]

    assert named(found) == dict.fromkeys(
        ("appendonly", "appendfsync", "maxmemory-policy", "INFO"), (None, Severity.WARN.value)
    )


def test_what_breaks_a_promise_comes_before_what_may_become_a_danger() -> None:
    settings, info = {**SAFE, "appendonly": "no"}, {**HEALTHY, "used_memory": 99}

    found = dangers(facts_of(SaidByRedis(settings, info)))  # type: ignore[arg-type]

    assert [danger.setting for danger in found] == ["appendonly", "used_memory"]


def test_a_redis_that_does_not_answer_is_unavailable_not_safe() -> None:
    away = RedisConnectionError("away")

    with pytest.raises(StoreUnavailableError):
        facts_of(SaidByRedis(away, away))  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailableError):
        dangers(facts_of(SaidByRedis(SAFE, away)))  # type: ignore[arg-type]


def test_one_warning_is_logged_for_each_danger_and_none_for_what_is_not_known() -> None:
    facts = facts_of(SaidByRedis(ResponseError("no CONFIG"), {**HEALTHY, "aof_enabled": 0, "role": "slave"}))  # type: ignore[arg-type]
    found = dangers(facts)

    with structlog.testing.capture_logs() as logs:
        warn(found)

    assert [(line["log_level"], line["setting"], line["found"]) for line in logs] == [
        ("warning", "appendonly", "no"),
        ("warning", "role", "read-only replica"),
    ]
    assert all(line["consequence"] and line["remedy"] for line in logs)
