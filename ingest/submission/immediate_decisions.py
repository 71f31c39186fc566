"""Transactions that are decided at once, in this process: the use case behind the fast path and its responder."""

import orjson

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
    """Validates a transaction, decides it, and has the decision recorded and counted."""

    def __init__(self, *, transaction_class: type[TransactionModel], serving: Serving, recorder: AnyRecorder) -> None:
        self._transaction_class = transaction_class
        self._serving = serving
        self._recorder = recorder
        self._tallied_version = ""
        self._tallies: dict[Action, Tally] = {}

    def decide(self, body: bytes, *, explain: bool) -> bytes:
        """The decision as JSON, on its way into Redis.

        Raises:
            pydantic.ValidationError: the body is no transaction.
            BundleError: no model serves.
        """
        transaction, decision, shown = self._decided(body, explain=explain)
        self._recorder.add(transaction, scored_at=decision.scored_at, shown=shown)
        self._count(decision)
        return shown

    async def decide_recorded(self, body: bytes, strict: StrictRecorder, *, explain: bool) -> bytes:
        """The decision as JSON once it is in Redis, or what was decided before of the same transaction.

        Raises:
            As `decide` and as StrictRecorder.keep.
        """
        transaction, decision, shown = self._decided(body, explain=explain)
        kept = await strict.keep(transaction, decision, shown)
        self._count(decision)
        return kept

    def _decided(self, body: bytes, *, explain: bool) -> tuple[TransactionModel, Decision, bytes]:
        transaction = self._transaction_class.parse(body)
        decision = decide(transaction, self._serving.require(), scored_at=utc_now(), explain=explain)
        return transaction, decision, orjson.dumps(decision.to_dict())

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
