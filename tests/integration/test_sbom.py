"""The bill of materials has the packages of the lock file that is served, and nothing else; the same each time."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.sbom import main

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "serve.txt"

VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))
"""


@pytest.fixture(scope="module")
def commands(large_directory: Path) -> Path:
    """Where the commands of requirements/audit.txt are."""
    home = large_directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    words = [str(home / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", "requirements/audit.txt"]
    got = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"cyclonedx-bom cannot be installed here: {(got.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return home / "bin"


def make(commands: Path, out: Path) -> bytes:
    words = [str(LOCK), "--cyclonedx", str(commands / "cyclonedx-py"), "--project", str(ROOT / "pyproject.toml")]
    assert main([*words, "--out", str(out)]) == 0
    return out.read_bytes()


def test_it_has_the_lock_files_packages_and_versions_with_their_hashes_and_licences(
    commands: Path, tmp_path: Path
) -> None:
    bill = json.loads(make(commands, tmp_path / "new" / "sbom.json"))

    lines = LOCK.read_text(encoding="utf-8")
    locked = re.findall(r"^([a-z0-9.-]+)(?:\[.+\])?==(\S+)", lines, re.MULTILINE)
    assert len(locked) > 30
    assert sorted((each["name"], each["version"]) for each in bill["components"]) == sorted(locked)
    assert sorted(each["purl"].partition("?")[0] for each in bill["components"]) == sorted(
        f"pkg:pypi/{name}@{version}" for name, version in locked
    )
    hashes = [
        each["content"]
        for component in bill["components"]
        for reference in component["externalReferences"]
        for each in reference["hashes"]
    ]
    assert sorted(hashes) == sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", lines))
    assert bill["metadata"]["component"]["name"] == "riskline"
    # those for other systems and other Pythons are not installed here
    assert sum("licenses" in each for each in bill["components"]) > 0.8 * len(locked)


def test_it_is_valid_and_the_same_each_time(commands: Path, tmp_path: Path) -> None:
    first = make(commands, tmp_path / "first.json")

    assert make(commands, tmp_path / "second.json") == first
    words = [str(commands / "python"), "-c", VALIDATE, str(tmp_path / "first.json")]
    checked = subprocess.run(words, capture_output=True, text=True, check=True)
    assert checked.stdout == "None\n", checked.stdout
