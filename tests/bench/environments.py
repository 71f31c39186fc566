"""Environments of the peers and the tools of the system: made or installed where they are missing, else named."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from riskline.cli.up.redis_server import find_server
from riskline.shared.errors import InstallationError
from tests.bench.processes import BenchError

ROOT = Path(__file__).resolve().parents[2]
OURS = ("falcon", "uvicorn", "uvloop", "httptools", "pydantic", "numpy", "orjson", "redis", "hiredis", "rq", "polars")
PEERS = ("fastapi", "uvicorn", "pydantic", "falcon", "scikit-learn", "numpy", "bentoml", "rq", "celery", "dramatiq")

SHOW_VERSIONS = (
    "import sys; from importlib.metadata import version; print(*[f'{n} {version(n)}' for n in sys.argv[1:]], sep=', ')"
)


def run(command: Sequence[object], environment: Mapping[str, str] | None = None) -> str:
    """Runs a command from the checkout; its output.

    Raises:
        BenchError: it failed; shows its last words.
    """
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        words = " ".join(Path(str(word)).name for word in command[:4])
        raise BenchError(f"`{words} …` failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def make_environment(directory: Path, requirements: Path, *options: str, say: Callable[[str], None]) -> None:
    """A virtual environment with just these requirements; made anew when they change."""
    stamp = directory / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say(f"installing {requirements.name} into {directory} (a minute or two, once)")
    shutil.rmtree(directory, ignore_errors=True)
    run([sys.executable, "-m", "venv", directory])
    pip = [directory / "bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    run([*pip, *options, "-r", requirements])
    stamp.write_text(wanted)


def require_tools(directory: Path, *, say: Callable[[str], None]) -> None:
    """wrk and a Redis: installed where apt-get can do it.

    Raises:
        BenchError: one is missing and cannot be installed; says what to do.
    """
    if shutil.which("wrk") is None:
        _install("wrk", "the load generator wrk is missing: `apt install wrk`, `brew install wrk`", say=say)
    try:
        find_server(directory)
    except InstallationError as error:
        _install("redis-server", str(error), say=say)


def _install(package: str, problem: str, *, say: Callable[[str], None]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(problem)
    say(f"installing {package}")
    run(["apt-get", "update", "-qq"])
    run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", package])


def about(peers_python: Path, guide_python: Path | None, directory: Path) -> dict[str, str]:
    """The machine and the versions of all that takes part."""
    wrk = subprocess.run([str(shutil.which("wrk")), "-v"], capture_output=True, text=True, check=False).stdout
    versions = {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Redis": str(find_server(directory)).rpartition(" ")[2].strip("()"),
        "load generator": " ".join(wrk.split()[:2]),
        "Riskline": f"{version('riskline')}, commit {commit()}; with " + ", ".join(f"{n} {version(n)}" for n in OURS),
        "peers": run([peers_python, "-c", SHOW_VERSIONS, *PEERS]).strip(),
    }
    if guide_python is not None:
        names = ("fastapi", "uvicorn", "pydantic", "scikit-learn", "numpy")
        versions["the guide's app"] = run([guide_python, "-c", SHOW_VERSIONS, *names]).strip()
    return versions


def commit() -> str:
    """The checkout's commit, with a plus where files differ from it."""
    try:
        known = run(["git", "rev-parse", "--short", "HEAD"]).strip()
        return known + ("+" if run(["git", "status", "--porcelain", "--untracked-files=no"]).strip() else "")
    except (BenchError, OSError):
        return "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
