"""POST /score-transaction: the decision at once, in this process."""

import falcon.asgi

from riskline.ingest.edge.bodies import explain_wanted, read_json_body
from riskline.ingest.edge.turns import Turns
from riskline.ingest.problems.problem import HttpProblem
from riskline.ingest.recording.backpressure import Backpressure
from riskline.ingest.recording.strict_recorder import StrictRecorder
from riskline.ingest.submission.immediate_decisions import ImmediateDecisions


class ScoreResource:
    """Answers with the decision; it is recorded after that, or before where a strict recorder is given."""

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
        explain = explain_wanted(req)
        if self._turns.full:
            raise HttpProblem("too-busy")
        if self._strict is None:
            await self._pressure.low()
            resp.data = self._decisions.decide(body, explain=explain)
        else:
            with self._turns.scoring():
                resp.data = await self._decisions.decide_recorded(body, self._strict, explain=explain)
