"""What `make run` and `make test` install, and what they say meanwhile."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.integration.running import PATIENCE_SECONDS
from tools.install import Progress, install

ROOT = Path(__file__).parents[3]
PINNED = re.compile(r"^([\w.-]+)(?:\[[\w, -]+\])?==(\S+)", re.MULTILINE)


def dry_run(target: str, venv: Path) -> str:
    command = ["make", "--dry-run", target, f"VENV={venv}"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    ).stdout


def test_every_step_of_make_test_runs_and_the_end_names_those_that_failed(tmp_path: Path) -> None:
    for name in ("ruff", "mypy", "lint-imports", "pytest"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "{name} $*"\ncase "{name} $*" in "ruff check"*|"pytest tests/unit"*) exit 1; esac\n'
        )
        (tmp_path / name).chmod(0o755)
    # what is there already, as after `make install`
    command = ["make", "--no-print-directory", "--old-file=install", "test", f"BIN={tmp_path}"]
    # what a make that runs these tests says to one below it
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}

    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    ran = [line for line in done.stdout.splitlines() if line and not line.startswith("==")]
    assert [each.split()[:2] for each in ran] == [
        ["ruff", "check"],
        ["ruff", "format"],
        ["mypy"],
        ["lint-imports"],
        ["pytest", "tests/unit"],
        ["pytest", "tests"],
    ]
    failed = [line for line in done.stderr.splitlines() if line.startswith("== failed: ")]
    assert [each.rpartition("/")[2].split()[0] for each in failed[:1]] == ["ruff"]
    assert ["tests/unit" in each for each in failed] == [False, True]
    assert done.returncode != 0


def pinned(lock: str) -> set[tuple[str, str]]:
    return set(PINNED.findall((ROOT / lock).read_text()))


def test_make_run_installs_what_running_needs_and_make_test_the_rest(tmp_path: Path) -> None:
    run, test = dry_run("run", tmp_path / "venv"), dry_run("test", tmp_path / "venv")

    assert "requirements/run.txt" in run
    assert "requirements/dev.txt" not in run
    assert test.index("requirements/run.txt") < test.index("requirements/dev.txt") < test.index("ruff check")


def test_what_running_needs_is_locked_as_for_the_tests_with_a_redis_training_files_and_the_client() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][name] for name in ("embedded", "train", "files", "client"))
    needed = [*project["dependencies"], *(each for extra in extras for each in extra), "hatchling", "editables"]
    names = {re.split(r"[\[>=<; ]", each)[0] for each in needed}

    assert names <= {name for name, _ in pinned("requirements/run.txt")}
    assert pinned("requirements/run.txt") <= pinned("requirements/dev.txt")
    assert len(pinned("requirements/run.txt")) < 0.6 * len(pinned("requirements/dev.txt"))


def test_progress_is_told_from_the_first_package_to_the_last(tmp_path: Path) -> None:
    (tmp_path / "pip-24.0.dist-info").mkdir()
    progress = Progress(tmp_path)
    assert progress.text() == "asking the package index"

    for line in (
        "Collecting orjson==3.13.0 (from -r lock (line 1))",
        "  Downloading orjson.whl (142 kB)",
        "Collecting rq",
    ):
        progress.read(line)
    assert progress.text() == "2 packages fetched"

    progress.read("Installing collected packages: orjson, redis, rq")
    assert progress.text() == "0 of 3 packages installed"
    (tmp_path / "orjson-3.13.0.dist-info").mkdir()
    assert progress.text() == "1 of 3 packages installed"


def test_what_cannot_be_installed_ends_with_the_words_of_pip(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert install("nothing", [str(tmp_path / "none.txt")]) != 0

    said = capfd.readouterr()
    assert said.out.startswith("nothing: asking the package index, 0 s")
    assert "none.txt" in said.err
