"""What a newcomer types first: the version, the help, a setting with a wrong value."""

import re
import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from riskline.cli.commands import COMMANDS
from riskline.cli.lazy_group import Command
from riskline.cli.main import app, run
from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from tests.integration.running import PATIENCE_SECONDS

MOST_MODULES_OF_HELP = 260
"""Python's own included: 198 on 3.11. When it imported all groups they were 910."""

MOST_MODULES_OF_DOCTOR = 850


def every_command() -> list[Command]:
    """Those of the groups, too."""
    found: list[Command] = []
    for entry in COMMANDS:
        found += [entry] if isinstance(entry, Command) else entry.commands
    return found


def test_the_version_is_told_without_importing_what_it_does_not_need() -> None:
    code = (
        "import sys; sys.argv = ['riskline', '--version']; from riskline.cli.entry import main; main(); "
        "print(len(sys.modules), sorted({'typer', 'pydantic', 'redis', 'numpy', 'rich'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    ).stdout

    assert re.match(r"riskline \d+\.\d+\.\d+\n\d+ \[\]\n", told)


def loaded_by(*words: str) -> set[str]:
    """The modules in a process that has run this command."""
    code = (
        "import sys; from riskline.cli.main import run; code = run(sys.argv[1:]); "
        "print('loaded', *sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *words]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return set(told.rpartition("loaded ")[2].split())


def test_the_help_imports_no_group_of_commands() -> None:
    loaded = loaded_by("--help")

    assert {name for name in loaded if name.startswith("riskline.")} == {
        "riskline.cli",
        "riskline.cli.commands",
        "riskline.cli.lazy_group",
        "riskline.cli.main",
        "riskline.shared",
        "riskline.shared.errors",
        "riskline.shared.wording",
    }
    assert not loaded & {"redis", "pydantic", "numpy", "rich", "falcon", "orjson"}
    assert len(loaded) < MOST_MODULES_OF_HELP


def test_the_help_of_a_command_imports_its_group_and_nothing_that_serves_or_trains() -> None:
    loaded = loaded_by("doctor", "--help")

    groups = {name.split(".")[2] for name in loaded if name.count(".") >= 3 and name.startswith("riskline.cli.")}
    assert "doctor" in groups
    assert not groups & {"files"}
    assert not [name for name in loaded if name.startswith(("riskline.ingest", "riskline.worker"))]
    assert not loaded & {"falcon", "uvicorn", "polars", "sklearn", "httpx", "jinja2"}
    assert len(loaded) < MOST_MODULES_OF_DOCTOR


@pytest.mark.parametrize("command", every_command(), ids=lambda command: command.function)
def test_the_table_says_of_each_command_what_the_command_says(command: Command) -> None:
    module, _, name = command.function.partition(":")
    function = getattr(import_module(module), name)

    assert " ".join((function.__doc__ or "").split("\n\n")[0].split()) == command.help


def test_a_command_without_its_packages_shows_its_help_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "riskline.cli.models.training", None)

    assert run(["train", "--help"]) == 0
    assert "Train a model on a labelled file" in capsys.readouterr().out
    assert run(["train", "rows.csv", "--seed", "3"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("riskline: `riskline train` needs packages that only serving does not: `pip install")
    assert "train,files" in said


def test_a_mistyped_command_is_told_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err
    assert run(["models", "lst"]) == 2
    assert "'list'" in capsys.readouterr().err


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
