"""The reasons why rows were refused, and the result of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One fault of a transaction: a JSON Pointer (RFC 6901) to the field, and its description."""

    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.detail}" if self.pointer else self.detail


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not accepted, by its index in all that was given (from 0): the problem that it had had alone."""

    index: int
    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldProblem, ...] = ()

    @classmethod
    def from_json(cls, document: Document, *, indexes: Sequence[int]) -> Self:
        """The row of an answer about a batch of the rows with these indexes."""
        return cls(
            index=indexes[document["index"]],
            type=document["type"],
            title=document["title"],
            status=document["status"],
            detail=document["detail"],
            errors=field_problems(document),
        )


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of many rows: the number of new ones, the number of known ones, and the refused ones.

    A row that was accepted by an attempt whose answer was lost counts as known.
    """

    accepted: int = 0
    known: int = 0
    refused: tuple[RefusedRow, ...] = ()

    @classmethod
    def from_json(cls, document: Document, *, indexes: Sequence[int]) -> Self:
        """The result of an answer about a batch of the rows with these indexes."""
        refused = tuple(RefusedRow.from_json(row, indexes=indexes) for row in document.get("rows", ()))
        return cls(document.get("accepted", 0), document.get("known", 0), refused)


def field_problems(document: Document) -> tuple[FieldProblem, ...]:
    """The `errors` of a problem; a gateway has others, which are let be."""
    errors = document.get("errors")
    return tuple(
        FieldProblem(each["pointer"], each["detail"])
        for each in (errors if isinstance(errors, list) else ())
        if isinstance(each, dict) and isinstance(each.get("pointer"), str) and isinstance(each.get("detail"), str)
    )
