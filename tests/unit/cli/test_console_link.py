"""What `riskline up` says of the console."""

import sys
from pathlib import Path

import fakeredis
import pytest

from riskline.cli.up.console_link import SECONDS, console_lines
from riskline.ingest.console.frame.sessions import digest_of_token
from riskline.shared.store.keys import Keys

URL = "http://127.0.0.1:8000"


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeRedis:
    server = fakeredis.FakeServer()
    monkeypatch.setattr("riskline.cli.up.console_link.connect", lambda *_, **__: fakeredis.FakeRedis(server=server))
    return fakeredis.FakeRedis(server=server)


def lines(data: Path, *, asks_for_keys: bool = True) -> str:
    return console_lines(URL, redis_url="redis://here", asks_for_keys=asks_for_keys, data=data)


def test_at_a_terminal_the_link_is_shown_and_redis_has_its_hash_for_a_quarter_of_an_hour(
    redis: fakeredis.FakeRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    said = lines(tmp_path)

    token = said.partition("?link=")[2].split()[0]
    (key,) = redis.keys()
    assert f"{URL}/console\n" in said
    assert len(token) == 43
    assert key == Keys().console_link(digest_of_token(token)).encode()
    assert SECONDS - 5 < redis.ttl(key) <= SECONDS
    assert list(tmp_path.iterdir()) == []


def test_where_no_keys_are_asked_for_there_is_the_address_alone(redis: fakeredis.FakeRedis, tmp_path: Path) -> None:
    assert lines(tmp_path, asks_for_keys=False) == f"  console  {URL}/console"
    assert redis.keys() == []


def test_without_redis_or_where_no_file_can_be_written_there_is_the_address_alone(
    redis: fakeredis.FakeRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lines(tmp_path / "missing") == f"  console  {URL}/console"
    monkeypatch.undo()

    gone = console_lines(URL, redis_url=f"unix://{tmp_path}/nobody", asks_for_keys=True, data=tmp_path)

    assert gone == f"  console  {URL}/console"
