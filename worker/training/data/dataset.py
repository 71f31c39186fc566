"""Reads files of transactions in batches, each row by the same rules as the HTTP doors."""

import codecs
import gzip
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.cells import cells_of
from riskline.worker.training.data.csv_files import lines_problem, separator_of, what_is_wrong
from riskline.worker.training.data.rows import Block, ColumnBlock, LineBlock, RowBatch, parsed

BATCH_ROWS = 5_000
"""Rows in memory at a time: a few megabytes as objects, which the processor's caches still help with."""

SLICE_ROWS = 12 * BATCH_ROWS
"""Rows of a Parquet file that are decoded at a time; its own row groups may be the whole file."""

CSV_CHUNK_BYTES = "262144"
"""The bytes polars parses at a time: its default grows with the file and the cores, to hundreds of megabytes."""

ALL_COLUMNS = pl.QueryOptFlags(projection_pushdown=False)
"""Parses the columns that are not read, too: else polars takes a row with too many cells, whose values are shifted, and
loses rows behind a quote that is never closed."""

SAMPLE_BYTES = 1_000_000
"""The beginning of a file by which its number of rows is estimated."""

ENDINGS = (".csv", ".csv.gz", ".ndjson", ".parquet")


def read_batches(
    path: Path, transaction_class: type[TransactionModel], *, needed: Sequence[str] = (), kept: Sequence[str] = ()
) -> Iterator[RowBatch]:
    """The file's transactions in batches, with the needed columns, and the kept ones where they exist.

    Raises:
        DatasetError: the file is not there, has another format, or lacks a column.
    """
    blocks = read_blocks(path, transaction_class, needed=needed, kept=kept)
    return (block.batch(transaction_class) for block in blocks)


def read_blocks(
    path: Path, transaction_class: type[TransactionModel], *, needed: Sequence[str] = (), kept: Sequence[str] = ()
) -> Iterator[Block]:
    """The file's rows in blocks, which another process can turn into transactions.

    Raises:
        DatasetError: as `read_batches`.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file")
    read = _read_lines if path.name.endswith(".ndjson") else _read_columns
    return read(path, transaction_class, needed, kept)


def write_frame(frame: pl.DataFrame, out: Path) -> None:
    """Writes a file that `read_batches` can read; in CSV a list or an object is written as JSON.

    Raises:
        DatasetError: it cannot be written.
    """
    try:
        if out.name.endswith(".parquet"):
            frame.write_parquet(out)
        elif out.name.endswith(".ndjson"):
            frame.write_ndjson(out)
        else:
            nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
            cells = {name: [to_json(cell).decode() for cell in frame[name].to_list()] for name in nested}
            flat = frame.with_columns(**{name: pl.Series(texts) for name, texts in cells.items()})
            flat.write_csv(out, compression="gzip" if out.name.endswith(".gz") else "uncompressed")
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error}") from error


def estimated_rows(path: Path) -> int | None:
    """About how many rows the file has: exact for Parquet, else by the length of its first rows; None if unreadable."""
    try:
        if path.name.endswith(".parquet"):
            rows: int = pl.scan_parquet(path).select(pl.len()).collect().item()
            return rows
        with path.open("rb") as file, gzip.open(file) if path.name.endswith(".gz") else file as text:
            lines = text.read(SAMPLE_BYTES).count(b"\n")
            return lines * path.stat().st_size // max(1, file.tell())
    except (PolarsError, OSError, EOFError, zlib.error):
        # reading the file reports the error
        return None


def _read_columns(
    path: Path, transaction_class: type[TransactionModel], needed: Sequence[str], kept: Sequence[str]
) -> Iterator[Block]:
    number, separator = 0, ","
    try:
        if path.name.endswith((".csv", ".csv.gz")):
            separator = _separator(path, transaction_class, (*needed, *kept))
        frame = _scan(path, separator)
        renamed = _renamed(path, transaction_class, frame.collect_schema().names())
        frame = frame.rename(renamed)
        names = frame.collect_schema().names()
        extras = _extras(path, transaction_class, names, needed, kept)
        known = {*names, transaction_class.ID_FIELD}
        fields = {name: field for name, field in transaction_class.model_fields.items() if name in known}
        wanted = frame.select([name for name in dict.fromkeys([*fields, *extras]) if name in names])
        is_text = not path.name.endswith(".parquet")
        # an empty text looks like a missing value
        texts = [name for name in names if name in fields and _is_needed_text(fields[name])]
        for chunk in _chunks(wanted) if is_text else _slices(wanted):
            for part in chunk.iter_slices(BATCH_ROWS):
                rows = range(number + 1, number + 1 + part.height)
                filled, numbers = _filled(part, rows, texts) if is_text else (part, rows)
                yield _columns(_with_ids(filled, numbers, transaction_class), numbers, fields, extras)
                number += part.height
    except (PolarsError, OSError, EOFError, zlib.error) as error:
        told = what_is_wrong(path, str(error), separator) if isinstance(error, PolarsError) else None
        if told is not None:
            raise DatasetError(told) from error
        raise DatasetError(f"{path} cannot be read after row {number}: {_first_line(error)}") from error


def _chunks(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    os.environ.setdefault("POLARS_CSV_CHUNK_SIZE", CSV_CHUNK_BYTES)
    yield from frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, optimizations=ALL_COLUMNS)


def _slices(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The frame in slices: one stream would decode whole row groups, and the next ones ahead of need."""
    for first in count(0, SLICE_ROWS):
        part = frame.slice(first, SLICE_ROWS).collect()
        if part.is_empty():
            return
        yield part


