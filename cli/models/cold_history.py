"""What activating a version says where the history that its columns are made of is cold."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import typer

from riskline.cli.history.opened import OpenedHistory, opened_history
from riskline.cli.installation import installation_settings
from riskline.shared.clock import now_us
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.errors import BundleError, InstallationError, SettingsError
from riskline.shared.model.registry import Registry
from riskline.shared.store.history.interface import Mark
from riskline.shared.store.history.secret import secret_file
from riskline.shared.store.history.warmth import WARMED_BY, cold_text, warmth

NOT_RUNNING = "the history is not there yet"


class Coldness(NamedTuple):
    """Why a history cannot be taken for warm."""

    text: str
    is_certain: bool
    """False where its marks cannot be read."""


def refuse_cold(registry: Registry, version: str, *, data: Path | None, cold: bool) -> None:
    """Refuses to activate a version whose history is cold, unless the operator wants it cold.

    Raises:
        BundleError: its history is cold, and another version serves.
    """
    if (refusal := cold_refusal(registry, version, data=data, cold=cold)) is not None:
        raise BundleError(refusal)


def cold_refusal(registry: Registry, version: str, *, data: Path | None, cold: bool = False) -> str | None:
    """The reason that a version is not activated on a cold history; None where it may be.

    The first version serves at once, since nothing better does; a line says that it is cold. So does one where the
    history cannot be asked.
    """
    problem = coldness(data)
    if problem is None:
        return None
    if not cold and registry.active_version() is not None and problem.is_certain:
        return f"{problem.text}: {WARMED_BY}, or activate {version} as it is with --cold"
    typer.echo(f"{problem.text}: {WARMED_BY}", err=True)
    return None


def coldness(data: Path | None) -> Coldness | None:
    """What is known of a history that is not warm; None where it is, or the class has none."""
    settings = installation_settings(data=data)
    if history_of(load_transaction_class(settings.transaction)) is None:
        return None
    if settings.redis_url is None and settings.history_url is None:
        return Coldness(NOT_RUNNING, is_certain=False)
    if settings.history_secret is None and not secret_file(settings).exists():
        # none is made here, as this may not be where the API runs
        return Coldness(
            f"whether the history is warm is not known: {secret_file(settings)} is not there", is_certain=False
        )
    try:
        with opened_history(data) as opened:
            found = warmth(opened.history, asyncio.run(_marks(opened)), now_us=now_us())
    except (InstallationError, SettingsError) as error:
        return Coldness(f"whether the history is warm is not known ({error})", is_certain=False)
    text = cold_text(found)
    return None if text is None else Coldness(text, is_certain=True)


async def _marks(opened: OpenedHistory) -> Mapping[str, Mark]:
    async with opened.store() as store:
        return await store.marks()
