"""`make run` and `make test` on each other Python that this machine has, from a clone and with the embedded server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import PATIENCE_SECONDS, starts_and_decides

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
OLDEST = (3, 11)
GIT, MAKE = (str(shutil.which(name)) for name in ("git", "make"))
SERVER_NAMES = ("redis-server", "valkey-server")


def version_of(python: Path) -> tuple[int, int] | None:
    """Of an interpreter that starts and can make environments; of a shim without its Python there is none."""
    says = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
    try:
        said = subprocess.run(
            [python, "-c", says], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor = said.split()
    return int(major), int(minor)


def others() -> dict[tuple[int, int], Path]:
    """The other Pythons on the PATH and of pyenv, one a version."""
    on_path = [Path(directory).glob("python3.*") for directory in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/*/bin/python3.*")
    found: dict[tuple[int, int], Path] = {}
    for candidate in [*(each for directory in on_path for each in directory), *pyenv]:
        name = re.fullmatch(r"python3\.(\d+)", candidate.name)
        if name is None or (3, int(name[1])) < OLDEST or int(name[1]) == sys.version_info.minor:
            continue
        version = version_of(candidate)
        if version is not None:
            found.setdefault(version, candidate)
    return found


OTHERS = others()


@pytest.fixture(scope="module", params=sorted(OTHERS), ids=lambda version: ".".join(map(str, version)))
def clone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What git has of this checkout, installed by `make install` with that Python."""
    directory = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        [GIT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    words = [MAKE, "install", f"PYTHON={OTHERS[request.param]}"]
    made = subprocess.run(words, cwd=directory, env=plain(), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    yield directory
    shutil.rmtree(directory)


def plain(**more: str) -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    return {**inherited, **more}


@pytest.mark.skipif(not OTHERS, reason="there is no other Python from 3.11 on")
def test_types_are_right_and_unit_tests_pass_on_it(clone: Path) -> None:
    for words in (["mypy"], ["pytest", "tests/unit", "-q", "-m", "not slow", "-p", "no:cacheprovider"]):
        command = [str(clone / ".venv" / "bin" / words[0]), *words[1:]]
        ran = subprocess.run(command, cwd=clone, env=plain(), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


def without_servers(directory: Path) -> str:
    """A PATH with all commands of this one but a redis-server and a valkey-server."""
    for command in (each for on_path in os.get_exec_path() for each in Path(on_path).glob("*")):
        link = directory / command.name
        if command.name not in SERVER_NAMES and not os.path.lexists(link):
            link.symlink_to(command)
    return str(directory)


@pytest.mark.skipif(not OTHERS, reason="there is no other Python from 3.11 on")
@pytest.mark.parametrize("server", ["on the PATH", "in the wheel"])
def test_make_run_starts_and_decides_on_it(clone: Path, tmp_path: Path, server: str) -> None:
    if server == "on the PATH" and not any(shutil.which(name) for name in SERVER_NAMES):
        pytest.skip("there is no redis-server on the PATH")
    environment = plain() if server == "on the PATH" else plain(PATH=without_servers(tmp_path))
    data = tmp_path / "data"
    words = [MAKE, "run", f"UP_FLAGS=--port 0 --data {data}"]
    starts_and_decides(words, cwd=clone, environment=environment, data=data)
