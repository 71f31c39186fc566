"""Records the synchronous door's decisions before it answers, for teams that prefer no answer to no record."""

from collections.abc import Sequence

import orjson

from riskline.ingest.submission.group_commit import Answer, commits_of
from riskline.ingest.submission.submissions import require_same
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.lifecycle import Status
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import ConflictError
from riskline.shared.store.interfaces import ACCEPTED, NO_ROOM, TransactionIntake
from riskline.shared.store.kept_history import history_members
from riskline.shared.store.records import Outcome, Record, decided, decided_at_once, is_later
from riskline.shared.telemetry.metrics import RECORDED


class StrictRecorder:
    """Records decisions together, each before it is answered."""

    def __init__(self, intake: TransactionIntake) -> None:
        self._intake = intake
        self._commits = commits_of(intake, self._record, call="record")

    async def keep(self, transaction: TransactionModel, decision: Decision, shown: bytes) -> bytes:
        """The decision that is safe in Redis: this one, or the first that the same transaction was given.

        Raises:
            ConflictError: the id belongs to another transaction, or this one has failed in the queue.
            QueueFullError: too many wait to be recorded.
            StoreUnavailableError: Redis failed; repeating the request is safe.
        """
        body, history = transaction.to_json(), history_members(transaction)
        at = decision.scored_at
        answer = await self._commits.answer(
            decided_at_once(transaction.transaction_id, transaction=body + history, scored_at=at, shown=shown)
        )
        if isinstance(answer, Exception):
            raise answer
        if answer is ACCEPTED:
            return shown
        require_same(answer, orjson.loads(body))
        return shown if await self._decides(answer, decision, history) else await self._first(answer, decision)

    async def _decides(self, record: Record, decision: Decision, history: bytes) -> bool:
        """True where the transaction waited in the queue, and this decides it, by the history that it has here."""
        if record["status"] != Status.QUEUED:
            return False
        if is_later(record):
            raise ConflictError(
                "This transaction waits in the queue, where a later release of the service accepted it; "
                "GET /transactions/{id} says what becomes of it."
            )
        if history:
            record = {**record, **orjson.loads(b"{" + history.removeprefix(b",") + b"}")}
        return await self._intake.decide_queued(decided(record, decision))

    async def _first(self, record: Record, decision: Decision) -> bytes:
        """The first decision, with this one's reasons where it was given without and they are the same model's."""
        if record["status"] == Status.QUEUED:
            record = (await self._intake.get([decision.transaction_id]))[0] or record
        first = record.get("decision")
        if first is None:
            raise ConflictError(
                "This transaction was submitted to the queue before and has failed there; GET /transactions/{id} says "
                "why, and `riskline transactions replay` tries it again."
            )
        own = decision.to_dict()
        if "reasons" in own and first["model_version"] == decision.model_version:
            first = {**first, "reasons": own["reasons"]}
        return orjson.dumps(first)

    async def close(self) -> None:
        """Records what is pending."""
        await self._commits.close()

    async def _record(self, intake: TransactionIntake, outcomes: Sequence[Outcome]) -> list[Answer]:
        answers = await intake.record(outcomes, wanted=True)
        RECORDED.inc(sum(answer is ACCEPTED for answer in answers))
        # the record of a known id is wanted, so each answer is that or ACCEPTED
        return [answer for answer in answers if answer is not NO_ROOM]
