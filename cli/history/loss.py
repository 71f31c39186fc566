"""`riskline history accept-loss`: uses a history again that was emptied."""

import asyncio

import typer

from riskline.cli.change_log import note_change
from riskline.cli.history.opened import OpenedHistory, opened_history
from riskline.cli.options import DataOption


def accept_loss(*, data: DataOption = None) -> None:
    """Use a history again that was emptied, however little of the past it knows by now."""
    with opened_history(data) as opened:
        asyncio.run(_accept(opened))
    note_change(data, "loss of the history accepted")
    typer.echo("the history is used again within seconds: what it does not know counts as never having been")


async def _accept(opened: OpenedHistory) -> None:
    async with opened.store() as store:
        await store.accept_loss()
