"""The key of the hashes by which the history names entities: of the settings, or of a file that is made once."""

import os
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex

from riskline.shared.errors import SettingsError
from riskline.shared.settings import SHORTEST_HISTORY_SECRET, Settings

SECRET_BYTES = 32

CHECKED = b"riskline history"


def secret_file(settings: Settings) -> Path:
    """The file of an installation whose settings have no secret."""
    return settings.data / "history_secret"


def history_secret(settings: Settings) -> bytes:
    """The key of the hashes.

    Raises:
        SettingsError: there is no secret, and the file cannot be made or read.
    """
    if settings.history_secret is not None:
        text = settings.history_secret.get_secret_value()
    else:
        text = _of_file(secret_file(settings))
    return blake2b(text.encode(), digest_size=SECRET_BYTES).digest()


def check_of(secret: bytes) -> str:
    """What is kept beside the history, so that a process with another secret is found."""
    return blake2b(CHECKED, digest_size=8, key=secret).hexdigest()


def _of_file(path: Path) -> str:
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(
            f"{path}, the secret of the history, cannot be made or read ({reason}): set RISKLINE_HISTORY_SECRET, the "
            "same for all API processes"
        ) from error
    if len(text) < SHORTEST_HISTORY_SECRET:
        raise SettingsError(
            f"{path}, the secret of the history, is shorter than {SHORTEST_HISTORY_SECRET} characters: restore it; "
            "with another one the history that is kept is unknown"
        )
    return text


def _make(path: Path) -> None:
    """Makes the file at once with all that is in it; that of another process, where it was quicker."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp's files are their owner's alone
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{token_hex(SECRET_BYTES)}\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
