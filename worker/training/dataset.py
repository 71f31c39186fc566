"""Files of transactions: read in batches, each row held to the same rules as at the HTTP doors."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from pydantic import ValidationError
from pydantic_core import from_json

from shared.errors import DatasetError
from shared.transaction import TransactionModel

BATCH_ROWS = 20_000
"""Rows in memory at a time: some ten megabytes."""

LISTED_ROWS = 5
"""Bad rows that a message lists; the others are counted."""

ENDINGS = (".csv", ".csv.gz", ".ndjson", ".parquet")

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
"""How a text cell says yes or no."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that does not fit: its number in the file (the first row of data is 1), and why."""

    row: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"row {self.row}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Batch:
    """Rows of a file in their order: those that are transactions, the other columns beside them, and those refused."""

    rows: list[int] = field(default_factory=list)
    transactions: list[TransactionModel] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def add(
        self, transaction_class: type[TransactionModel], row: int, values: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        """Takes a row as a transaction, or refuses it with everything that is wrong."""
        try:
            transaction = transaction_class.from_row(values)
        except ValidationError as error:
            reasons = (f"{_field(each['loc'])}: {each['msg']}" for each in error.errors(include_url=False))
            self.refused.append(Refusal(row, tuple(reasons)))
            return
        self.rows.append(row)
        self.transactions.append(transaction)
        self.extras.append(extra)


@dataclass
class Refusals:
    """Counts bad rows by reason, and keeps the first of them."""

    total: int = 0
    first: list[Refusal] = field(default_factory=list)
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, refused: Sequence[Refusal]) -> None:
        """Takes the refusals of a batch."""
        self.total += len(refused)
        self.first += refused[: LISTED_ROWS - len(self.first)]
        for refusal in refused:
            self.by_reason.update(refusal.reasons)

    def listed(self) -> str:
        """The first bad rows, and how many more there are."""
        more = self.total - len(self.first)
        return "\n".join([f"  {refusal}" for refusal in self.first] + ([f"  and {more:,} more"] if more else []))


def read_batches(
    path: Path, transaction_class: type[TransactionModel], *, needed: Sequence[str] = (), kept: Sequence[str] = ()
) -> Iterator[Batch]:
    """The file's transactions, a batch at a time, with the columns that are needed, and those kept where they exist.

    Raises:
        DatasetError: the file is not there, has another format, or lacks a column.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file")
    read = _read_lines if path.name.endswith(".ndjson") else _read_columns
    return read(path, transaction_class, needed, kept)


def _read_columns(
    path: Path, transaction_class: type[TransactionModel], needed: Sequence[str], kept: Sequence[str]
) -> Iterator[Batch]:
    number = 0
    try:
        frame = _scan(path)
        extras = _extras(path, transaction_class, frame.collect_schema().names(), needed, kept)
        wanted = frame.select([*transaction_class.model_fields, *extras])
        for chunk in wanted.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            for part in chunk.iter_slices(BATCH_ROWS):
                yield _batch(part, transaction_class, extras, first_row=number + 1)
                number += part.height
    except (PolarsError, OSError) as error:
        raise DatasetError(f"{path} cannot be read after row {number}: {_first_line(error)}") from error


def _read_lines(
    path: Path, transaction_class: type[TransactionModel], needed: Sequence[str], kept: Sequence[str]
) -> Iterator[Batch]:
    """Line by line with the parser of the HTTP doors: no type is guessed from the first rows."""
    fields = set(transaction_class.model_fields)
    extras: list[str] | None = None
    with path.open("rb") as file:
        for first in count(1, BATCH_ROWS):
            lines = list(islice(file, BATCH_ROWS))
            if not lines and first > 1:
                return
            parsed = [(row, _parsed(line)) for row, line in enumerate(lines, start=first) if not line.isspace()]
            if extras is None:
                columns = list(dict.fromkeys(name for _, value in parsed if isinstance(value, dict) for name in value))
                extras = _extras(path, transaction_class, columns, needed, kept)
            batch = Batch()
            for row, value in parsed:
                if isinstance(value, dict):
                    values = {name: cell for name, cell in value.items() if name in fields}
                    batch.add(transaction_class, row, values, {name: value.get(name) for name in extras})
                else:
                    batch.refused.append(Refusal(row, ("row: is not a JSON object",)))
            yield batch


def _extras(
    path: Path,
    transaction_class: type[TransactionModel],
    columns: Collection[str],
    needed: Sequence[str],
    kept: Sequence[str],
) -> list[str]:
    fields = list(transaction_class.model_fields)
    missing = [name for name in (*fields, *needed) if name not in columns]
    if missing:
        raise DatasetError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}. "
            f"A transaction needs {', '.join(fields)}"
        )
    return [*needed, *(name for name in kept if name in columns and name not in needed)]


def _parsed(line: bytes) -> Any:
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError:
        return None


def _scan(path: Path) -> pl.LazyFrame:
    if path.name.endswith((".csv", ".csv.gz")):
        # every cell as text: whether it is a number is for the transaction class to say, row by row
        return pl.scan_csv(path, infer_schema=False)
    if path.name.endswith(".parquet"):
        return pl.scan_parquet(path)
    raise DatasetError(f"{path}: the name must end in {', '.join(ENDINGS)}")


def _batch(frame: pl.DataFrame, transaction_class: type[TransactionModel], extras: list[str], first_row: int) -> Batch:
    fields = list(transaction_class.model_fields)
    columns = [_values(frame[name], transaction_class, name) for name in fields]
    batch = Batch()
    beside = frame.select(extras).to_dicts() if extras else [{}] * frame.height
    for row, (values, extra) in enumerate(zip(zip(*columns, strict=True), beside, strict=True), start=first_row):
        batch.add(transaction_class, row, dict(zip(fields, values, strict=True)), extra)
    return batch


def _values(column: pl.Series, transaction_class: type[TransactionModel], name: str) -> list[Any]:
    """The column as the numbers that its field wants; a cell that is none stays as it is, for the message."""
    if column.dtype.is_decimal():
        column = column.cast(pl.String)
    if name == transaction_class.ID_FIELD or column.dtype not in (pl.String, pl.Float32, pl.Float64):
        return column.to_list()
    if transaction_class.model_fields[name].annotation is bool:
        return [BOOLEANS.get(cell.lower(), cell) if isinstance(cell, str) else cell for cell in column.to_list()]
    numbers = column.cast(pl.Float64, strict=False)
    if transaction_class.model_fields[name].annotation is int:
        whole = numbers.cast(pl.Int64, strict=False)
        if ((whole.cast(pl.Float64) == numbers) | numbers.is_null()).all():
            numbers = whole
    if numbers.null_count() == column.null_count():
        return numbers.to_list()
    return [
        cell if number is None else number for cell, number in zip(column.to_list(), numbers.to_list(), strict=True)
    ]


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "row"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
