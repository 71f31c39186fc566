"""Clients generated from the OpenAPI document by other people's generators call each operation, with types."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import RunningUp, riskline

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reference" / "openapi.json"
TYPESCRIPT = Path(__file__).with_name("typescript")
CALLS = Path(__file__).with_name("generated_client_calls.py")

NOT_GENERATED = "Unsupported content type application/x-ndjson"
"""The one thing that the generator leaves out: a batch in lines, which is no JSON."""


def run(*words: str | Path, **options: str | dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def python(large_directory: Path) -> Path:
    """The Python of an environment with the generator, and with what its clients need."""
    home = large_directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    got = run(home / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", ROOT / "requirements/client.txt")
    if got.returncode:
        pytest.skip(f"the generator cannot be installed here: {(got.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def generated(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the package that was generated."""
    directory = tmp_path_factory.mktemp("generated")
    words = ["generate", "--path", DOCUMENT, "--meta", "none", "--output-path", directory / "riskline_client"]
    # it formats what it made with the ruff beside it
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    made = run(python.with_name("openapi-python-client"), *words, env=environment)
    said = made.stdout + made.stderr
    assert made.returncode == 0, said
    assert re.findall(r"^WARNING (.+)$", said, re.MULTILINE) == ["parsing POST /transactions/batch within queue."], said
    assert said.count(NOT_GENERATED) == 1
    return directory


@pytest.fixture
def called(demo_environment: dict[str, str], tmp_path: Path) -> Iterator[list[str]]:
    """The arguments of a client's calls: a running API's address, a key for everything, and a name for the ids."""
    data = tmp_path / "data"
    made = riskline(
        *("keys", "new", "--name", "client", "--scope", "admin", "--data", str(data), "--json"),
        environment=demo_environment,
    )
    with RunningUp(data, environment=demo_environment) as up:
        yield [f"http://127.0.0.1:{up.state['port']}", json.loads(made.stdout)["key"], "client"]


def operations() -> dict[str, str]:
    """Method and path of each operation of the document, and its id."""
    return {
        f"{method.upper()} {path}": operation["operationId"]
        for path, item in json.loads(DOCUMENT.read_bytes())["paths"].items()
        for method, operation in item.items()
    }


def test_one_in_python_calls_each_operation_and_has_answers_and_errors_of_their_types(
    python: Path, generated: Path, called: list[str]
) -> None:
    done = run(python, CALLS, *called, env={**os.environ, "PYTHONPATH": str(generated)})

    assert done.returncode == 0, done.stderr
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in operations().values()}
    assert set(json.loads(done.stdout)) == names


def test_one_in_typescript_is_compiled_strictly_and_calls_each_operation(called: list[str], tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    home = tmp_path / "typescript"
    shutil.copytree(TYPESCRIPT, home, ignore=shutil.ignore_patterns("node_modules", "riskline.d.ts", "*.js"))
    got = run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=str(home))
    if got.returncode:
        pytest.skip(f"the generator cannot be installed here: {(got.stderr.strip().splitlines() or ['no reason'])[-1]}")
    tools = home / "node_modules" / ".bin"

    made = run(tools / "openapi-typescript", DOCUMENT, "--output", home / "riskline.d.ts", cwd=str(home))
    assert made.returncode == 0, made.stderr
    compiled = run(tools / "tsc", cwd=str(home))
    assert compiled.returncode == 0, compiled.stdout
    done = run("node", home / "calls.js", *called, cwd=str(home))

    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == operations().keys()


def test_the_types_of_the_one_in_python_are_as_the_calls_take_them(generated: Path) -> None:
    checked = run(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir", generated / "cache"),
        # the generator's own code is not to be checked
        "--follow-imports=silent",
        CALLS,
        env={**os.environ, "MYPYPATH": str(generated)},
    )

    assert checked.returncode == 0, checked.stdout
