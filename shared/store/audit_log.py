"""Changes that commands make, in the log that the console has of its own; in a file while Redis does not answer."""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from redis import Redis

from riskline.shared.clock import utc_now
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.console import AUDIT_LENGTH
from riskline.shared.store.keys import Keys

BY_COMMAND = "command"
"""What stands for the request where a command did it."""

MOST_CHARACTERS = 400
"""Of what a change is about: a command may name thousands of transactions."""


def audit_entry(who: str, what: str, about: Mapping[str, object]) -> dict[str, str]:
    """A change as it is kept."""
    told = ", ".join(f"{name} {value}" for name, value in about.items())
    return {"at": utc_now(), "who": who, "what": what, "about": told[:MOST_CHARACTERS], "request_id": BY_COMMAND}


def append_entries(redis: Redis, entries: Sequence[Mapping[str, str]]) -> None:
    """Appends changes to the log, all or none.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    with redis_faults_named(), redis.pipeline(transaction=True) as pipeline:
        for entry in entries:
            fields: Any = dict(entry)
            pipeline.xadd(Keys().console_changes, fields, maxlen=AUDIT_LENGTH, approximate=True)
        pipeline.execute()


class PendingChanges:
    """The changes that Redis could not be told of, in a file of the data directory."""

    def __init__(self, data: Path) -> None:
        self._path = data / "changes.ndjson"

    def add(self, entry: Mapping[str, str]) -> None:
        """Keeps one, on the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        with self._path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def deliver(self, redis: Redis) -> None:
        """Tells Redis of all, and forgets them.

        Raises:
            OSError: the file cannot be read or written.
            StoreUnavailableError: Redis failed; they stay.
        """
        try:
            file = self._path.open("r+b")
        except FileNotFoundError:
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            entries = list(_entries(file))
            if entries:
                append_entries(redis, entries)
            file.truncate(0)


def _entries(file: IO[bytes]) -> list[dict[str, str]]:
    """Its entries; a line that was cut off, as by a full disk, is none."""
    found = []
    for line in file:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values()):
            found.append(entry)
    return found