def _read_lines(
    path: Path, transaction_class: type[TransactionModel], needed: Sequence[str], kept: Sequence[str]
) -> Iterator[Block]:
    """Reads line by line with the parser of the HTTP doors: no type is guessed from the first rows."""
    extras: list[str] | None = None
    has_ids, renamed = True, dict[str, str]()
    with path.open("rb") as file:
        for first in count(1, BATCH_ROWS):
            lines = list(islice(file, BATCH_ROWS))
            if not lines and first > 1:
                return
            if extras is None:
                lines[:1] = [line.removeprefix(codecs.BOM_UTF8) for line in lines[:1]]
                if lines and (problem := lines_problem(path, lines[0])) is not None:
                    raise DatasetError(problem)
                columns = dict.fromkeys(name for value in parsed(lines) if isinstance(value, dict) for name in value)
                renamed = _renamed(path, transaction_class, columns)
                columns = dict.fromkeys(renamed.get(name, name) for name in columns)
                extras = _extras(path, transaction_class, columns, needed, kept)
                has_ids = transaction_class.ID_FIELD in columns
            yield LineBlock(first, lines, extras, has_ids=has_ids, renamed=renamed)


def _renamed(path: Path, transaction_class: type[TransactionModel], columns: Collection[str]) -> dict[str, str]:
    """The fields' names of those columns that have others in the file."""
    renamed = {column: name for column, name in transaction_class.FILE_COLUMNS.items() if column in columns}
    for column, name in renamed.items():
        if name in columns or list(renamed.values()).count(name) > 1:
            raise DatasetError(f"{path} has two columns for {name}, of which one is {column}: remove the other")
    return renamed


def _extras(
    path: Path,
    transaction_class: type[TransactionModel],
    columns: Collection[str],
    needed: Sequence[str],
    kept: Sequence[str],
) -> list[str]:
    required = [name for name, field in transaction_class.model_fields.items() if field.is_required()]
    # rows without an id are known by their numbers
    fields = [name for name in required if name != transaction_class.ID_FIELD]
    missing = [name for name in (*fields, *needed) if name not in columns]
    if missing:
        raise DatasetError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}. "
            f"A transaction needs {', '.join(fields)}"
        )
    return [*needed, *(name for name in kept if name in columns and name not in needed)]


def _separator(path: Path, transaction_class: type[TransactionModel], beside: Sequence[str]) -> str:
    fields = transaction_class.model_fields
    others = transaction_class.FILE_COLUMNS
    numbers = {name for name, field in fields.items() if field.annotation in (int, float)}
    numbers |= {column for column, name in others.items() if name in numbers}
    return separator_of(path, numbers, {*fields, *others, *beside})


def _is_needed_text(field: FieldInfo) -> bool:
    return field.annotation is str and field.is_required()


def _filled(part: pl.DataFrame, rows: range, texts: list[str]) -> tuple[pl.DataFrame, Sequence[int]]:
    """The non-empty rows of a CSV and their numbers; missing cells of text fields become empty texts."""
    empty = part.select(pl.all_horizontal(pl.all().is_null())).to_series()
    numbers: Sequence[int] = rows
    if empty.any():
        numbers = [row for row, is_empty in zip(rows, empty, strict=True) if not is_empty]
        part = part.filter(~empty)
    return part.with_columns(pl.col(texts).fill_null("")), numbers


def _with_ids(part: pl.DataFrame, numbers: Sequence[int], transaction_class: type[TransactionModel]) -> pl.DataFrame:
    """The rows with their ids as texts; where the file has none, a row's number is its id."""
    id_field = transaction_class.ID_FIELD
    if id_field not in part.columns:
        return part.with_columns(pl.Series(id_field, list(map(str, numbers)), dtype=pl.String))
    return part.with_columns(pl.col(id_field).cast(pl.String)) if part[id_field].dtype.is_integer() else part


def _scan(path: Path, separator: str) -> pl.LazyFrame:
    if path.name.endswith((".csv", ".csv.gz")):
        # every cell as text: the transaction class decides row by row whether it is a number
        return pl.scan_csv(path, infer_schema=False, separator=separator)
    if path.name.endswith(".parquet"):
        return pl.scan_parquet(path)
    raise DatasetError(f"{path}: the name must end in {', '.join(ENDINGS)}")


def _columns(frame: pl.DataFrame, rows: Sequence[int], fields: dict[str, FieldInfo], extras: list[str]) -> ColumnBlock:
    cells = {name: cells_of(frame[name], field) for name, field in fields.items()}
    beside = frame.select(extras).to_dicts() if extras else None
    # an empty cell is a missing member
    optional = [name for name, field in fields.items() if not field.is_required() and frame[name].null_count()]
    return ColumnBlock(rows, cells, beside, optional)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
