"""The wheel and the sdist: what is in them, and that they are the whole installation."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import starts_and_decides

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]

PACKAGES = {"riskline", "riskline_client"}
"""All that anybody's environment gets from us."""


def run(*words: object, cwd: Path, environment: dict[str, str] | None = None) -> str:
    ran = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return ran.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` makes, of a copy without anything that was compiled before."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "_kernel.sha256")
    for name in ("cli", "client", "ingest", "shared", "src", "worker"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml"):
        shutil.copy2(ROOT / name, source / name)
    run(sys.executable, "-m", "hatchling", "build", "-d", source / "dist", cwd=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def test_the_wheel_has_one_name_a_kernel_and_says_for_which_platform_it_is(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    assert "riskline/shared/model/_kernel.so" in names
    assert "riskline/shared/store/lua/accept.lua" in names
    assert "riskline/examples/card.py" in names
    assert wheel.stem.split("-")[-3:-1] == ["py3", "none"]
    assert "any" not in wheel.stem.split("-")[-1]


def test_the_sdist_has_the_source_and_builds_a_wheel_with_a_kernel(dist: Path, tmp_path: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if name.endswith(".so")]
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=unpacked)

    (made,) = (tmp_path / "again").iterdir()
    assert "riskline/shared/model/_kernel.so" in zipfile.ZipFile(made).namelist()


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty environment into which the wheel was installed with all its extras."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=True)
    lock = ROOT / "requirements" / "dev.txt"
    words = ["install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", f"{wheel}[all]"]
    constraints = directory / "constraints.txt"
    constraints.write_text("".join(f"{line.split(' ')[0]}\n" for line in pinned(lock)))
    ran = subprocess.run(
        [directory / "bin" / "python", "-m", "pip", *words, "--constraint", constraints],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    yield directory
    shutil.rmtree(directory)


def pinned(lock: Path) -> list[str]:
    """The lines of a lock file that name a version without condition or extra, as a constraint may."""
    lines = lock.read_text().splitlines()
    return [line for line in lines if "==" in line and ";" not in line and "[" not in line]


def test_an_empty_environment_and_an_empty_directory_are_enough_to_serve(environment: Path, tmp_path: Path) -> None:
    installed = {each.name for each in next((environment / "lib").glob("python*/site-packages")).iterdir()}
    assert not installed & {"shared", "worker", "ingest", "cli", "tests", "tools"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "PYTHON"))}
    words = [environment / "bin" / "riskline", "up", "--port", "0"]
    starts_and_decides(words, cwd=tmp_path, environment=inherited, data=tmp_path / ".riskline")
