"""A file that a command writes appears whole or not at all, whatever the system offers for that."""

import os
import threading
from pathlib import Path

import pytest

from riskline.cli.output import written
from riskline.shared.errors import InstallationError
from tests.integration.running import PATIENCE_SECONDS


@pytest.fixture(params=[True, False], ids=["files without a name", "none of them"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


@pytest.mark.usefixtures("system")
def test_a_file_takes_the_place_of_the_older_one_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("older")
    (tmp_path / ".out.unfinished").write_text("of a run that was killed")

    with written(out) as sink:
        sink.write(b"new")
        assert out.read_text() == "older"

    assert out.read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("system")
def test_what_went_wrong_leaves_the_older_file_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("older")

    def write_half() -> None:
        with written(out) as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()

    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("system")
def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    with written(tmp_path / "out") as sink:
        sink.write(b"new")

    (tmp_path / "usual").touch()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.usefixtures("system")
def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="none/out cannot be written to: No such file or directory"):
        written(tmp_path / "none" / "out").__enter__()


def test_a_directory_is_no_file_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="cannot be written to: Is a directory"):
        written(tmp_path).__enter__()


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()

    with written(pipe) as sink:
        sink.write(b"new")
    reader.join(PATIENCE_SECONDS)

    assert read == [b"new"]
    assert pipe.is_fifo()
