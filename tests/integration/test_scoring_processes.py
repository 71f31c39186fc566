"""`riskline score` in several processes gives what it gives in one, holds a bounded part of the file, and cleans up."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from riskline.cli.files.scoring import Job
from riskline.cli.files.scoring_pool import WAITING_BLOCKS, scoring
from riskline.cli.main import run
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import DatasetError, SettingsError
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.dataset import ENDINGS
from riskline.worker.training.data.rows import Block, ColumnBlock, LineBlock
from tests.integration.conftest import write_stump
from tests.integration.running import PATIENCE_SECONDS, eventually, is_alive
from tests.integration.team_classes import UNLUCKY_AGE
from tests.support.factories import transaction_json
from tests.support.files import save

pytestmark = pytest.mark.integration

ROWS = 1_000
BUILT_IN = "riskline:Transaction"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with a small model, and small blocks, so that a small file has many."""
    monkeypatch.setattr("riskline.worker.training.data.dataset.BATCH_ROWS", 50)
    directory = tmp_path / "installation"
    write_stump(directory / "models")
    for name in ("RISKLINE_DATA", "RISKLINE_MODELS", "RISKLINE_MODEL_VERSION", "RISKLINE_TRANSACTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RISKLINE_DATA", str(directory))
    return directory


def job(data: Path, transaction: str = BUILT_IN) -> Job:
    version = Registry(data / "models").active_version()
    assert version is not None
    return Job(models_dir=data / "models", version=version, transaction=transaction, explain=False)


def rows_of(count: int) -> list[dict[str, Any]]:
    """Half of them are declined."""
    return [
        transaction_json(transaction_id=f"T{i}", amount=950.5 + i % 100, distance_from_home=i % 70 + 0.5)
        for i in range(count)
    ]


def block_of(number: int) -> LineBlock:
    return LineBlock(number, [orjson.dumps(transaction_json(transaction_id=f"T{number}"))])


def children(pid: int) -> list[int]:
    """The process's children that run or are not yet waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) if entry.name.isdigit() else 0
        except OSError:
            continue
        if parent == pid:
            found.append(int(entry.name))
    return found


def written_by(pid: int, directory: Path) -> list[str]:
    """The files in the directory that the process has open, but for what it reads."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [path for path in found if path.startswith(f"{directory}{os.sep}") and not path.endswith("rows.csv")]


def scored(file: Path, *words: object, code: int = 0) -> list[dict[str, object]]:
    """The decisions without their times; and whatever happened, no process and no unfinished file is left."""
    out = file.with_name("decisions.ndjson")
    before = sorted(path.name for path in file.parent.iterdir())
    others = children(os.getpid())

    assert run(["score", str(file), "--out", str(out), *map(str, words)]) == code

    assert children(os.getpid()) == others
    lines = out.read_bytes().splitlines() if code == 0 else []
    out.unlink(missing_ok=code != 0)
    assert sorted(path.name for path in file.parent.iterdir()) == before
    return [{name: cell for name, cell in orjson.loads(line).items() if name != "scored_at"} for line in lines]


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_processes_write_what_one_writes_in_the_order_of_the_file(
    data: Path, tmp_path: Path, ending: str
) -> None:
    file = save(tmp_path / f"rows{ending}", rows_of(ROWS))

    alone = scored(file, "--processes", 1)

    assert [each["transaction_id"] for each in alone] == [f"T{i}" for i in range(ROWS)]
    assert {each["action"] for each in alone} == {"APPROVE", "DECLINE"}
    assert scored(file, "--processes", 2) == alone


@pytest.mark.parametrize("ending", ENDINGS)
def test_bad_rows_are_told_the_same_by_several_processes(
    data: Path, tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(ROWS)
    for i in (300, 301, 777):
        rows[i]["customer_age"] = 17
    file = save(tmp_path / f"rows{ending}", rows)
    said = []

    for processes in (1, 2):
        scored(file, "--processes", processes, code=1)
        assert len(scored(file, "--processes", processes, "--skip-bad-rows")) == ROWS - 3
        said.append(capfd.readouterr().err)

    assert said[0] == said[1]
    assert f"{file} has 2 rows that are no transactions" in said[0]
    assert said[0].count("row 301: customer_age: Input should be greater than or equal to 18") == 2
    assert "left out 3 rows that are no transactions:" in said[0]
    assert "row 778: " in said[0]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_teams_own_rules_hold(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], processes: int
) -> None:
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.integration.team_classes:Consistent")
    rows = rows_of(ROWS)
    rows[400]["distance_from_home"] = 1000.5

    decisions = scored(save(tmp_path / "rows.csv", rows), "--skip-bad-rows", "--processes", processes)

    assert len(decisions) == ROWS - 1
    assert "row 401: row: Value error, online, but 1000.5 from home" in capfd.readouterr().err


