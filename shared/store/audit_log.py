"""The audit log of changes made by commands. Changes wait in a file while Redis does not answer."""

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
"""The request id of a change that a command made."""

MOST_CHARACTERS = 400
"""Bounds the text of a change: a command may name thousands of transactions."""


def audit_entry(who: str, what: str, about: Mapping[str, object]) -> dict[str, str]:
    """The entry of one change."""
    told = ", ".join(f"{name} {value}" for name, value in about.items())
    return {"at": utc_now(), "who": who, "what": what, "about": told[:MOST_CHARACTERS], "request_id": BY_COMMAND}


def append_entries(redis: Redis, entries: Sequence[Mapping[str, str]]) -> None:
    """Appends entries to the log, all or none.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    with redis_faults_named(), redis.pipeline(transaction=True) as pipeline:
        for entry in entries:
            fields: Any = dict(entry)
            pipeline.xadd(Keys().console_changes, fields, maxlen=AUDIT_LENGTH, approximate=True)
        pipeline.execute()


class PendingChanges:
    """Entries that are not in Redis yet, in a file of the data directory."""

    def __init__(self, data: Path) -> None:
        self._path = data / "changes.ndjson"

    def add(self, entry: Mapping[str, str]) -> None:
        """Appends one entry; it is on the disk when this returns.

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
        """Writes all entries to Redis and empties the file.

        Raises:
            OSError: the file cannot be read or written.
            StoreUnavailableError: Redis failed; the file keeps them.
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
    """The entries of the file; skips a line that was cut off, for example by a full disk."""
    found = []
    for line in file:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values()):
            found.append(entry)
    return found
