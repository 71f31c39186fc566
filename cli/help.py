"""What `--help` lists: each command with its whole first sentence, which Click would cut after 45 characters."""

from typing import Any

from typer.core import TyperGroup


class WholeSentences(TyperGroup):
    """A group of commands whose list says of each what it does, on as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, " ".join((command.help or "").split("\n\n")[0].split()))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
