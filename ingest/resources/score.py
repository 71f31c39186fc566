"""POST /score-transaction: the decision at once, in this process."""

import falcon.asgi

from riskline.ingest.edge.bodies import dry_run_wanted, explain_wanted, read_json_body
from riskline.ingest.edge.turns import Turns
from riskline.ingest.history.observer import Observed, required
from riskline.ingest.problems.problem import HttpProblem
from riskline.ingest.recording.backpressure import Backpressure
from riskline.ingest.recording.strict_recorder import StrictRecorder
from riskline.ingest.submission.group_commit import COMMITTED
from riskline.ingest.submission.immediate_decisions import ImmediateDecisions
from riskline.shared.domain.transaction import TransactionModel


class ScoreResource:
    """Answers with the decision; it is recorded after that, or before where a strict recorder is given.

    Of a dry run nothing is kept.
    """

    def __init__(
        self,
        decisions: ImmediateDecisions,
        *,
        pressure: Backpressure,
        strict: StrictRecorder | None,
        turns: Turns,
        max_body_bytes: int,
    ) -> None:
        self._decisions = decisions
        self._pressure = pressure
        self._strict = strict
        self._turns = turns
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and the decision."""
        body = await read_json_body(req, max_body_bytes=self._max_body_bytes)
        explain, dry_run = explain_wanted(req), dry_run_wanted(req)
        if self._turns.full:
            raise HttpProblem("too-busy")
        if self._strict is None and not dry_run:
            await self._pressure.low()
        with self._turns.scoring():
            if dry_run:
                resp.data = await self._decisions.dry_run(body, explain=explain)
            else:
                resp.data = await self._decided(await self._observed(req, body), explain=explain)

    async def _observed(self, req: falcon.asgi.Request, body: bytes) -> TransactionModel:
        # the fast path has observed it already, where it could not answer
        observed: Observed | None = req.scope.get("state", {}).get(COMMITTED)
        return await self._decisions.observed(body) if observed is None else required(observed)

    async def _decided(self, transaction: TransactionModel, *, explain: bool) -> bytes:
        if self._strict is None:
            return self._decisions.decide(transaction, explain=explain)
        return await self._decisions.decide_recorded(transaction, self._strict, explain=explain)
