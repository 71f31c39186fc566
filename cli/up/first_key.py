"""The first API key of an installation that other machines reach: made by `riskline up`, shown at its terminal once.

Where there is no terminal, output goes into logs that many read: there it is put into a file instead.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from riskline.cli.operate.api_keys import known_keys, make, store
from riskline.ingest.auth.authentication import create_gate
from riskline.shared.access.api_keys import Scope
from riskline.shared.access.key_file import KeyFile
from riskline.shared.errors import InstallationError
from riskline.shared.settings import Settings

NAME = "first"
FILE = "first_api_key"


@dataclass
class Admission:
    """The keys that the API asks for, and the one that was made here; `shown` is set once it was shown."""

    asks: bool
    new_key: str | None = None
    file: Path | None = None
    shown: bool = False

    def lines(self) -> str:
        """The lines of the banner about keys."""
        if self.file is not None:
            return (
                f"  key      in {self.file}: may do everything; put it into $RISKLINE_KEY and delete the file;\n"
                "           `riskline keys new` makes others\n"
            )
        if self.new_key is not None:
            return (
                f"  key      {self.new_key}\n"
                f"           may do everything; shown this once and kept nowhere: put it into $RISKLINE_KEY;\n"
                "           `riskline keys new` makes others\n"
            )
        return "  keys     are asked for: `riskline keys list`\n" if self.asks else ""


@contextmanager
def admission(settings: Settings) -> Iterator[Admission]:
    """Makes a key where others reach the API and there is none; one that was never shown is taken back.

    Raises:
        InstallationError: the file of keys is damaged, or cannot be written.
        SettingsError: the file of keys that is named is not there.
    """
    needs_one = settings.auth != "off" and not settings.is_loopback and not list(known_keys(settings))
    if not needs_one:
        yield Admission(asks=create_gate(settings).asks)
        return
    secret, key = make(NAME, [Scope.ADMIN], now=datetime.now(UTC), expires_at=None)
    store(key, settings)
    admitted = Admission(asks=True, new_key=secret)
    try:
        if not sys.stdout.isatty():
            admitted.file = written_secret(secret, settings.data / FILE)
        yield admitted
    finally:
        if not admitted.shown:
            with KeyFile(settings.keys_file).changing() as keys:
                keys[:] = [each for each in keys if each.digest != key.digest]
            if admitted.file is not None:
                admitted.file.unlink(missing_ok=True)


def written_secret(secret: str, path: Path) -> Path:
    """Writes a file that its owner alone can read, in place of one of that name.

    Raises:
        InstallationError: it cannot be written.
    """
    try:
        # one from before may be another user's, or a link
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secret}\n")
    except OSError as error:
        raise InstallationError(
            f"{path} cannot be written ({error.strerror}): correct that, and start again"
        ) from error
    return path
