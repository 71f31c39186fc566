"""Files of transactions: read in batches, each row held to the same rules as at the HTTP doors."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError
from pydantic import ValidationError

from shared.errors import DatasetError
from shared.transaction import TransactionModel

BATCH_ROWS = 20_000
"""Rows in memory at a time: some ten megabytes."""

LISTED_ROWS = 5
"""Bad rows that a message lists; the others are counted."""

ENDINGS = (".csv", ".csv.gz", ".ndjson", ".parquet")


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

    rows: list[int]
    transactions: list[TransactionModel]
    extras: list[dict[str, Any]]
    refused: list[Refusal]


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
    try:
        frame = _scan(path)
        columns = frame.collect_schema().names()
    except (PolarsError, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {_first_line(error)}") from error
    fields = list(transaction_class.model_fields)
    missing = [name for name in (*fields, *needed) if name not in columns]
    if missing:
        raise DatasetError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)}. "
            f"A transaction needs {', '.join(fields)}"
        )
    extras = [*needed, *(name for name in kept if name in columns and name not in needed)]
    number = 0
    try:
        for chunk in frame.select([*fields, *extras]).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            for part in chunk.iter_slices(BATCH_ROWS):
                yield _batch(part, transaction_class, extras, first_row=number + 1)
                number += part.height
    except PolarsError as error:
        raise DatasetError(f"{path} cannot be read after row {number}: {_first_line(error)}") from error


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file")
    if path.name.endswith((".csv", ".csv.gz")):
        # every cell as text: whether it is a number is for the transaction class to say, row by row
        return pl.scan_csv(path, infer_schema=False)
    if path.name.endswith(".ndjson"):
        return pl.scan_ndjson(path)
    if path.name.endswith(".parquet"):
        return pl.scan_parquet(path)
    raise DatasetError(f"{path}: the name must end in {', '.join(ENDINGS)}")


def _batch(frame: pl.DataFrame, transaction_class: type[TransactionModel], extras: list[str], first_row: int) -> Batch:
    fields = list(transaction_class.model_fields)
    columns = [_values(frame[name], transaction_class, name) for name in fields]
    batch = Batch([], [], [], [])
    beside = frame.select(extras).to_dicts() if extras else [{}] * frame.height
    for row, (values, extra) in enumerate(zip(zip(*columns, strict=True), beside, strict=True), start=first_row):
        try:
            transaction = transaction_class.from_row(dict(zip(fields, values, strict=True)))
        except ValidationError as error:
            reasons = (f"{_field(each['loc'])}: {each['msg']}" for each in error.errors(include_url=False))
            batch.refused.append(Refusal(row, tuple(reasons)))
            continue
        batch.rows.append(row)
        batch.transactions.append(transaction)
        batch.extras.append(extra)
    return batch


def _values(column: pl.Series, transaction_class: type[TransactionModel], name: str) -> list[Any]:
    """The column as the numbers that its field wants; a cell that is none stays as it is, for the message."""
    if name == transaction_class.ID_FIELD or column.dtype not in (pl.String, pl.Float32, pl.Float64):
        return column.to_list()
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
