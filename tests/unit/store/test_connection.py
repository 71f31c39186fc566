import asyncio
from typing import Any

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.connection import SSLConnection
from redis.exceptions import ReadOnlyError, ResponseError
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from riskline.cli.up.redis_fault import without_password
from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from riskline.shared.store.connect.connection import connect, connect_async
from riskline.shared.store.connect.failover import left_master
from riskline.shared.store.connect.sentinel import Sentinels
from riskline.shared.store.connect.url import parse_sentinel_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://one/main", {"sentinels": (("one", 26379),), "master": "main", "db": 0, "tls": False}),
        (
            "redis+sentinel://one:1,two:2,three/main/3",
            {"sentinels": (("one", 1), ("two", 2), ("three", 26379)), "db": 3},
        ),
        (
            "redis+sentinel://[::1]:1,[fe80::2],10.0.0.3:4/m",
            {"sentinels": (("::1", 1), ("fe80::2", 26379), ("10.0.0.3", 4))},
        ),
        ("redis+sentinel://one/main?db=5", {"db": 5}),
        ("redis+sentinel://one/my%20main/", {"master": "my main", "db": 0}),
        ("redis+sentinel://one/main", {"username": None, "password": None, "sentinel_password": None}),
        ("redis+sentinel://:p%40%2Fw@one/main", {"username": None, "password": "p@/w"}),
        ("redis+sentinel://me:pw@one,two/main", {"username": "me", "password": "pw", "sentinel_password": None}),
        (
            "redis+sentinel://:pw@one/main?sentinel_username=s&sentinel_password=a%26b",
            {"password": "pw", "sentinel_username": "s", "sentinel_password": "a&b"},
        ),
        ("rediss+sentinel://one/main?ssl_ca_certs=/ca.pem", {"tls": True, "tls_options": {"ssl_ca_certs": "/ca.pem"}}),
    ],
)
def test_a_url_with_sentinels_is_taken_apart(url: str, expected: dict[str, Any]) -> None:
    parsed = parse_sentinel_url(url)

    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        (f":{SECRET}@/main", "names no host"),
        ("", "names no host"),
        (f":{SECRET}@one:1,two:2", "names no master"),
        (f":{SECRET}@one:1/", "names no master"),
        ("one,,two/main", "without a host"),
        (f":{SECRET}@one:many/main", "no number from 1 to 65535"),
        ("one:0/main", "no number from 1 to 65535"),
        ("one:65536/main", "no number from 1 to 65535"),
        ("::1:26379/main", r"an IPv6 host needs \[ \]"),
        ("one/main/first", "not the number of a database"),
        ("one/main?db=first", "not the number of a database"),
        (f"user:{SECRET}/more@one/main", "must have a / in its password as %2F"),
        (f"user:{SECRET}?more@one/main", "no number from 1 to 65535|names no master"),
        ("one/main?socket_timout=1", "unknown option socket_timout: known are sentinel_username"),
        ("one/main?ssl_ca_certs=/ca.pem", r"need rediss\+sentinel"),
    ],
)
def test_a_url_with_sentinels_that_cannot_be_used_stops_the_start_and_shows_no_password(
    rest: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as refused:
        load_settings(redis_url=f"redis+sentinel://{rest}")

    assert str(refused.value).startswith("REDIS_URL: ")
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_url_with_sentinels_is_a_setting_and_shows_no_password() -> None:
    url = f"redis+sentinel://:{SECRET}@one,two/main?sentinel_password={SECRET}"

    assert load_settings(redis_url=url).redis_url == url
    assert SECRET not in repr(parse_sentinel_url(url))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis+sentinel://me:{SECRET}@[::1]:1,two:2/main/1", "redis+sentinel://me:***@[::1]:1,two:2/main/1"),
        (
            f"redis+sentinel://one/m?sentinel_password={SECRET}&db=1",
            "redis+sentinel://one/m?sentinel_password=***&db=1",
        ),
        (
            f"redis+sentinel://:{SECRET}@h/m?sentinel_password={SECRET}",
            "redis+sentinel://:***@h/m?sentinel_password=***",
        ),
        (f"unix:///run/redis.sock?db=1&password={SECRET}", "unix:///run/redis.sock?db=1&password=***"),
        (f"redis://:{SECRET}/unencoded@host/0", "redis://:***@host/0"),
        ("redis+sentinel://[::1]:1,two:2/main", "redis+sentinel://[::1]:1,two:2/main"),
        ("redis://user@[::1]:6379/0", "redis://user@[::1]:6379/0"),
    ],
)
def test_no_password_is_shown_wherever_it_stands_in_the_url(url: str, shown: str) -> None:
    assert without_password(url) == shown


