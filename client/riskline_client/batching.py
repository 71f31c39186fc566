"""Many transactions, in batches that the service takes, and what became of them all."""

from collections.abc import Iterator
from contextlib import contextmanager

from riskline_client import protocol
from riskline_client.encoding import Transaction, encoded_line
from riskline_client.errors import RisklineError
from riskline_client.protocol import Call
from riskline_client.refusals import BatchResult, RefusedRow

MOST_BYTES = 8_000_000
"""Of a batch, which is held until it is answered, so that it can be sent again."""

NO_JSON = ("urn:riskline:problem:invalid-transaction", "The transaction is not valid", 422)
"""What the service would say of a row that it could not be sent."""


class Batches:
    """Gathers rows until they make a batch, and adds up what the batches were answered."""

    def __init__(self, *, batch_rows: int, explain: bool, timeout: float) -> None:
        self._batch_rows = batch_rows
        self._explain = explain
        self._timeout = timeout
        self._index = 0
        self._rows: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._accepted = self._known = 0
        self._refused: list[RefusedRow] = []

    def add(self, transaction: Transaction) -> Call[BatchResult] | None:
        """Takes a row; the call that is to be made now, where it fills a batch."""
        index, self._index = self._index, self._index + 1
        try:
            row = encoded_line(transaction)
        except (TypeError, ValueError) as error:
            self._refused.append(RefusedRow(index, *NO_JSON, f"It cannot be written as JSON: {error}."))
            return None
        self._rows.append((index, row))
        self._bytes += len(row)
        return self.rest() if len(self._rows) >= self._batch_rows or self._bytes >= MOST_BYTES else None

    def rest(self) -> Call[BatchResult] | None:
        """The call for the rows that are gathered, if there are any."""
        if not self._rows:
            return None
        rows, self._rows, self._bytes = self._rows, [], 0
        return protocol.submit_rows(
            b"\n".join(row for _, row in rows),
            indexes=[index for index, _ in rows],
            explain=self._explain,
            timeout=self._timeout,
        )

    def take(self, result: BatchResult) -> None:
        """Adds what a batch was answered."""
        self._accepted += result.accepted
        self._known += result.known
        self._refused += result.refused

    @property
    def result(self) -> BatchResult:
        """What became of all rows so far, those refused in their order."""
        refused = sorted(self._refused, key=lambda row: row.index)
        return BatchResult(self._accepted, self._known, tuple(refused))

    @contextmanager
    def told_by_errors(self) -> Iterator[None]:
        """What stops the rest says what became of the rows before."""
        try:
            yield
        except RisklineError as error:
            error.submitted = self.result
            raise
