"""The `riskline` command: its root, and the line that an error becomes."""

import os
import signal
import sys

if os.getpid() == 1:
    # The first process of a container ignores a SIGTERM for which it has no handler, and the servers set theirs after a
    # second of imports: here before all others. Its exit code is the one that a shell gives for a signal.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))

import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer

from riskline.cli.commands import COMMANDS
from riskline.cli.lazy_group import LazyGroup
from riskline.shared.errors import RisklineError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


class RisklineGroup(LazyGroup):
    """All commands, from their table."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(entries=COMMANDS, **attributes)


app = typer.Typer(
    name="riskline",
    cls=RisklineGroup,
    help="Puts a team's own fraud model into production: validate, score, decide, queue, deliver.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"riskline {version('riskline')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=lambda wanted: _show_version(wanted=wanted),
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command; every error is one line on standard error: exit 1, for wrong usage 2, interrupted 130."""
    raise SystemExit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs the command with these arguments and gives its exit code."""
    try:
        code = app(arguments or ["--help"], prog_name="riskline", standalone_mode=False)
    except (RisklineError, OSError) as error:
        if not isinstance(error, BrokenPipeError):
            return _fail(str(error))
        # the reader of our output has enough; Python would complain once more when it flushes at exit
        sys.stdout = None
        return EXIT_FAILED
    except typer.TyperException as error:
        return _fail(f"{' '.join(error.format_message().split())} (see `riskline --help`)", code=error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  # a user gets one line for a mistake of ours, too
        where = traceback.extract_tb(error.__traceback__)[-1]
        return _fail(f"unexpected {type(error).__name__} at {where.filename}:{where.lineno}: {error}; please report it")
    return code if isinstance(code, int) else 0


def _fail(message: str, *, code: int = EXIT_FAILED) -> int:
    print(f"riskline: {message}", file=sys.stderr)  # noqa: T201  # what the command says
    return code
