"""The output of a command: standard output, or a file that appears whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from riskline.shared.errors import InstallationError


@contextmanager
def written(out: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes the place of `out` only if nothing went wrong.

    Raises:
        InstallationError: `out` cannot be written to.
    """
    if out is None:
        with open(sys.stdout.fileno(), "wb", closefd=False) as sink:  # standard output has no path
            yield sink
        return
    try:
        # a pipe or a device has no place that could be taken
        direct = out.open("wb") if out.exists() and not out.is_file() else None
        file = direct or _unnamed(out.parent) or _unfinished(out).open("wb")
    except OSError as error:
        raise InstallationError(f"{out} cannot be written to: {error.strerror}") from error
    try:
        with file:
            yield file
            if direct is None:
                file.flush()
                _take_place(file, out)
    except BaseException:
        if direct is None:
            _unfinished(out).unlink(missing_ok=True)
        raise


def _unfinished(out: Path) -> Path:
    return out.with_name(f".{out.name}.unfinished")


def _unnamed(directory: Path) -> IO[bytes] | None:
    """A file that is gone with the process that writes it, even killed; None where the system has no such thing."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    with suppress(OSError):
        file = os.fdopen(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
        if _link(file).exists():
            return file
        file.close()
    return None


def _link(file: IO[bytes]) -> Path:
    return Path(f"/proc/self/fd/{file.fileno()}")


def _take_place(file: IO[bytes], out: Path) -> None:
    unfinished = _unfinished(out)
    if isinstance(file.name, int):
        # it has no name yet; a directory must be given, whichever, for the link to be followed
        unfinished.unlink(missing_ok=True)
        os.link(_link(file), unfinished, src_dir_fd=file.fileno())
    unfinished.replace(out)
