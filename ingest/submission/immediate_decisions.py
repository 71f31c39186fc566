"""Transactions that are decided at once, in this process: the use case behind the fast path and its responder."""

from collections.abc import Callable

import orjson

from riskline.ingest.history.observer import Observer
from riskline.ingest.recording.recorder import AnyRecorder
from riskline.ingest.recording.strict_recorder import StrictRecorder
from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import decide
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.policy import Action
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.serving import Serving
from riskline.shared.telemetry.metrics import DECISIONS, PROBABILITY, PROBABILITY_BUCKETS, WITHOUT_HISTORY, Tally


class ImmediateDecisions:
    """Parses a transaction, observes it, decides it, and has the decision recorded and counted."""

    def __init__(
        self,
        *,
        transaction_class: type[TransactionModel],
        serving: Serving,
        recorder: AnyRecorder,
        observer: Observer | None,
    ) -> None:
        """`observer` is None where the class has no history."""
        self.parse: Callable[[bytes], TransactionModel] = transaction_class.parse
        self._serving = serving
        self._recorder = recorder
        self._observer = observer
        self._tallied_version = ""
        self._tallies: dict[Action, Tally] = {}

    def decide(self, transaction: TransactionModel, *, explain: bool) -> bytes:
        """The decision as JSON, on its way into Redis.

        Raises:
            BundleError: no model serves.
            HistoryRequiredError: it lacks its history, and the model has no twin.
        """
        # as `_decided` does: a call more is a fiftieth of what a request costs
        decision = decide(transaction, self._serving.require(), scored_at=utc_now(), explain=explain)
        shown = orjson.dumps(decision.to_dict())
        self._recorder.add(transaction, scored_at=decision.scored_at, shown=shown)
        self._count(decision)
        return shown

    async def decide_recorded(self, transaction: TransactionModel, strict: StrictRecorder, *, explain: bool) -> bytes:
        """The decision as JSON once it is in Redis, or what was decided before of the same transaction.

        Raises:
            As `decide` and as StrictRecorder.keep.
        """
        decision, shown = self._decided(transaction, explain=explain)
        kept = await strict.keep(transaction, decision, shown)
        self._count(decision)
        return kept

    async def observed(self, body: bytes) -> TransactionModel:
        """The transaction of a body, added to the history of its entities.

        Raises:
            pydantic.ValidationError: the body is no transaction.
            HistoryRequiredError: the history is away, and it may not lack it.
        """
        transaction = self.parse(body)
        return transaction if self._observer is None else await self._observer.observed(transaction, at_once=True)

    async def dry_run(self, body: bytes, *, explain: bool) -> bytes:
        """The decision that the transaction would get now, as JSON; nothing of it is kept or counted.

        Raises:
            As `observed` and `decide`.
        """
        transaction = self.parse(body)
        if self._observer is not None:
            transaction = await self._observer.look(transaction)
        return self._decided(transaction, explain=explain)[1]

    def _decided(self, transaction: TransactionModel, *, explain: bool) -> tuple[Decision, bytes]:
        decision = decide(transaction, self._serving.require(), scored_at=utc_now(), explain=explain)
        return decision, orjson.dumps(decision.to_dict())

    def _count(self, decision: Decision) -> None:
        if decision.model_version != self._tallied_version:
            self._tallied_version = decision.model_version
            self._tallies = _tallies(decision.model_version)
        self._tallies[decision.action].add_observed(decision.fraud_probability)
        if decision.history is not None:
            WITHOUT_HISTORY.labels("sync").inc()


def _tallies(version: str) -> dict[Action, Tally]:
    """The counters of one model version: looking the labels up for each decision would cost more than counting."""
    probability = PROBABILITY.labels("sync", version)
    return {
        action: Tally(DECISIONS.labels("sync", action.value, version), probability, PROBABILITY_BUCKETS)
        for action in Action
    }
