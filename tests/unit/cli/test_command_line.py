"""What a newcomer types first: the version, the help, a setting with a wrong value."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from riskline.cli.main import app
from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from tests.integration.running import PATIENCE_SECONDS


def test_the_version_is_told_without_importing_what_it_does_not_need() -> None:
    code = (
        "import sys; sys.argv = ['riskline', '--version']; from riskline.cli.entry import main; main(); "
        "print(len(sys.modules), sorted({'typer', 'pydantic', 'redis', 'numpy', 'rich'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    ).stdout

    assert re.match(r"riskline \d+\.\d+\.\d+\n\d+ \[\]\n", told)


@pytest.mark.parametrize("group", [(), ("models",), ("transactions",), ("callbacks",), ("keys",)])
def test_no_help_ends_in_the_middle_of_a_sentence(group: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*group, "--help"], terminal_width=80).output

    commands = told.partition("Commands:")[2]
    listed = re.split(r"\n  (?=\S)", commands)[1:]
    assert len(listed) >= 3
    assert [each for each in listed if "..." in each or not each.rstrip().endswith(".")] == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RISKLINE_PORT", "eighty", "RISKLINE_PORT: must be a whole number (default: 8000)"),
        ("RISKLINE_PORT", "80000", "RISKLINE_PORT: must be at most 65535 (default: 8000)"),
        ("RISKLINE_RESULT_TTL", "-1", "RISKLINE_RESULT_TTL: must be at least "),
        ("RISKLINE_PROCESSES", "1.5", "RISKLINE_PROCESSES: must be a whole number"),
    ],
)
def test_a_wrong_setting_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=re.escape(said)):
        load_settings()
