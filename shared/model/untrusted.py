"""Untrusted files: opened without blocking, and checked while they are read."""

import errno
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from riskline.shared.errors import OutOfFilesError

PIECE = 1 << 20

MAX_JSON_VALUES = 500_000
"""More than the longest calibration curve has: a list of millions takes a hundred times the memory of its file."""

MAX_RATIO = 100
"""Between the arrays of trees and their archive; the indices of the nodes alone allow no more than 25."""

UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError),
    *(TypeError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""The exceptions of numpy and zipfile for a file that only looks like an archive of arrays."""


def open_regular(file: Path, limit: int) -> BufferedReader:
    """Opens a regular file of at most this size; refuses links and whatever blocks its reader.

    Raises:
        OSError: it cannot be opened; with ELOOP it is a link.
        ValueError: it is no regular file, or too large.
        OutOfFilesError: the limit of open files of this process, or of the machine, is reached.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OutOfFilesError(
                f"{file} cannot be opened ({error.strerror}): raise the limit of open files (ulimit -n, LimitNOFILE), "
                "or see what holds them"
            ) from None
        raise
    found = os.fstat(descriptor)
    problem = "is no file" if not stat.S_ISREG(found.st_mode) else ""
    if not problem and found.st_size > limit:
        problem = f"is larger than {limit} bytes"
    if problem:
        os.close(descriptor)
        raise ValueError(problem)
    return os.fdopen(descriptor, "rb")


def array_in(file: IO[bytes], kind: type, size: int) -> np.ndarray[Any, Any]:
    """One row of numbers of an .npy of this size; its header is checked against the size before anything is allocated.

    Raises:
        ValueError: the file is no such row, or is cut off.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("has another version")
    shape, _, found = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 1 or found != np.dtype(kind) or not 0 <= shape[0] * found.itemsize <= size:
        raise ValueError(f"is not a row of {np.dtype(kind)}")
    array = np.empty(shape[0], found)
    content, filled = array.view(np.uint8), 0
    while filled < len(content):
        piece = file.read(min(PIECE, len(content) - filled))
        if not piece:
            raise ValueError("is cut off")
        content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    return array


def arrays_of(file: IO[bytes], kinds: Mapping[str, type], *, most_bytes: int) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz, each one row of numbers of its kind, of at most `most_bytes`.

    Raises:
        ValueError: the file is no such archive, or unpacks to far more than trees do.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(f"{name}.npy" for name in kinds):
                raise ValueError(f"has not the arrays {', '.join(sorted(kinds))}, each once")
            problem = _packing_problem(members, os.fstat(file.fileno()).st_size, most_bytes)
            if problem is not None:
                raise ValueError(problem)
            return {name: _unpacked(archive, name, kind) for name, kind in kinds.items()}
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"is not a file of arrays ({error})") from error


def _packing_problem(members: list[zipfile.ZipInfo], size: int, most_bytes: int) -> str | None:
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        return "is packed otherwise than by deflate"
    if max(member.file_size for member in members) > most_bytes:
        return f"has an array of more than {most_bytes} bytes"
    unpacked = sum(member.file_size for member in members)
    if unpacked > PIECE + MAX_RATIO * size:
        return f"unpacks to {unpacked} bytes, more than {MAX_RATIO} times its own: no trees do that"
    return None


def _unpacked(archive: zipfile.ZipFile, name: str, kind: type) -> np.ndarray[Any, Any]:
    member = archive.getinfo(f"{name}.npy")
    try:
        with archive.open(member) as piece:
            array = array_in(piece, kind, member.file_size)
            if piece.read(1):
                raise ValueError("has more than its header says")
    except UNREADABLE as error:
        raise ValueError(f"is not a file of arrays: the array {name} {error}") from error
    return array


def json_of(content: bytes) -> Any:
    """The value of a JSON text, such as can be written again.

    Raises:
        ValueError: the text is no JSON, or has too many or too deeply nested values.
    """
    if sum(content.count(each) for each in b",[{") > MAX_JSON_VALUES:
        raise ValueError(f"has more than {MAX_JSON_VALUES} values")
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise ValueError("is not JSON: it was truncated or altered") from None
    try:
        # which goes a quarter as deep as reading does
        orjson.dumps(value)
    except TypeError:
        raise ValueError("is nested too deep") from None
    return value


def printable(text: str, limit: int = 300) -> str:
    """One line without control characters, at most `limit` long."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 9 * limit]).split())[:limit]
