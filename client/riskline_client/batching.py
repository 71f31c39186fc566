"""Many transactions, in batches that the service takes, and the result of them all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from uuid import uuid4

from riskline_client import protocol
from riskline_client.encoding import Transaction, encoded_line
from riskline_client.errors import Problem, RisklineError, error_of
from riskline_client.refusals import BatchResult, RefusedRow
from riskline_client.retrying import LEAST_ATTEMPT_SECONDS, PASSING, Deadline
from riskline_client.waiting import Pause, Steps

MOST_BYTES = 8_000_000
"""The size of a batch, which is held until its answer so that it can be sent again."""

NO_JSON = ("urn:riskline:problem:invalid-transaction", "The transaction is not valid", 422)
"""The answer that the service would give to a row that cannot be sent."""


AGAIN_SECONDS = 1.0
"""The pause before rows are sent again that found no room beside others: as often as the service looks at its queue.
Where all of them find none, its `Retry-After` says more."""


class Batches:
    """Gathers rows into batches, and adds up the answers."""

    def __init__(self, *, batch_rows: int, explain: bool, timeout: float) -> None:
        self._batch_rows = batch_rows
        self._explain = explain
        self._timeout = timeout
        self._index = 0
        self._rows: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._accepted = self._known = 0
        self._refused: list[RefusedRow] = []

    def add(self, transaction: Transaction) -> Steps[None] | None:
        """Takes a row; the steps that are to be made now, where it fills a batch."""
        index, self._index = self._index, self._index + 1
        try:
            row = encoded_line(transaction)
        except (TypeError, ValueError, RecursionError) as error:
            self._refused.append(RefusedRow(index, *NO_JSON, f"It cannot be written as JSON: {error}."))
            return None
        self._rows.append((index, row))
        self._bytes += len(row)
        return self.rest() if len(self._rows) >= self._batch_rows or self._bytes >= MOST_BYTES else None

    def rest(self) -> Steps[None] | None:
        """The steps for the rows that are gathered, if there are any."""
        if not self._rows:
            return None
        rows, self._rows, self._bytes = self._rows, [], 0
        return self._sent(rows)

    def _sent(self, rows: Sequence[tuple[int, bytes]]) -> Steps[None]:
        """Sends rows, and those again that found no room, until each is accepted or refused for good.

        Raises:
            ProblemError: some have found no room in time.
        """
        deadline = Deadline(self._timeout)
        while True:
            request_id = uuid4().hex
            result: BatchResult = yield protocol.submit_rows(
                b"\n".join(row for _, row in rows),
                indexes=[index for index, _ in rows],
                explain=self._explain,
                timeout=deadline.left,
                request_id=request_id,
            )
            left = {row.index: row for row in result.refused if row.status in PASSING}
            self._accepted += result.accepted
            self._known += result.known
            self._refused += (row for row in result.refused if row.index not in left)
            if not left:
                return
            if deadline.left < AGAIN_SECONDS + LEAST_ATTEMPT_SECONDS:
                raise error_of(_problem(next(iter(left.values())), request_id=request_id))
            yield Pause(AGAIN_SECONDS)
            rows = [(index, row) for index, row in rows if index in left]

    @property
    def result(self) -> BatchResult:
        """The results of all rows so far, the refused ones in their order."""
        refused = sorted(self._refused, key=lambda row: row.index)
        return BatchResult(self._accepted, self._known, tuple(refused))

    @contextmanager
    def told_by_errors(self) -> Iterator[None]:
        """Adds the results so far to an error that stops the rest."""
        try:
            yield
        except RisklineError as error:
            error.submitted = self.result
            raise


def _problem(row: RefusedRow, *, request_id: str) -> Problem:
    """The answer of the service, had the row come alone."""
    return Problem(
        type=row.type,
        title=row.title,
        status=row.status,
        detail=row.detail,
        request_id=request_id,
        errors=row.errors,
        members=asdict(row),
    )
