"""What commands change is in the log that the console shows, whether or not Redis answered at the time."""

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import fakeredis
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from riskline.cli import change_log
from riskline.cli.change_log import note_change, os_user
from riskline.cli.installation import OpenStore
from riskline.cli.operate.api_keys import make, store
from riskline.shared.access.api_keys import Scope
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.audit_log import MOST_CHARACTERS, PendingChanges
from riskline.shared.store.keys import Keys
from tests.support.console_pages import Open


class Redis:
    """One that a command may reach or not."""

    def __init__(self) -> None:
        self.client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
        self.away = False

    @contextmanager
    def open(self, _: Settings, **__: object) -> Iterator[OpenStore]:
        if self.away:
            raise StoreUnavailableError("Redis: away")
        yield OpenStore([self.client], self.client)

    @property
    def noted(self) -> list[str]:
        entries = self.client.xrange(Keys().console_changes)
        return [f"{fields[b'what'].decode()}: {fields[b'about'].decode()}" for _, fields in entries]


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Redis:
    redis = Redis()
    monkeypatch.setattr(change_log, "open_store", redis.open)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    return redis


def test_a_key_that_is_made_is_in_the_log_without_the_key(tmp_path: Path, redis: Redis) -> None:
    secret, key = make("shop", [Scope.SUBMIT], now=datetime.now(UTC), expires_at=None)
    store(key, load_settings(data=tmp_path))

    assert redis.noted == ["API key made: key shop, scopes submit, expires never"]
    [(_, fields)] = redis.client.xrange(Keys().console_changes)
    assert fields[b"who"].decode() == f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
    assert secret.encode() not in b"".join(fields.values())


def test_what_is_done_while_redis_is_away_is_in_the_log_when_it_is_back_and_in_its_order(
    tmp_path: Path, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.away = True
    note_change(tmp_path, "one", of=1)
    note_change(tmp_path, "two", of=2)
    assert redis.noted == []
    redis.away = False
    note_change(tmp_path, "three", of=3)
    note_change(tmp_path, "four", of=4)

    assert redis.noted == ["one: of 1", "two: of 2", "three: of 3", "four: of 4"]
    assert capsys.readouterr().err == ""


def test_an_api_that_starts_tells_of_what_was_done_before(tmp_path: Path, redis: Redis) -> None:
    redis.away = True
    note_change(tmp_path, "model activated", version="v1")

    for _ in range(2):
        PendingChanges(tmp_path).deliver(redis.client)

    assert redis.noted == ["model activated: version v1"]


def test_a_line_that_a_full_disk_has_cut_off_holds_up_no_other(tmp_path: Path, redis: Redis) -> None:
    (tmp_path / "changes.ndjson").write_bytes(b'{"at": "20\n[1]\n{"at": 1}\n')
    PendingChanges(tmp_path).add({"at": "2026", "who": "me", "what": "w", "about": "a", "request_id": "command"})

    PendingChanges(tmp_path).deliver(redis.client)

    assert redis.noted == ["w: a"]


def test_changes_stay_where_redis_fails_while_they_are_told(tmp_path: Path, redis: Redis) -> None:
    redis.away = True
    note_change(tmp_path, "one", of=1)
    away = RedisConnectionError("away")

    with patch.object(redis.client, "pipeline", side_effect=away), pytest.raises(StoreUnavailableError):
        PendingChanges(tmp_path).deliver(redis.client)
    PendingChanges(tmp_path).deliver(redis.client)

    assert redis.noted == ["one: of 1"]


def test_a_change_that_neither_redis_nor_the_disk_keeps_is_said_so_and_no_error(
    tmp_path: Path, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.away = True
    (tmp_path / "file").write_text("")

    note_change(tmp_path / "file", "one", of=1)

    assert "in no log of changes" in capsys.readouterr().err


def test_thousands_of_ids_are_cut(tmp_path: Path, redis: Redis) -> None:
    note_change(tmp_path, "replayed", ids=" ".join(map(str, range(10_000))))

    assert len(redis.noted[0]) == len("replayed: ") + MOST_CHARACTERS


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> object:
        raise KeyError

    monkeypatch.setattr(change_log.pwd, "getpwuid", nobody)

    assert os_user() == f"uid {os.getuid()}@{socket.gethostname()}"


def test_the_page_shows_what_commands_did_beside_what_the_console_did(tmp_path: Path, redis: Redis) -> None:
    console = Open()
    redis.client = console.api.sync_redis
    note_change(tmp_path, "API key revoked", key="shop")

    page = console.get("/changes").text

    assert "API key revoked" in page
    assert os_user() in page
