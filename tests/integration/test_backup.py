"""A backup is made and restored as the how-to says, while transactions wait, and the audit is content."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.integration.conftest import write_stump
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "back-up-and-restore.md"
ROWS = 300


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: where that is too long for a socket, Redis has its socket elsewhere."""
    with tempfile.TemporaryDirectory(prefix="rb-") as directory:
        yield Path(directory)


def commands(section: str) -> str:
    """The shell commands of a section of the how-to, but for `riskline up`, which does not return."""
    text = HOW_TO.read_text().split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return block.replace("riskline up\n", "")


def run(block: str, directory: Path) -> None:
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", block], cwd=directory, check=True, timeout=PATIENCE_SECONDS)


def submit(up: RunningUp, prefix: str) -> list[str]:
    rows = [transaction_json(transaction_id=f"{prefix}-{number}", amount=1.0 + 7 * number) for number in range(ROWS)]
    status, said = up.request("POST", "/transactions/batch", orjson.dumps(rows))
    assert (status, said["accepted"]) == (202, ROWS)
    return [row["transaction_id"] for row in rows]


def state(up: RunningUp, transaction_id: str) -> dict[str, Any]:
    status, said = up.request("GET", f"/transactions/{transaction_id}")
    return said if status == 200 else {"status": status}


def all_decided(up: RunningUp, ids: list[str]) -> bool:
    return all(state(up, id_)["status"] == "scored" for id_ in ids)


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_what_waited_at_the_backup_is_decided_after_the_restore_once_and_what_was_decided_stays(place: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    first, second = place / "first", place / "second"
    for each in (first, second):
        each.mkdir()
    version = write_stump(first / ".riskline" / "models")
    with RunningUp(first / ".riskline", environment=environment) as up:
        decided = submit(up, "decided")
        eventually(lambda: all_decided(up, decided))
        before = {id_: state(up, id_)["decision"] for id_ in decided}
        worker = up.state["children"]["scoring worker 1"]
        os.kill(worker, signal.SIGSTOP)
        try:
            waiting = submit(up, "waiting")
            run(commands("Back up, with `riskline up`"), first)
            later = submit(up, "later")
        finally:
            os.kill(worker, signal.SIGCONT)

    shutil.copytree(first / "backup", second / "backup")
    run(commands("Restore, with `riskline up`"), second)
    with RunningUp(second / ".riskline", environment=environment) as up:
        eventually(lambda: all_decided(up, waiting))
        assert {id_: state(up, id_)["decision"] for id_ in decided} == before
        assert {state(up, id_)["status"] for id_ in later} == {404}
        assert up.request("GET", "/health")[1]["model_version"] == version
        page = up.request("GET", "/decisions?limit=1000")[1]["decisions"]
        assert sorted(each["transaction_id"] for each in page) == sorted(decided + waiting)
        audited = riskline("doctor", "--audit", "--data", str(second / ".riskline"), environment=environment)
        assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_a_restored_installation_asks_for_the_same_keys(place: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    first, second = place / "first", place / "second"
    for each in (first, second):
        each.mkdir()
    write_stump(first / ".riskline" / "models")
    made = riskline(
        *("keys", "new", "--name", "shop", "--scope", "read", "--data", str(first / ".riskline")),
        environment=environment,
    )
    assert made.returncode == 0, made.stderr
    with RunningUp(first / ".riskline", environment=environment):
        run(commands("Back up, with `riskline up`"), first)

    shutil.copytree(first / "backup", second / "backup")
    run(commands("Restore, with `riskline up`"), second)
    with RunningUp(second / ".riskline", environment=environment) as up:
        assert up.request("GET", "/decisions")[0] == 401
