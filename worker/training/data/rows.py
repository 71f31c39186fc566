"""Rows of a file, and the transactions made of them. Without polars, which scoring does not need."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from riskline.shared.domain.columns import RAISED, where
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.shared.wording import no_transactions

LISTED_ROWS = 5
"""Bad rows that a message lists; the others are counted."""

COUNTED_REASONS = 1_000
"""The most reasons that are counted apart: a team's own messages may name the value, and differ in every row."""

HEADER_AGAIN = "row: is the header again, as where files were joined"

Cells = npt.NDArray[Any] | list[Any]
"""A column: numbers side by side where all of its cells are numbers, a fifth of the bytes of a list of objects."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused row: its number in the file (the first row of data is 1), and the reason."""

    row: int
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, row: int, error: ValidationError) -> Self:
        """The refusal of a row by the transaction class."""
        return cls(row, tuple(map(_reason, error.errors(include_url=False, include_input=False))))

    def __str__(self) -> str:
        return f"row {self.row}: {'; '.join(self.reasons)}"


@dataclass
class Refusals:
    """Counts refused rows by reason, and keeps the first of them."""

    total: int = 0
    first: list[Refusal] = field(default_factory=list)
    by_reason: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Rows with the id of an earlier row; they are not refused."""
    first_repeated: tuple[int, str] | None = None

    def see(self, known: set[int], row: int, transaction_id: str) -> None:
        """Notes a repeated id; `known` has the hashes of the ids so far."""
        before = len(known)
        known.add(hash(transaction_id))
        if len(known) == before:
            self.repeated += 1
            if self.first_repeated is None:
                self.first_repeated = (row, transaction_id)

    def add(self, refused: Sequence[Refusal]) -> None:
        """Adds the refusals of a batch."""
        self.total += len(refused)
        self.first += refused[: LISTED_ROWS - len(self.first)]
        for refusal in refused:
            self._count((reason, 1) for reason in refusal.reasons)

    def merge(self, later: "Refusals") -> None:
        """Adds the counts of later rows."""
        self.total += later.total
        self.first += later.first[: LISTED_ROWS - len(self.first)]
        self._count(later.by_reason.items())

    def listed(self) -> str:
        """The first bad rows, and how many more there are."""
        more = self.total - len(self.first)
        return "\n".join([f"  {refusal}" for refusal in self.first] + ([f"  and {more:,} more"] if more else []))

    def _count(self, reasons: Iterable[tuple[str, int]]) -> None:
        for reason, times in reasons:
            if reason in self.by_reason or len(self.by_reason) < COUNTED_REASONS:
                self.by_reason[reason] += times


def bad_rows(path: Path, refusals: Refusals) -> DatasetError:
    """The error for a file with refused rows that are not to be left out."""
    return DatasetError(
        f"{path} has {no_transactions(refusals.total)}; mend the file, or leave such rows out by --skip-bad-rows:\n"
        f"{refusals.listed()}"
    )


@dataclass(frozen=True)
class RowBatch:
    """Rows of a file in their order: those that are transactions, the other columns beside them, and those refused."""

    rows: list[int] = field(default_factory=list)
    transactions: list[TransactionModel] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def take(
        self,
        transaction_class: type[TransactionModel],
        rows: Sequence[int],
        values: list[dict[str, Any]],
        extras: Iterable[dict[str, Any]],
    ) -> None:
        """Takes each row as a transaction, or refuses it with everything that is wrong."""
        try:
            transactions = transaction_class.from_rows(values)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # a team's own class may raise anything
            # one of them is none, or has a whole number as a float: each by itself
            for row, value, extra in zip(rows, values, extras, strict=False):
                self._take_one(transaction_class, row, value, extra)
            return
        self.rows.extend(rows)
        self.transactions.extend(transactions)
        self.extras.extend(islice(extras, len(rows)))

    def without(self, refused: Sequence[Refusal]) -> "RowBatch":
        """The same batch with some of its rows refused."""
        if not refused:
            return self
        gone = {refusal.row for refusal in refused}
        taken = [at for at, row in enumerate(self.rows) if row not in gone]
        return RowBatch(
            [self.rows[at] for at in taken],
            [self.transactions[at] for at in taken],
            [self.extras[at] for at in taken],
            sorted([*self.refused, *refused], key=lambda refusal: refusal.row),
        )

    def _take_one(
        self, transaction_class: type[TransactionModel], row: int, value: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        try:
            transaction = transaction_class.from_row(value)
        except ValidationError as error:
            if len(value) > 1 and all(cell == name for name, cell in value.items()):
                self.refused.append(Refusal(row, (HEADER_AGAIN,)))
                return
            self.refused.append(Refusal.of(row, error))
            return
        self.rows.append(row)
        self.transactions.append(transaction)
        self.extras.append(extra)


class Block(Protocol):
    """Unparsed rows: cheap to send to another process, which makes transactions of them."""

    def batch(self, transaction_class: type[TransactionModel]) -> RowBatch:
        """The rows, each validated by the class."""


@dataclass(frozen=True, slots=True)
class ColumnBlock:
    """Rows of a table: the columns of the transaction's fields, and each row's other values.

    Those that are `optional` have empty cells, for which their fields have a default.
    """

    rows: Sequence[int]
    fields: dict[str, Cells]
    extras: list[dict[str, Any]] | None = None
    optional: Collection[str] = ()

    def batch(self, transaction_class: type[TransactionModel]) -> RowBatch:
        """The rows, each validated by the class."""
        batch = RowBatch()
        columns = [cells.tolist() if isinstance(cells, np.ndarray) else cells for cells in self.fields.values()]
        values = [dict(zip(self.fields, cells, strict=True)) for cells in zip(*columns, strict=True)]
        if self.optional:
            values = [
                {n: cell for n, cell in row.items() if cell is not None or n not in self.optional} for row in values
            ]
        batch.take(transaction_class, self.rows, values, repeat({}) if self.extras is None else self.extras)
        return batch


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Lines of NDJSON, and the names of the wanted members beside the transaction's fields.

    Where the file has no ids, a line's number is its id. `renamed` has the fields' names of members with others.
    """

    first_row: int
    lines: list[bytes]
    extras: Sequence[str] = ()
    has_ids: bool = True
    renamed: Mapping[str, str] = field(default_factory=dict)

    def batch(self, transaction_class: type[TransactionModel]) -> RowBatch:
        """The rows, each validated by the class; skips empty lines."""
        batch = RowBatch()
        numbered = [(row, line) for row, line in enumerate(self.lines, start=self.first_row) if not line.isspace()]
        objects = []
        for (row, _), value in zip(numbered, parsed([line for _, line in numbered]), strict=True):
            if isinstance(value, dict):
                objects.append((row, self._named(value, row, transaction_class.ID_FIELD)))
            else:
                batch.refused.append(Refusal(row, ("row: is not a JSON object",)))
        fields = transaction_class.model_fields
        values = [
            value if value.keys() == fields.keys() else {name: value[name] for name in fields if name in value}
            for _, value in objects
        ]
        extras = ({name: value.get(name) for name in self.extras} for _, value in objects)
        batch.take(transaction_class, [row for row, _ in objects], values, extras)
        batch.refused.sort(key=lambda refusal: refusal.row)
        return batch

    def _named(self, value: dict[str, Any], row: int, id_field: str) -> dict[str, Any]:
        if self.renamed:
            value = {self.renamed.get(name, name): cell for name, cell in value.items()}
        return value if self.has_ids else {id_field: str(row), **value}


def parsed(lines: Sequence[bytes]) -> list[Any]:
    """Each line's JSON value by the parser of the HTTP doors; None where it is no JSON."""
    try:
        # without a call and a try for each line, which cost as much as the parsing
        return [from_json(line, allow_inf_nan=False, cache_strings="keys") for line in lines]
    except ValueError:
        return [_parsed(line) for line in lines]


def _parsed(line: bytes) -> Any:
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError:
        return None


def _reason(detail: ErrorDetails) -> str:
    raised = detail.get("ctx", {}).get(RAISED)
    at = "" if raised is None else f" at {where(raised)}"
    return f"{'.'.join(map(str, detail['loc'])) or 'row'}: {detail['msg']}{at}"