async def test_with_sentinels_a_command_of_the_event_loop_waits_for_a_free_connection_as_without() -> None:
    for url in ("redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/main"):
        client = connect_async(url, timeout_seconds=1.5)

        assert isinstance(client.connection_pool, BlockingConnectionPool)
        assert client.connection_pool.timeout == 1.5
        await client.aclose()


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel"])
def test_tls_is_spoken_with_what_the_url_says_of_it(scheme: str) -> None:
    client = connect(f"{scheme}://127.0.0.1:1/main?ssl_ca_certs=/ca.pem&ssl_check_hostname=no")

    pool = client.connection_pool
    assert issubclass(pool.connection_class, SSLConnection)
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert pool.connection_kwargs["ssl_check_hostname"] is False


def test_redis_gets_its_password_and_the_sentinels_theirs() -> None:
    client = connect("redis+sentinel://me:redis@127.0.0.1:1/main/4?sentinel_password=sentinels")

    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert {name: pool.connection_kwargs[name] for name in ("username", "password", "db")} == {
        "username": "me",
        "password": "redis",
        "db": 4,
    }
    assert pool.sentinel_manager._options["username"] is None
    assert pool.sentinel_manager._options["password"] == "sentinels"


def test_when_no_sentinel_answers_it_is_said_which_were_asked_and_no_password() -> None:
    client = connect(f"redis+sentinel://:{SECRET}@127.0.0.1:1,[::1]:2/main?sentinel_password={SECRET}", retries=0)

    with pytest.raises(MasterNotFoundError, match=r"'main' that is up \(127\.0\.0\.1:1: .*; \[::1\]:2: ") as raised:
        client.ping()

    assert SECRET not in str(raised.value)


def test_the_sentinel_that_answered_is_asked_first_and_none_is_forgotten_whoever_asks_at_once() -> None:
    sentinels = Sentinels(parse_sentinel_url("redis+sentinel://a,b,c/main"), timeout_seconds=1)
    up = {"main": {"ip": "10.0.0.1", "port": 6379, "is_sdown": False, "is_odown": False, "is_master": True}}

    for host in ("b", "b", "c"):
        assert sentinels._learn("main", (host, 26379), up) == ("10.0.0.1", 6379)

    assert [host for host, _ in sentinels._addresses] == ["c", "b", "a"]


@pytest.mark.parametrize("state", [None, {"is_sdown": True}, {"is_odown": True}, {"is_master": False}])
def test_a_master_that_a_sentinel_takes_for_dead_is_not_used(state: dict[str, bool] | None) -> None:
    sentinels = Sentinels(parse_sentinel_url("redis+sentinel://a/main"), timeout_seconds=1)
    alive = {"ip": "10.0.0.1", "port": 6379, "is_sdown": False, "is_odown": False, "is_master": True}

    found = sentinels._learn("main", ("a", 1), {} if state is None else {"main": {**alive, **state}})

    assert isinstance(found, str)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ReadOnlyError("You can't write against a read only replica."), True),
        (ResponseError("Error running script (call to f_1): @user_script:1: -READONLY You can't write"), True),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (ResponseError("Error running script (call to f_1): @user_script: 1: -NOREPLICAS Not enough good"), True),
        (ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), True),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False),
        (ResponseError("OOM command not allowed when used memory > 'maxmemory'."), False),
    ],
)
def test_a_server_that_is_not_the_master_is_known_by_its_answers(error: ResponseError, expected: bool) -> None:
    assert left_master(error) is expected


def test_closing_a_client_that_never_connected_needs_no_sentinel() -> None:
    connect("redis+sentinel://127.0.0.1:1/main").close()
    asyncio.run(connect_async("redis+sentinel://127.0.0.1:1/main", timeout_seconds=1).aclose())


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"redis://me:{SECRET}/word@localhost:6379/0", "%2F"),
        (f"redis://me:{SECRET}#word@localhost:6379/0", "%23"),
        (f"redis://:{SECRET}@localhost:many", "no number from 0 to 65535"),
        ("redis://localhost:6379/first", "not the number of a database"),
        ("redis://localhost:6379/0?bogus=1", "unknown option bogus"),
        ("redis://localhost:6379/0?decode_responses=true", "unknown option decode_responses"),
        ("redis://localhost:6379?db=one", "an option db that is no number"),
    ],
)
def test_a_url_that_redis_py_could_not_use_stops_the_start_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, url: str, problem: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert problem in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://me:p%2Fw@localhost:6379/1?protocol=3",
        "rediss://localhost:6380/0?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock?db=2",
        "redis://[::1]:6379/0",
    ],
)
def test_a_url_that_can_be_used_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    assert load_settings().redis_url == url
