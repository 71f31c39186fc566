"""What is kept of a key is enough to know it by and too little to use it; the file of keys is never half written."""

import base64
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from riskline.cli.operate.api_keys import make
from riskline.shared.access.api_keys import ApiKey, Scope, digest_of, key_with_digest, new_key, parse_keys
from riskline.shared.access.key_file import HEADER, KeyFile
from riskline.shared.errors import InstallationError

NOW = datetime(2026, 11, 24, 3, 15, tzinfo=UTC)


def made(name: str = "shop", *scopes: Scope, expires_at: datetime | None = None) -> tuple[str, ApiKey]:
    return make(name, list(scopes) or [Scope.SCORE], now=NOW, expires_at=expires_at)


def test_a_key_has_256_random_bits_and_is_another_each_time() -> None:
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(re.fullmatch(r"rk_[A-Za-z0-9_-]{49}", key) for key in keys)
    assert {len(base64.urlsafe_b64decode(key[3:46] + "=")) for key in keys} == {32}


def test_a_key_with_a_slip_of_the_pen_is_none() -> None:
    key = new_key()
    other = "A" if key[10] != "A" else "B"

    assert digest_of(key) is not None
    assert [digest_of(each) for each in (key[:10] + other + key[11:], key[:-1], key + "A", key + "\n", "", "é")] == [
        None
    ] * 6


def test_its_line_says_all_that_is_known_of_a_key_but_the_key() -> None:
    secret, key = made("shop", Scope.SUBMIT, Scope.SCORE, expires_at=NOW + timedelta(days=90))

    assert key.line().startswith("shop:score+submit:20261124T031500Z:20270222T031500Z:")
    assert parse_keys(key.line()) == (key,)
    assert secret[3:20] not in key.line() + repr(key)
    assert key.digest.hex() not in repr(key)


@pytest.mark.parametrize("between", ["\n", ",", " ", ",\n  ", "\r\n", "\n# a note, with a comma\n"])
def test_lines_are_separated_by_commas_or_whitespace_and_comments_count_for_nothing(between: str) -> None:
    (_, one), (_, two) = made("one"), made("two")

    assert parse_keys(f"# {one.line()}\n{one.line()}{between}{two.line()}\n") == (one, two)


LINE = made()[1].line()


def nameless(_value: object) -> str:
    """A key differs from run to run: a test that is named by one is another one in each process that runs tests."""
    return "case"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (new_key(), "is a key itself"),
        (LINE.replace("shop", "rk_shop"), "is a key itself"),
        (LINE.replace("shop", "sh/op"), "name"),
        (LINE.replace("score", "score+everything"), "scope"),
        (LINE.replace(":score:", "::"), "scope"),
        (LINE.replace("20261124T031500Z", "yesterday"), "time"),
        (LINE.replace("20261124T031500Z", "20261324T031500Z"), "time"),
        (LINE[:-1], "SHA-256"),
        (LINE.upper(), "scope"),
        ("shop", "form"),
        (f"{LINE}, {LINE}", "two keys are called shop"),
        (f"{LINE} {LINE.replace('shop', 'shop-2')}", "shop and shop-2 are the same key"),
        (LINE.replace("shop", "-shop"), "name"),
    ],
    ids=nameless,
)
def test_a_line_that_is_not_right_is_refused_without_being_shown(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        parse_keys(text)

    assert LINE[-20:-1] not in str(refused.value)
    assert text[5:30] not in str(refused.value) or text == "shop"


def test_a_key_is_found_by_its_hash_wherever_it_stands() -> None:
    keys = [made(str(number))[1] for number in range(5)]

    assert [key_with_digest(key.digest, keys) for key in keys] == keys
    assert key_with_digest(b"x" * 32, keys) is None


def test_the_file_is_its_owners_alone_and_has_no_key(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "data" / "api_keys")
    secret, key = made()

    with file.changing() as keys:
        keys.append(key)

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.read() == (key,)
    assert secret not in file.path.read_text()
    assert {path.name for path in file.path.parent.iterdir()} == {"api_keys", "api_keys.required"}


def test_no_file_is_not_a_file_without_keys(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "api_keys")
    nothing, look = file.read(), file.stamp()
    file.path.write_text(HEADER)

    assert (nothing, look) == (None, None)
    assert file.read() == ()
    assert file.stamp() is not None


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfe", b"shop:score", HEADER.encode() + LINE[:-3].encode()], ids=nameless
)
def test_a_damaged_file_is_neither_read_nor_written_over(tmp_path: Path, content: bytes) -> None:
    file = KeyFile(tmp_path / "api_keys")
    file.path.write_bytes(content)

    for use in (file.read, lambda: file.changing().__enter__()):
        with pytest.raises(InstallationError, match="correct or restore"):
            use()

    assert file.path.read_bytes() == content


def test_a_change_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(tmp_path / "api_keys")
    with file.changing() as keys:
        keys.append(made()[1])
    before = file.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("riskline.shared.access.key_file.os.fsync", full)
    with pytest.raises(InstallationError, match="No space left"), file.changing() as keys:
        keys.clear()

    assert file.path.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"api_keys", "api_keys.required"}


def test_of_many_that_add_a_key_at_a_time_none_loses_another_ones(tmp_path: Path) -> None:
    def add(number: int) -> None:
        with KeyFile(tmp_path / "api_keys").changing() as keys:
            keys.append(made(f"key-{number}")[1])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key.name for key in KeyFile(tmp_path / "api_keys").read() or ()} == {f"key-{n}" for n in range(20)}


def test_a_file_that_is_replaced_keeps_its_owner_and_its_mode(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    file = KeyFile(tmp_path / "api_keys")
    os.chown(tmp_path, 4321, 4322)
    with file.changing() as keys:
        keys.append(made()[1])
    first = file.path.stat()
    os.chown(file.path, 1234, 1235)
    file.path.chmod(0o640)

    with file.changing() as keys:
        keys.clear()

    after = file.path.stat()
    assert (first.st_uid, first.st_gid, first.st_mode & 0o777) == (4321, 4322, 0o600)
    assert (after.st_uid, after.st_gid, after.st_mode & 0o777) == (1234, 1235, 0o640)


def test_a_file_that_cannot_be_handed_over_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(tmp_path / "api_keys")
    with file.changing() as keys:
        keys.append(made()[1])
    before = file.path.read_bytes()

    def refused(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("riskline.shared.access.key_file.os.fchmod", refused)
    with pytest.raises(InstallationError, match="as the user that the API runs as"), file.changing() as keys:
        keys.clear()

    assert file.path.read_bytes() == before


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(HEADER.encode() + b"#" * 1_048_576)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")

    for name in ("pipe", "large", "dangling"):
        with pytest.raises(InstallationError, match="correct or restore"):
            KeyFile(tmp_path / name).read()


def test_a_link_stays_and_what_it_names_is_changed(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    target = tmp_path / "mounted" / "keys"
    target.write_text(HEADER)
    file = KeyFile(tmp_path / "api_keys")
    file.path.symlink_to(target)

    with file.changing() as keys:
        keys.append(made()[1])

    assert file.path.is_symlink()
    assert KeyFile(target).read() == file.read() != ()
