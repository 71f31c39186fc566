"""`riskline history erase`: forgets one card, merchant or other entity, or all of them."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from riskline.cli.change_log import note_change
from riskline.cli.history.opened import OpenedHistory, opened_history
from riskline.cli.options import DataOption, JsonOption
from riskline.cli.terminal import rows_progress
from riskline.shared.domain.history.entity_values import entity_fields, entity_named
from riskline.shared.errors import InstallationError
from riskline.shared.store.history.interface import HistoryStore, Progress
from riskline.shared.wording import counted

MOST_BYTES = 65_536


def erase(
    *,
    entity: Annotated[
        str | None,
        typer.Argument(help="The field, such as card_id; its value is read from standard input.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Forget all entities, of earlier classes and secrets, too.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget what is kept of one entity, whose value is read from standard input, alone and with others."""
    if every == (entity is not None):
        raise typer.BadParameter("name a field such as card_id, or give --all", param_hint="ENTITY")
    with opened_history(data) as opened:
        if entity is None:
            erased = _run(opened, lambda store, progress: store.erase_all(progress=progress))
            note_change(data, "history erased", entities="all", kept=erased)
        else:
            digest = _digest(opened, entity, _value())
            erased = _run(opened, lambda store, progress: store.erase(entity, digest, progress=progress))
            note_change(data, "history erased", entity=entity, kept=erased)
    if as_json:
        typer.echo(json.dumps({"entity": entity, "erased": erased}))
    elif entity is None:
        typer.echo(f"{counted(erased, 'entity', 'entities')} forgotten")
    else:
        typer.echo(_sentence(entity, erased))


def _digest(opened: OpenedHistory, field: str, value: str) -> str:
    fields = entity_fields(opened.transaction_class)
    if field not in fields:
        raise typer.BadParameter(f"{field} is no entity: it may be {', '.join(fields)}", param_hint="ENTITY")
    digest = entity_named(opened.transaction_class, opened.observing(), field, value)
    if digest is None:
        raise InstallationError(f"the value on standard input is none that a {field} can have")
    return digest


def _value() -> str:
    """The value without the end of its line; it is on no command line, which others may see and a shell keeps."""
    if sys.stdin.isatty():
        typer.echo("Type the value, then Enter:", err=True)
        text = sys.stdin.readline()
    else:
        text = sys.stdin.read(MOST_BYTES)
    value = text.removesuffix("\n").removesuffix("\r")
    if not value or "\n" in value:
        raise InstallationError("give one value on standard input: `riskline history erase card_id < FILE`")
    return value


def _run(opened: OpenedHistory, call: Callable[[HistoryStore, Progress], Awaitable[int]]) -> int:
    async def erased() -> int:
        async with opened.store() as store:
            return await call(store, advance)

    with rows_progress() as shown:
        task = shown.add_task("looking through the keys of Redis")

        def advance(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        return asyncio.run(erased())


def _sentence(field: str, erased: int) -> str:
    if not erased:
        return f"nothing is kept of this {field}"
    return f"{counted(erased, 'entry', 'entries')} of this {field} forgotten, alone and together with others"
