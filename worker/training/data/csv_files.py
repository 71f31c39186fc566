"""Inspects the beginning of a CSV file: its separator, its column names, and formats that cannot be read."""

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path

from riskline.shared.errors import DatasetError

SEPARATORS = (",", ";", "\t", "|")
BEGINNING_BYTES = 1 << 16
"""The header and some rows."""

LOOKED_AT_ROWS = 20

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NO_TEXT = {
    b"PK\x03\x04": "is an Excel file or a zip archive: save it as CSV, or unpack it",
    b"PAR1": "is a Parquet file: name it so that it ends in .parquet",
    b"\x1f\x8b": "is packed by gzip: name it so that it ends in .csv.gz",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file: run `git lfs pull`",
}


def separator_of(path: Path, numbers: Collection[str], read: Collection[str]) -> str:
    """The separator of comma, semicolon, tab and bar by which most columns are found.

    `numbers` are the columns with numbers, `read` all columns that are read.

    Raises:
        DatasetError: it is no CSV in UTF-8, has no header, names a column twice that is read, or has decimal commas.
    """
    text = _beginning(path)
    lines = text.splitlines()
    header = lines[0] if lines else ""
    separator = max(SEPARATORS, key=lambda each: len({*read}.intersection(_cells(header, each))))
    names = _cells(header, separator)
    if re.fullmatch(r'"?sep=.?"?', header):
        raise DatasetError(f"{path}: its first line is {header}, for Excel: remove that line")
    twice = [name for name, times in Counter(names).items() if times > 1 and name in read]
    if twice:
        raise DatasetError(
            f"{path} has the column {', '.join(twice)} twice: which one counts? Remove or rename the other"
        )
    for line in lines[1 : 1 + LOOKED_AT_ROWS] if separator != "," else ():
        for name, cell in zip(names, _cells(line, separator), strict=False):
            if name in numbers and DECIMAL_COMMA.fullmatch(cell.strip()):
                raise DatasetError(f"{path}: {name} has a decimal comma ({cell}): write numbers with a point")
    return separator


def what_is_wrong(path: Path, error: str, separator: str) -> str | None:
    """The reason that a file could not be read, and the remedy: not UTF-8, a quote within a cell, too many cells."""
    if "CSV malformed" in error:
        return f'{path} has a quote within a cell: enclose the cell and double that quote ("5"" pipe")'
    latin, many = "utf-8" in error.lower(), "more fields" in error
    if not latin and not many:
        return None
    # the file may be damaged otherwise, or have cells that are too large to check here
    with suppress(OSError, EOFError, zlib.error, csv.Error), _opened(path) as file:
        if latin:
            number = next((at for at, line in enumerate(file, 1) if not _is_utf8(line)), None)
            return (
                f"{path}: line {number} is not UTF-8; if the file is from Windows, "
                f"`iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv` makes it so"
            )
        rows = csv.reader((line.decode(errors="replace") for line in file), delimiter=separator)
        wide = len(next(rows, []))
        row, cells = next(((at, len(row)) for at, row in enumerate(rows, 1) if len(row) > wide), (None, None))
        return (
            f"{path}: row {row} has {cells} cells, the header has {wide}: quote cells that have a {separator!r} in "
            "them, or mend the row"
        )
    return None


def lines_problem(path: Path, beginning: bytes) -> str | None:
    """The reason that a file with this beginning is no NDJSON, and the remedy; None where it may be."""
    start = beginning.lstrip()
    if beginning.startswith(WIDE_MARKS) or b"\0" in beginning[:200]:
        return f"{path} is UTF-16 (or no text): run `iconv -f UTF-16 -t UTF-8 {path.name} > utf8.ndjson`"
    if start.startswith(b"["):
        return f"{path} is a JSON array, not one object a line: run `jq -c '.[]' {path.name} > lines.ndjson`"
    if start.rstrip() == b"{":
        return f"{path} has objects over several lines, not one a line: run `jq -c . {path.name} > lines.ndjson`"
    return None


def _beginning(path: Path) -> str:
    with _opened(path) as file:
        beginning = file.read(BEGINNING_BYTES)
    told = next((told for start, told in NO_TEXT.items() if beginning.startswith(start)), None)
    if told is not None:
        raise DatasetError(f"{path} {told}")
    if beginning.startswith(WIDE_MARKS) or b"\0" in beginning[:200]:
        raise DatasetError(
            f"{path} is UTF-16 (or no text): save it as CSV in UTF-8, or run "
            f"`iconv -f UTF-16 -t UTF-8 {path.name} > utf8.csv`"
        )
    if not beginning.strip(b"\xef\xbb\xbf \r\n"):
        raise DatasetError(f"{path} cannot be read: it is empty")
    if b"\r" in beginning and b"\n" not in beginning:
        raise DatasetError(
            f"{path} has line ends of old Macs (CR alone): run `tr '\\r' '\\n' < {path.name} > lines.csv`"
        )
    return beginning.decode("utf-8-sig", errors="replace")


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    with path.open("rb") as file:
        if path.name.endswith(".gz"):
            with gzip.open(file) as unpacked:
                yield unpacked
        else:
            yield file


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
