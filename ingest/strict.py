"""Keeps what the synchronous door decides before it answers, for who would rather have no answer than no record."""

from collections.abc import Sequence

import orjson

from ingest.commits import Answer, GroupCommit
from shared.errors import ConflictError
from shared.metrics import RECORDED
from shared.store.records import Outcome, decided_at_once
from shared.store.transactions import ACCEPTED, TransactionIntake
from shared.transaction import TransactionModel


class StrictRecorder:
    """Records decisions together, each before it is answered."""

    def __init__(self, intake: TransactionIntake) -> None:
        self._intake = intake
        self._commits: GroupCommit[Outcome] = GroupCommit(self._record, call="record")

    async def keep(self, transaction: TransactionModel, *, scored_at: str, shown: bytes) -> bytes:
        """The decision that is safe in Redis: this one, or the first that the same transaction was given.

        Raises:
            ConflictError: the id belongs to another transaction.
            QueueFullError: too many wait to be recorded.
            StoreUnavailableError: Redis failed; repeating the request is safe.
        """
        body = transaction.to_json()
        answer = await self._commits.answer(
            decided_at_once(transaction.transaction_id, transaction=body, scored_at=scored_at, shown=shown)
        )
        if isinstance(answer, Exception):
            raise answer
        if answer is ACCEPTED:
            return shown
        if answer["transaction"] != orjson.loads(body):
            raise ConflictError(
                "This transaction_id was submitted with another body; a new transaction needs a new id, "
                "and a repetition needs the same body."
            )
        first = answer.get("decision")
        return shown if first is None else orjson.dumps(first)

    async def close(self) -> None:
        """Records what is pending."""
        await self._commits.close()

    async def _record(self, outcomes: Sequence[Outcome]) -> list[Answer]:
        answers = await self._intake.record(outcomes, wanted=True)
        RECORDED.inc(sum(answer is ACCEPTED for answer in answers))
        return list(answers)
