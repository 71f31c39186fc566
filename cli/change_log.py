"""The log of changes that the console shows: each command that changes something adds an entry."""

import os
import pwd
import socket
from pathlib import Path

import typer

from riskline.cli.installation import installation_settings, open_store
from riskline.shared.errors import RisklineError
from riskline.shared.store.audit_log import PendingChanges, append_entries, audit_entry

REDIS_SECONDS = 1.0
"""The longest wait for Redis: the command has done its work."""


def note_change(data: Path | None, what: str, **about: object) -> None:
    """Adds an entry to the log of changes in Redis, or to the data directory until Redis answers.

    The change is made already: where the entry cannot be kept, a line on standard error says so.
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
    """The user of this process, as user@host."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # a container's user need not have a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
