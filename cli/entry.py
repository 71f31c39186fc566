"""The start of the `riskline` command: `--version` is answered before anything else is imported."""

import sys
from importlib.metadata import version


def main() -> None:
    """Prints the version at once; `riskline.cli.main` does everything else."""
    if sys.argv[1:] == ["--version"]:
        print(f"riskline {version('riskline')}")  # noqa: T201  # what the command says
        return
    # a second of imports, of which the version needs none
    from riskline.cli.main import main as run_command  # noqa: PLC0415

    run_command()
