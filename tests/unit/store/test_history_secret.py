"""The secret of the history: from the settings, or a file that is made once and kept."""

import stat
import threading
from pathlib import Path

import pytest

from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from riskline.shared.store.history.secret import check_of, history_secret, secret_file


def test_a_file_that_only_its_owner_reads_is_made_once(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path / "new")

    first = history_secret(settings)

    assert history_secret(settings) == first
    assert stat.S_IMODE(secret_file(settings).stat().st_mode) == 0o600
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["history_secret"]


def test_processes_that_start_at_once_have_the_same_secret(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(history_secret(load_settings(data=tmp_path)))) for _ in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(found) == 20
    assert len(set(found)) == 1


def test_the_setting_outranks_the_file_and_makes_none(tmp_path: Path) -> None:
    ours = history_secret(load_settings(data=tmp_path, history_secret="0123456789abcdef"))
    theirs = history_secret(load_settings(data=tmp_path, history_secret="fedcba9876543210"))

    assert ours != theirs
    assert check_of(ours) != check_of(theirs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe\xfd" * 20], ids=["empty", "short", "no text"])
def test_a_damaged_file_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history_secret").write_bytes(content)

    with pytest.raises(SettingsError, match="history_secret"):
        history_secret(load_settings(data=tmp_path))

    assert (tmp_path / "history_secret").read_bytes() == content


def test_where_no_file_can_be_made_the_setting_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")

    with pytest.raises(SettingsError, match="set RISKLINE_HISTORY_SECRET, the same for all API processes"):
        history_secret(load_settings(data=tmp_path / "file"))
