"""What a model file is, found without running any of it: its hash, its format, and the versions that wrote it."""

import bz2
import gzip
import hashlib
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from shared.errors import BundleError

MAX_FILE_BYTES = 4 * 1024**3
MAX_UNPACKED_BYTES = 8 * 1024**3
PIECE = 1 << 20

VERSION = re.compile(rb"_sklearn_version(?:\x94|q.|r.{4}|\np\d+\n)?(?:\x8c(.)|X(.{4})|V)", re.DOTALL)
"""Where scikit-learn's version stands in a pickle: after this name, and what says that a string comes.

The pickle's own operations cannot be followed instead: joblib writes the bytes of arrays between them.
"""

OVERLAP = 128
"""More than the longest such place, which may lie across two pieces."""

LIBRARIES = (b"sklearn", b"xgboost", b"lightgbm")


@dataclass(frozen=True)
class Looked:
    """What a file is, found without opening it as a model."""

    name: str
    kind: str
    sha256: str
    sklearn: tuple[str, ...]


def copied(file: Path, copy: Path, *, wanted_sha256: str | None = None) -> Looked:
    """Copies a file, so that what was looked at is what is opened, and says what it is.

    Raises:
        BundleError: it is not there, too large, no model, damaged, or not the file that was wanted.
    """
    digest, size = hashlib.sha256(), 0
    if not file.is_file():
        raise BundleError(f"{file}: there is no such file")
    with file.open("rb") as source, copy.open("wb") as target:
        while piece := source.read(PIECE):
            size += len(piece)
            if size > MAX_FILE_BYTES:
                raise BundleError(f"{file} is larger than {MAX_FILE_BYTES:,} bytes")
            digest.update(piece)
            target.write(piece)
    found = digest.hexdigest()
    if wanted_sha256 is not None and wanted_sha256.lower() != found:
        raise BundleError(f"{file} has the sha256 {found}, not {wanted_sha256}: it is another file, and was not opened")
    with copy.open("rb") as source:
        beginning = source.read(16)
    if beginning.startswith(b"tree\n"):
        return Looked(file.name, "lightgbm", found, ())
    if beginning.startswith(b"{"):
        return Looked(file.name, "xgboost", found, ())
    return Looked(file.name, "pickle", found, _pickled_versions(file, copy, beginning))


def _pickled_versions(file: Path, copy: Path, beginning: bytes) -> tuple[str, ...]:
    versions: dict[str, None] = {}
    libraries: set[bytes] = set()
    size, kept = 0, b""
    try:
        for piece in _unpacked(copy, beginning):
            size += len(piece)
            if size > MAX_UNPACKED_BYTES:
                raise BundleError(f"{file} unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
            window = kept + piece
            versions.update(dict.fromkeys(_versions(window)))
            libraries.update(library for library in LIBRARIES if library in window)
            kept = window[-OVERLAP:]
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BundleError(f"{file} is truncated or damaged ({error}): copy it again") from error
    if not versions and not libraries & {b"xgboost", b"lightgbm"}:
        raise BundleError(
            f"{file} is no model of scikit-learn, XGBoost or LightGBM, and was not opened: it must be what joblib.dump "
            "or pickle.dump wrote of an estimator, XGBoost's .json or .ubj, or LightGBM's .txt"
        )
    return tuple(versions)


def _versions(window: bytes) -> Iterator[str]:
    for found in VERSION.finditer(window):
        short, long = found.groups()
        start = found.end()
        length = int.from_bytes(short or long, "little") if short or long else window.find(b"\n", start) - start
        # one that is cut off comes again with the next piece
        if 0 < length < OVERLAP and start + length <= len(window):
            yield window[start : start + length].decode(errors="replace")


def _unpacked(copy: Path, beginning: bytes) -> Iterator[bytes]:
    """The bytes of the pickle, a piece at a time, whichever of joblib's compressors wrote them."""
    if beginning[:1] == b"\x78":
        unpack = zlib.decompressobj()
        with copy.open("rb") as file:
            while piece := file.read(PIECE):
                # a megabyte at a time: a small file may unpack to a very large one
                while piece:
                    yield unpack.decompress(piece, PIECE)
                    piece = unpack.unconsumed_tail
        if not unpack.eof:
            raise EOFError("it ends too early")
        return
    with _stream(copy, beginning) as stream:
        while piece := stream.read(PIECE):
            yield piece


def _stream(copy: Path, beginning: bytes) -> BufferedIOBase:
    if beginning.startswith(b"\x1f\x8b"):
        return gzip.open(copy)
    if beginning.startswith(b"BZh"):
        return bz2.open(copy)
    if beginning.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        return lzma.open(copy)
    return copy.open("rb")
