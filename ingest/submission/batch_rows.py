"""The rows of a batch as its body arrives: a JSON array or lines, never more of it held than a part and a row."""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from riskline.ingest.problems.problem import HttpProblem, body_too_large, invalid_transaction
from riskline.ingest.submission.callback_field import SubmissionParser, SubmittedTransaction, is_mentioned
from riskline.shared.domain.transaction import many
from riskline.shared.domain.wrong_fields import is_not_json
from riskline.shared.log import get_logger

log = get_logger(__name__)

PART_BYTES = 65_536
"""The bytes of a body taken at once: some hundred rows, 1 ms of the event loop's time."""

BLANKS = b" \t\r\n"
"""JSON's white space (RFC 8259); Python's has more characters."""

BRACES_TRIED = 16
"""The braces, from the last one back, that are tried as a row's end before more of the body is awaited."""

Row = SubmittedTransaction | HttpProblem
"""A row's outcome: a submission, or its problem."""


class RowReader(Protocol):
    """Takes a body piece by piece and returns its rows in order."""

    def feed(self, data: bytes) -> Iterable[Row]:
        """The rows that are complete with this piece, to be read before the next; what is wrong with each is said late.

        Raises:
            HttpProblem: the body cannot go on like this.
        """

    def end(self) -> Iterable[Row]:
        """The last rows; raises HttpProblem where the body must not end here."""


class NdjsonReader:
    """Reads newline-delimited JSON: a line that is none is that row's problem alone."""

    def __init__(self, submissions: SubmissionParser, *, max_row_bytes: int) -> None:
        self._submissions = submissions
        self._max_row_bytes = max_row_bytes
        self._rest = b""
        self._too_long = False

    def feed(self, data: bytes) -> Iterable[Row]:
        """See RowReader."""
        *lines, rest = (self._rest + data).split(b"\n")
        rows = self._rows(lines, first_is_too_long=self._too_long)
        self._too_long = self._too_long and not lines
        if len(rest) > self._max_row_bytes:
            self._too_long, rest = True, b""
        self._rest = rest
        return rows

    def end(self) -> Iterable[Row]:
        """See RowReader."""
        return self._rows([self._rest], first_is_too_long=self._too_long)

    def _rows(self, lines: Sequence[bytes], *, first_is_too_long: bool) -> Iterator[Row]:
        for number, line in enumerate(lines):
            if (first_is_too_long and number == 0) or len(line) > self._max_row_bytes:
                yield body_too_large(self._max_row_bytes)
            elif line.strip(BLANKS):
                yield read_row(self._submissions, line)


class JsonArrayReader:
    """Reads a JSON array.

    The body is cut behind a brace. A row ends there if the part before it, in brackets, parses as an array. If not, the
    brace is inside of a row, and more of the body has to come.
    """

    def __init__(self, submissions: SubmissionParser, *, max_row_bytes: int) -> None:
        self._submissions = submissions
        self._max_row_bytes = max_row_bytes
        self._rest = b""
        self._at = _At.START
        self._try_at = PART_BYTES

    def feed(self, data: bytes) -> Iterable[Row]:
        """See RowReader."""
        self._rest += data
        self._step()
        if self._at not in (_At.FIRST_ROW, _At.ROW) or len(self._rest) < self._try_at:
            return []
        rows, cut = self._rows_to_a_brace()
        if rows is None:
            if len(self._rest) > self._max_row_bytes + PART_BYTES:
                raise _broken("a row is too large, or is not JSON")
            self._try_at = len(self._rest) + PART_BYTES
            return []
        self._rest, self._at, self._try_at = self._rest[cut:], _At.BEHIND_ROW, PART_BYTES
        self._step()
        return rows

    def _rows_to_a_brace(self) -> tuple[Iterable[Row] | None, int]:
        """The rows up to one of the last braces, and its position; bad rows may have braces of their own."""
        cut = len(self._rest)
        for _ in range(BRACES_TRIED):
            cut = self._rest.rfind(b"}", 0, cut)
            if cut < 0:
                break
            rows = self._parsed(self._rest[: cut + 1] + b"]")
            if rows is not None:
                return rows, cut + 1
        return None, 0

    def end(self) -> Iterable[Row]:
        """See RowReader."""
        rest = self._rest.strip(BLANKS)
        if self._at is _At.END or (self._at is _At.FIRST_ROW and rest == b"]"):
            return []
        rows = self._parsed(rest) if self._at in (_At.FIRST_ROW, _At.ROW) else None
        if rows is None:
            raise _broken("it is no JSON array, or does not end")
        return rows

    def _step(self) -> None:
        """Takes the brackets and commas between rows as far as they are here."""
        while self._at not in (_At.FIRST_ROW, _At.ROW):
            self._rest = self._rest.lstrip(BLANKS)
            if not self._rest:
                return
            sign, self._rest = self._rest[:1], self._rest[1:]
            try:
                self._at = _SIGNS[self._at, sign]
            except KeyError:
                raise _broken("it is no JSON array") from None

    def _parsed(self, inside: bytes) -> Iterable[Row] | None:
        """The rows between the brackets, of which the first is left out; None where none are, or it is not JSON."""
        if is_mentioned(inside):
            return self._parsed_one_by_one(inside)
        try:
            rows = many(self._submissions.transaction_class).validate_json(b"[" + inside)
            return [SubmittedTransaction(row, None) for row in rows] or None
        except ValidationError as error:
            if is_not_json(error):
                return None
        except Exception:  # noqa: BLE001  # a team's own class: one row must not take the others with it
            log.debug("a part of a batch is read row by row")
        return self._parsed_one_by_one(inside)

    def _parsed_one_by_one(self, inside: bytes) -> Iterable[Row] | None:
        try:
            values = from_json(b"[" + inside)
        except ValueError:
            return None
        # one after the other as they are wanted: a part of nothing but bad ones takes long
        return (read_row(self._submissions, to_json(value)) for value in values) if values else None


class _At(Enum):
    """The position in an array at which the rest begins."""

    START = auto()
    FIRST_ROW = auto()
    ROW = auto()
    BEHIND_ROW = auto()
    END = auto()


_SIGNS = {(_At.START, b"["): _At.FIRST_ROW, (_At.BEHIND_ROW, b","): _At.ROW, (_At.BEHIND_ROW, b"]"): _At.END}


def read_row(submissions: SubmissionParser, row: bytes) -> Row:
    """A row as POST /transactions would accept or refuse it."""
    try:
        return submissions.parse(row)
    except Exception as error:  # noqa: BLE001  # a team's own class
        return refused_row(error)


def refused_row(error: Exception) -> HttpProblem:
    """The problem of a row that its class refuses, or fails with."""
    if isinstance(error, ValidationError):
        return invalid_transaction(error)
    log.error("a row failed", error=type(error).__name__, exc_info=error)
    return HttpProblem("internal-error")


def _broken(what: str) -> HttpProblem:
    return HttpProblem(
        "not-json",
        f"The body cannot be read as a batch: {what}. Rows before it may have been accepted; to send them again "
        "is safe.",
    )
