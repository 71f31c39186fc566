"""The file of API keys, in the data directory or mounted: read whole, replaced whole."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from riskline.shared.access.api_keys import ApiKey, parse_keys
from riskline.shared.errors import InstallationError

HEADER = "# Riskline API keys: hashes, one a line. While this file is there, the API lets nobody in without a key.\n"

MAX_BYTES = 1_048_576
"""Several thousand keys; a larger file is refused."""

MARKER_SUFFIX = ".required"

FileStamp = tuple[int, int, int]
"""A file's modification time, size and inode, by which a change is seen."""


class KeyFile:
    """The keys on disk. An absent file leaves the API open; an empty one asks for a key and accepts none.

    A marker beside it says that keys were in use, for processes that start after the file is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marker = path.with_name(path.name + MARKER_SUFFIX)

    @property
    def is_missing(self) -> bool:
        """True where keys were in use and the file is gone."""
        return self.stamp() is None and os.path.lexists(self.marker)

    def missing_error(self) -> InstallationError:
        """The error for a missing file."""
        return InstallationError(
            f"{self.path} is gone, and keys were asked for: put it back, make a key with `riskline keys new`, or "
            f"delete {self.marker} too and restart to be open again"
        )

    def remember(self) -> None:
        """Writes the marker, where the directory can be written."""
        with suppress(OSError):
            self._mark()

    def stamp(self) -> FileStamp | None:
        """The stamp of the file, which changes with it; None where there is no file.

        Raises:
            InstallationError: the file's state cannot be read.
        """
        try:
            return _stamp(self.path.stat())
        except FileNotFoundError:
            if self.path.is_symlink():
                raise self._damaged("it is a link to nothing") from None
            return None
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error

    def read(self) -> tuple[ApiKey, ...] | None:
        """The keys; None where there is no such file.

        Raises:
            InstallationError: it cannot be read, or is damaged.
        """
        loaded = self.load()
        return None if loaded is None else loaded[0]

    def load(self) -> tuple[tuple[ApiKey, ...], FileStamp] | None:
        """The keys and the stamp of their file; raises as `read` does, and never blocks."""
        if self.stamp() is None:
            return None
        try:
            content, look = self._content()
            text = content.decode()
            keys = parse_keys(text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        except ValueError as error:
            # the message of a decoding error has bytes of the file
            raise self._damaged("not text" if isinstance(error, UnicodeDecodeError) else str(error)) from None
        if not keys and not text.startswith(HEADER[:1]):
            raise self._damaged("nothing is in it")
        return keys, look

    def _content(self) -> tuple[bytes, FileStamp]:
        # a pipe would let its opener wait for a writer
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._damaged("it is no ordinary file")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise self._damaged(f"it is larger than {MAX_BYTES} bytes")
        return content, _stamp(status)

    def _damaged(self, reason: str) -> InstallationError:
        return InstallationError(f"the API keys in {self.path} cannot be used ({reason}): correct or restore the file")

    @contextmanager
    def changing(self) -> Iterator[list[ApiKey]]:
        """The keys in a list to change, under a lock; written when the block ends without an error.

        Raises:
            InstallationError: the file cannot be read or written.
        """
        # the target of a link changes, and the link stays
        target = Path(os.path.realpath(self.path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            # the directory, since the file itself is replaced
            fcntl.flock(handle, fcntl.LOCK_EX)
            keys = list(self.read() or ())
            yield keys
            try:
                self._replace(target, keys)
                os.fsync(handle)
            except OSError as error:
                raise self._unwritable(error) from error
        finally:
            os.close(handle)

    def _replace(self, target: Path, keys: Sequence[ApiKey]) -> None:
        # mkstemp's files are their owner's alone
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(HEADER + "".join(f"{key.line()}\n" for key in keys))
                file.flush()
                _hand_over(descriptor, target)
                os.fsync(descriptor)
            self._mark()
            Path(name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def _mark(self) -> None:
        if not os.path.lexists(self.marker):
            os.close(os.open(self.marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _unwritable(self, error: OSError) -> InstallationError:
        if isinstance(error, PermissionError):
            return InstallationError(
                f"{self.path} cannot be written ({error.strerror}): run this as the user that the API runs "
                "as; or `riskline keys new --print-setting` makes a line for RISKLINE_API_KEYS"
            )
        return InstallationError(
            f"{self.path} cannot be written ({error.strerror}): `riskline keys new --print-setting` makes a line for "
            "wherever it comes from, or for RISKLINE_API_KEYS"
        )


def _stamp(status: os.stat_result) -> FileStamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _hand_over(descriptor: int, target: Path) -> None:
    """Gives a new file the owner and the mode of the one that it replaces, or the owner of its directory.

    A file that the API could not read would leave the keys valid that it has read before.
    """
    own = os.fstat(descriptor)
    try:
        model = target.stat()
        mode = stat.S_IMODE(model.st_mode)
    except FileNotFoundError:
        model = target.parent.stat()
        mode = stat.S_IMODE(own.st_mode)
    if model.st_uid != own.st_uid or (target.exists() and model.st_gid != own.st_gid):
        os.fchown(descriptor, model.st_uid, model.st_gid)
    os.fchmod(descriptor, mode)
