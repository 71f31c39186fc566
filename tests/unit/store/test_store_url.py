"""Where transactions live: how it is written, what is refused, and that another number of shards is found."""

from typing import Any

import pytest

from riskline.cli.up.redis_fault import without_password
from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from riskline.shared.store.connect.url import parse_cluster_url
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.sharding.layout import Confirmation, OtherLayoutError, UnknownLayoutError, check

SECRET = "hunter2"

REDIS = {"redis_url": "redis://tickets"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+cluster://one", {"nodes": (("one", 6379),), "tls": False, "username": None, "password": None}),
        ("redis+cluster://one:7000,two:7001,[::1]:7002/", {"nodes": (("one", 7000), ("two", 7001), ("::1", 7002))}),
        ("redis+cluster://me:p%40%2Fw@one/0", {"username": "me", "password": "p@/w"}),
        ("rediss+cluster://one?ssl_ca_certs=/ca.pem", {"tls": True, "tls_options": {"ssl_ca_certs": "/ca.pem"}}),
    ],
)
def test_a_url_of_a_cluster_is_taken_apart(url: str, expected: dict[str, Any]) -> None:
    parsed = parse_cluster_url(url)

    assert {name: getattr(parsed, name) for name in expected} == expected
    assert load_settings(**REDIS, store_url=url).store_url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"redis+cluster://:{SECRET}@", "names no node"),
        ("redis+cluster://one,,two", "names a node without a host"),
        (f"redis+cluster://:{SECRET}@one:many", "has a node whose port is no number from 1 to 65535"),
        ("redis+cluster://one/1", "a cluster has only 0"),
        (f"redis+cluster://user:{SECRET}/more@one", "a / in its password as %2F"),
        ("redis+cluster://one?db=0", "unknown option db"),
        ("redis+cluster://one?ssl_ca_certs=/ca.pem", r"they need rediss\+cluster://"),
        ("one:7000", "must begin with one of"),
    ],
)
def test_a_url_that_cannot_be_used_stops_the_start_and_shows_no_password(url: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as refused:
        load_settings(**REDIS, store_url=url)

    assert str(refused.value).startswith("RISKLINE_STORE_URL: ")
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_password_is_never_shown() -> None:
    url = f"redis+cluster://me:{SECRET}@one,two"

    assert SECRET not in repr(parse_cluster_url(url))
    assert without_password(url) == "redis+cluster://me:***@one,two"


def test_tickets_are_not_kept_on_a_cluster() -> None:
    with pytest.raises(
        SettingsError, match="REDIS_URL: must name one Redis, or its sentinels, for RQ's tickets; a cluster"
    ):
        load_settings(redis_url="redis+cluster://one")


def test_without_a_store_of_its_own_transactions_are_where_the_tickets_are() -> None:
    assert load_settings(**REDIS).required_store_url == "redis://tickets"
    assert load_settings(**REDIS, store_url="").required_store_url == "redis://tickets"
    assert load_settings(**REDIS, store_url="redis://store").required_store_url == "redis://store"


@pytest.mark.parametrize("shards", [0, 65])
def test_the_number_of_shards_is_bounded(shards: int) -> None:
    with pytest.raises(SettingsError, match=r"RISKLINE_SHARDS: .*\(default: 1\)"):
        load_settings(shards=shards)


class Connection:
    """A connection to a store in which these keys are."""

    def __init__(self, **kept: bytes) -> None:
        self.kept = kept
        self.is_ready = False
        self._answer: Any = None

    def on_connect(self) -> None:
        self.is_ready = True

    def send_command(self, name: str, key: str, *rest: Any) -> None:
        assert self.is_ready
        short = key.rpartition(":")[2]
        if name == "SET":
            assert rest[-1] == "NX"
            self.kept.setdefault(short, str(rest[0]).encode())
        self._answer = self.kept.get(short) if name == "GET" else int(short in self.kept)

    def read_response(self) -> Any:
        return self._answer


def test_an_empty_store_gets_the_number_of_shards_that_is_set() -> None:
    connection = Connection()

    check(3, FIRST)(connection)
    check(3, FIRST)(connection)

    assert connection.kept == {"shards": b"3"}


def test_a_shard_that_is_new_is_made_once_the_first_has_said_how_many_there_are() -> None:
    confirmation, other = Confirmation(), Connection()

    with pytest.raises(
        UnknownLayoutError, match="not used before the shard that is tagged 0 has said that there are 3"
    ):
        check(3, Keys("11"), confirmation=confirmation)(other)
    assert other.kept == {}
    with pytest.raises(OtherLayoutError):
        check(3, FIRST, confirmation=confirmation)(Connection(shards=b"4"))
    with pytest.raises(UnknownLayoutError):
        check(3, Keys("11"), confirmation=confirmation)(other)

    check(3, FIRST, confirmation=confirmation)(Connection(shards=b"3"))
    check(3, Keys("11"), confirmation=confirmation)(other)
    assert other.kept == {"shards": b"3"}


def test_a_shard_that_says_how_many_there_are_is_used_while_the_first_is_away() -> None:
    check(3, Keys("11"))(Connection(shards=b"3"))


def test_a_command_that_only_looks_leaves_an_empty_store_as_it_is() -> None:
    connection = Connection()

    check(3, FIRST, makes=False)(connection)

    assert connection.kept == {}


def test_one_shard_leaves_a_store_as_it_is_which_may_be_full_or_old() -> None:
    connection = Connection(totals=b"")

    check(1, FIRST)(connection)

    assert connection.kept == {"totals": b""}


@pytest.mark.parametrize(
    ("kept", "shards", "keys", "told"),
    [
        ({"shards": b"3"}, 4, FIRST, "made with 3 shards, and RISKLINE_SHARDS says 4: set RISKLINE_SHARDS to 3"),
        ({"shards": b"3"}, 1, FIRST, "made with 3 shards"),
        ({"shards": b"1"}, 2, FIRST, "made with 1 shard, and"),
        ({"shards": b"3"}, 2, Keys("11"), "made with 3 shards"),
        # by a release that did not say so
        ({"totals": b""}, 3, FIRST, "made with 1 shard, and"),
    ],
)
def test_another_number_of_shards_is_refused_with_what_to_do(
    kept: dict[str, bytes], shards: int, keys: Keys, told: str
) -> None:
    connection = Connection(**kept)

    with pytest.raises(OtherLayoutError, match=told):
        check(shards, keys)(connection)

    assert connection.kept == kept