@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_in_a_teams_class_refuses_the_row_and_says_where_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], processes: int
) -> None:
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.integration.team_classes:Broken")
    rows = rows_of(ROWS)
    rows[700]["customer_age"] = UNLUCKY_AGE

    scored(save(tmp_path / "rows.csv", rows), "--processes", processes, code=1)

    said = capfd.readouterr().err
    told = r"row 701: row: The transaction class raised RuntimeError at .*team_classes\.py:\d+$"
    assert re.search(told, said, re.MULTILINE)
    assert "report" not in said


def test_a_process_that_is_killed_fails_the_command_in_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.integration.team_classes:Doomed")
    rows = rows_of(ROWS)
    rows[700]["customer_age"] = UNLUCKY_AGE

    scored(save(tmp_path / "rows.csv", rows), "--processes", 2, code=1)

    said = capfd.readouterr().err
    assert said.startswith("riskline: a process that scores was ended by SIGKILL")
    assert said.count("\n") == 1


def test_a_process_that_cannot_start_fails_the_command_with_the_reason(data: Path) -> None:
    others = children(os.getpid())
    with scoring(job(data, "tests.integration.team_classes:Missing"), processes=2) as score_blocks:  # noqa: SIM117
        with pytest.raises(SettingsError, match="Missing"):
            next(score_blocks([block_of(1)]))

    assert children(os.getpid()) == others


def test_no_more_blocks_are_read_than_are_under_way(data: Path) -> None:
    read, answered, most = 0, 0, 0

    def blocks() -> Iterator[Block]:
        nonlocal read, most
        for number in range(1, 101):
            read += 1
            most = max(most, read - answered)
            yield block_of(number)

    with scoring(job(data), processes=2) as score_blocks:
        for number, each in enumerate(score_blocks(blocks()), start=1):
            assert orjson.loads(each.ndjson)["transaction_id"] == f"T{number}"
            answered += 1

    assert answered == 100
    assert most == 2 + WAITING_BLOCKS


def test_what_stands_before_the_damage_of_a_file_is_scored_first(data: Path) -> None:
    def blocks() -> Iterator[Block]:
        yield from map(block_of, (1, 2, 3))
        raise DatasetError("damaged after row 3")

    decided = []
    with scoring(job(data), processes=2) as score_blocks, pytest.raises(DatasetError, match="damaged after row 3"):
        decided.extend(each.decided for each in score_blocks(blocks()))

    assert decided == [1, 1, 1]


def test_a_process_that_scores_loads_nothing_that_only_reading_or_the_command_line_needs() -> None:
    loaded = (
        "import sys, riskline.cli.files.scoring_process; "
        "print({'polars', 'typer', 'rich', 'redis', 'falcon'} & set(sys.modules))"
    )

    assert subprocess.check_output([sys.executable, "-c", loaded], text=True) == "set()\n"


def test_columns_cross_to_another_process_as_they_are(data: Path) -> None:
    row = transaction_json()
    fields = {name: [row[name]] * 2 for name in Transaction.model_fields}

    with scoring(job(data), processes=1) as score_blocks:
        (expected,) = score_blocks([ColumnBlock(range(1, 1 + len(next(iter(fields.values())))), fields)])
    with scoring(job(data), processes=2) as score_blocks:
        (found,) = score_blocks([ColumnBlock(range(1, 1 + len(next(iter(fields.values())))), fields)])

    assert [without_time(line) for line in found.ndjson.splitlines()] == [
        without_time(line) for line in expected.ndjson.splitlines()
    ]


def without_time(line: bytes) -> dict[str, object]:
    return {name: cell for name, cell in orjson.loads(line).items() if name != "scored_at"}


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
    ids=["ctrl-c", "sigterm", "terminal closed", "sigkill"],
)
def test_a_command_that_is_ended_leaves_neither_processes_nor_files(
    data: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    if number is signal.SIGKILL and not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no files without a name: one stays behind, and the next run replaces it")
    if number is not signal.SIGKILL and signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests run where this signal is ignored, as under nohup, and so does the command")
    out = tmp_path / "decisions.ndjson"
    out.write_text("older")
    file = save(tmp_path / "rows.csv", rows_of(ROWS))
    command = ["score", str(file), "--out", str(out), "--processes", "2"]
    begun = data / "begun"
    slow = {"RISKLINE_TRANSACTION": "tests.integration.team_classes:Slow", "BEGUN": str(begun)}
    environment = {**os.environ, **slow}
    with subprocess.Popen(
        [sys.executable, "-m", "riskline.cli", *command], env=environment, stderr=subprocess.PIPE
    ) as process:
        eventually(begun.exists)
        found = children(process.pid)
        assert len(found) == 2
        assert len(written_by(process.pid, tmp_path)) == 1

        process.send_signal(number)

        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(PATIENCE_SECONDS) == code
    eventually(lambda: not any(map(is_alive, found)))
    assert out.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decisions.ndjson", "installation", "rows.csv"]
