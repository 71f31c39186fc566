"""Groups of commands that import a command's module when it is called, and not before."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from riskline.shared.errors import InstallationError
from riskline.shared.wording import install_command


class Command(NamedTuple):
    """A command: its name, the module and function that run it, and the sentence of its group's `--help`."""

    name: str
    function: str
    help: str
    loads: str = ""
    """The package of the extra `train` or `files` that takes a second to import; none by default."""
    is_hidden: bool = False


class Group(NamedTuple):
    """A group of commands."""

    name: str
    help: str
    commands: tuple[Command, ...]


class LazyGroup(TyperGroup):
    """A group whose `--help` is written from its table: each command with its whole first sentence."""

    def __init__(self, *, entries: Sequence[Command | Group], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._entries = {entry.name: entry for entry in entries}
        # what is listed, and what a mistyped name is compared with
        self.commands = {
            name: TyperCommand(name, help=entry.help, hidden=isinstance(entry, Command) and entry.is_hidden)
            for name, entry in self._entries.items()
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Imports the command of this name; None where there is none."""
        match self._entries.get(cmd_name):
            case Group(name, help_text, commands):
                return LazyGroup(
                    entries=commands, name=name, help=help_text, no_args_is_help=True, rich_markup_mode=None
                )
            case Command() as command:
                return _imported(command, path=f"{ctx.command_path} {cmd_name}")
        return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list; Click would cut each sentence after 45 characters."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, each.help) for name, each in self.commands.items() if not each.hidden],
            )


def _imported(command: Command, *, path: str) -> Any:
    module, _, name = command.function.partition(":")
    if not command.loads:
        return _made(command, getattr(import_module(module), name))
    try:
        # rich, which no `--help` of a group needs
        with import_module("riskline.cli.terminal").working(f"loading {command.loads}"):
            function = getattr(import_module(module), name)
    except ImportError as error:
        return _unavailable(command, missing_packages(path, error))
    return _made(command, function)


def _made(command: Command, function: Callable[..., object]) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(command.name, hidden=command.is_hidden)(function)
    return get_command(app)


def missing_packages(path: str, error: ImportError) -> InstallationError:
    """The error of a command that cannot run without an extra's packages."""
    return InstallationError(
        f"`{path}` needs packages that only serving does not: {install_command('train,files')} ({error})"
    )


def _unavailable(command: Command, error: InstallationError) -> TyperCommand:
    """A command that shows its help, and says at every other call what to install."""

    def refuse() -> None:
        raise error

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return TyperCommand(command.name, help=command.help, callback=refuse, context_settings=settings)
