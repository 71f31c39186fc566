"""A span for each transaction that a worker assesses, where traces are on and the transaction's is recorded.

OpenTelemetry's conventions for messaging let a span that processes a single message be the child of the one that sent
it, with a link to it beside; so the way of a transaction is one trace. A batch as such has no span: it would be a trace
of its own, which says nothing that its transactions' spans do not.
"""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from riskline.shared.process.jobs import SCORING_QUEUE
from riskline.shared.store.records import Outcome, Record
from riskline.shared.telemetry.trace_context import is_sampled
from riskline.shared.telemetry.tracing import Span, Tracing

DECIDED = ("model_version", "action")


class ProcessSpans:
    """Begins and ends the spans of a batch."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self._tracing = tracing

    def begin(self, rows: Sequence[tuple[str, Record | None]]) -> Mapping[str, Span]:
        """Begins a span for each row whose trace is recorded, and puts it into the record: its callback is a child."""
        if self._tracing is None:
            return {}
        begun: dict[str, Span] = {}
        for transaction_id, record in rows:
            if record is None or not is_sampled(record.get("traceparent")):
                continue
            begun[transaction_id] = span = self._tracing.start(
                f"process {SCORING_QUEUE}",
                kind="consumer",
                parent=record["traceparent"],
                linked=True,
                attributes={
                    "messaging.system": "rq",
                    "messaging.destination.name": SCORING_QUEUE,
                    "messaging.operation.name": "process",
                    "messaging.operation.type": "process",
                    "messaging.message.id": transaction_id,
                    "riskline.batch_transactions": len(rows),
                },
            )
            record["traceparent"] = span.traceparent or record["traceparent"]
        return begun

    def end(self, begun: Mapping[str, Span], outcomes: Iterable[Outcome]) -> None:
        """Ends the spans, each with its outcome."""
        if not begun:
            return
        for outcome in outcomes:
            span = begun.get(outcome.transaction_id)
            if span is None:
                continue
            decision = orjson.loads(outcome.decision) if outcome.decision else {}
            span.end(
                attributes={f"riskline.{name}": decision[name] for name in DECIDED if name in decision},
                error=None if decision else "failed",
            )
