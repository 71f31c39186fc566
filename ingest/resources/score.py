"""POST /score-transaction: the decision at once, in this process."""

import falcon.asgi
import orjson

from riskline.ingest.edge.bodies import explain_wanted, read_json_body
from riskline.ingest.edge.turns import Turns
from riskline.ingest.problems.problem import Problem
from riskline.ingest.recording.recorder import AnyRecorder
from riskline.ingest.recording.strict import StrictRecorder
from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import decide
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.policy import Action
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.serving import Serving
from riskline.shared.telemetry.metrics import DECISIONS, PROBABILITY, PROBABILITY_BUCKETS, Tally


class ScoreResource:
    """Validates, assesses and answers; what is recorded comes after, or before where that is set."""

    def __init__(
        self,
        *,
        transaction_class: type[TransactionModel],
        serving: Serving,
        recorder: AnyRecorder,
        strict: StrictRecorder | None,
        turns: Turns,
        max_body_bytes: int,
    ) -> None:
        self._transaction_class = transaction_class
        self._serving = serving
        self._recorder = recorder
        self._strict = strict
        self._turns = turns
        self._max_body_bytes = max_body_bytes
        self._tallied_version = ""
        self._tallies: dict[Action, Tally] = {}

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and the decision."""
        body = await read_json_body(req, max_body_bytes=self._max_body_bytes)
        explain = explain_wanted(req)
        if self._turns.full:
            raise Problem("too-busy")
        if self._strict is None:
            await self._recorder.pressure.low()
            resp.data = self.decide(body, explain=explain)
        else:
            with self._turns.scoring():
                transaction, decision, shown = self._assess(body, explain=explain)
                resp.data = await self._strict.keep(transaction, decision, shown)
                self._count(decision)

    def decide(self, body: bytes, *, explain: bool) -> bytes:
        """The decision as JSON, on its way into Redis.

        Raises:
            pydantic.ValidationError: the body is no transaction.
            BundleError: no model serves.
        """
        transaction, decision, shown = self._assess(body, explain=explain)
        self._recorder.add(transaction, scored_at=decision.scored_at, shown=shown)
        self._count(decision)
        return shown

    def _assess(self, body: bytes, *, explain: bool) -> tuple[TransactionModel, Decision, bytes]:
        transaction = self._transaction_class.parse(body)
        decision = decide(transaction, self._serving.require(), scored_at=utc_now(), explain=explain)
        return transaction, decision, orjson.dumps(decision.to_dict())

    def _count(self, decision: Decision) -> None:
        if decision.model_version != self._tallied_version:
            self._tallied_version = decision.model_version
            self._tallies = _tallies(decision.model_version)
        self._tallies[decision.action].add_observed(decision.fraud_probability)


def _tallies(version: str) -> dict[Action, Tally]:
    """Those of one model version: to look the labels up for each decision would cost more than to count it."""
    probability = PROBABILITY.labels("sync", version)
    return {
        action: Tally(DECISIONS.labels("sync", action.value, version), probability, PROBABILITY_BUCKETS)
        for action in Action
    }
