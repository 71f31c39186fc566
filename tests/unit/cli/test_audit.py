"""`make audit` says good news only where every package was asked about, and of each vulnerability what mends it."""

import json
import sys
from pathlib import Path

import pytest

from tools.audit import CLEAN, NOT_ASKED, VULNERABLE, main

GOOD = {"name": "falcon", "version": "4.4.0", "vulns": []}
BAD = {
    "name": "orjson",
    "version": "3.13.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2"], "fix_versions": ["3.13.1"]}, {"id": "PYSEC-3"}],
}
UNKNOWN = {"name": "redis", "skip_reason": "Dependency not found on PyPI and could not be audited: redis (8.1.0)"}


def pip_audit(directory: Path, *packages: object, error: str = "") -> str:
    """A command that says what pip-audit says of these packages, or fails as it does."""
    command = directory / "pip-audit"
    said = "" if error else json.dumps({"dependencies": packages, "fixes": []})
    command.write_text(
        f"#!{sys.executable}\nimport sys\nprint({said!r})\nprint({error!r}, file=sys.stderr)\nsys.exit({bool(error)})\n"
    )
    command.chmod(0o755)
    return str(command)


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([GOOD], CLEAN, "requirements.txt: 1 package, no known vulnerability\n"),
        ([GOOD, BAD], VULNERABLE, "requirements.txt: orjson 3.13.0: PYSEC-1, CVE-2; fixed in 3.13.1\n"),
        ([GOOD, BAD], VULNERABLE, "requirements.txt: orjson 3.13.0: PYSEC-3; no version fixes it yet\n"),
        ([GOOD, UNKNOWN], NOT_ASKED, "knows nothing of 1 of 2 packages (redis)"),
        ([BAD, UNKNOWN], VULNERABLE, "knows nothing of 1 of 2 packages (redis)"),
        ([], NOT_ASKED, "Nothing is known"),
    ],
)
def test_the_exit_code_and_the_lines_say_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packages: list[object], code: int, words: str
) -> None:
    given = main(["requirements.txt", "--pip-audit", pip_audit(tmp_path, *packages)])

    assert given == code
    assert words in capsys.readouterr().out


def test_without_a_network_it_is_one_line_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = pip_audit(tmp_path, error="Traceback (most recent call last):\n  File ...\nConnectionError: no such host")

    given = main(["requirements.txt", "--pip-audit", failing])

    assert given == NOT_ASKED
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("requirements.txt: NOT AUDITED: pip-audit could not ask")
    assert first.endswith("ConnectionError: no such host")
    assert "exit code 3" in last
