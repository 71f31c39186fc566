"""What a command has changed is told to the log that the console shows: who, when and what."""

import os
import pwd
import socket
from pathlib import Path

import typer

from riskline.cli.installation import installation_settings, open_store
from riskline.shared.errors import RisklineError
from riskline.shared.store.audit_log import PendingChanges, append_entries, audit_entry

REDIS_SECONDS = 1.0
"""A command that was done does not wait for longer to be told of."""


def note_change(data: Path | None, what: str, **about: object) -> None:
    """Keeps that the user of this command has done something: in Redis, or until it answers in the data directory.

    The change is made already, so that where neither keeps it a line on standard error says so.
    """
    entry = audit_entry(os_user(), what, about)
    settings = installation_settings(data=data)
    pending = PendingChanges(settings.data)
    try:
        if settings.redis_url is not None:
            with open_store(settings, timeout_seconds=REDIS_SECONDS) as store:
                pending.deliver(store.first)
                append_entries(store.first, [entry])
            return
    except (RisklineError, OSError):
        # kept below, and told when Redis answers
        pass
    try:
        pending.add(entry)
    except OSError as error:
        typer.echo(f"riskline: it is done, and in no log of changes: {error}", err=True)


def os_user() -> str:
    """Who runs this, as user@host."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # a container's user need not have a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
