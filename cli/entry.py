"""The `riskline` command's beginning: what needs nothing of the rest is answered before that is imported."""

import sys
from importlib.metadata import version


def main() -> None:
    """Tells the version at once, and has `riskline.cli.main` do everything else."""
    if sys.argv[1:] == ["--version"]:
        print(f"riskline {version('riskline')}")  # noqa: T201  # what the command says
        return
    # a second of imports, of which the version needs none
    from riskline.cli.main import main as run_command  # noqa: PLC0415

    run_command()
