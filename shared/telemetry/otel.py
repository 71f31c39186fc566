"""Spans by OpenTelemetry's SDK, sent by OTLP; loaded only where traces are on. The SDK reads `OTEL_*` itself."""

import logging
import threading
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from riskline.shared.errors import SettingsError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.telemetry.trace_context import TRACEPARENT, traceparent
from riskline.shared.telemetry.tracing import Attributes, Kind

log = get_logger(__name__)

CLOSE_SECONDS = 1.5
"""The time for the last spans when a process ends: an unreachable collector costs no more."""

KINDS = {"server": SpanKind.SERVER, "consumer": SpanKind.CONSUMER, "client": SpanKind.CLIENT}


class OtelSpan:
    """`tracing.Span` over one of the SDK's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """See Span."""
        context = self._span.get_span_context()
        return traceparent(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}")

    def end(self, *, attributes: Attributes, name: str | None = None, error: str | None = None) -> None:
        """See Span."""
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtelTracing:
    """`tracing.Tracing` over the SDK: spans wait in a bounded queue, beyond which they are dropped."""

    def __init__(self, *, service: str, exporter: SpanExporter) -> None:
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override these
        resource = Resource.create({"service.name": service, "service.namespace": "riskline"})
        self._provider = TracerProvider(
            resource=resource.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("riskline")

    def start(
        self, name: str, *, kind: Kind, parent: str | None, attributes: Attributes, linked: bool = False
    ) -> OtelSpan:
        """See Tracing."""
        caller = _context(parent)
        return OtelSpan(
            self._tracer.start_span(
                name,
                context=trace.set_span_in_context(NonRecordingSpan(caller or trace.INVALID_SPAN_CONTEXT)),
                kind=KINDS[kind],
                attributes=dict(attributes),
                links=[Link(caller)] if linked and caller is not None else None,
            )
        )

    def close(self) -> None:
        """See Tracing; in a thread, as the SDK's own shutdown waits for 30 seconds where its collector is away."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class LoggedExporter(SpanExporter):
    """Logs an outage of the collector once, and its end once, in place of the SDK's own lines.

    The SDK logs one line for each attempt.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._reason = "no spans were taken"
        self._outage = Outage(log, failing="traces are not taken, and dropped", back="traces are taken again")
        logging.getLogger("opentelemetry.exporter").setLevel(logging.WARNING)
        logging.getLogger(type(exporter).__module__).addFilter(self._heard)
        # that its queue is full says nothing more then; else it is said, three times a minute at the most
        logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(lambda _record: not self._outage.lasts)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans, within ten seconds or OTEL_EXPORTER_OTLP_TIMEOUT."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.over()
        else:
            self._outage.failed(self._reason)
        return result

    def shutdown(self) -> None:
        """Gives up the present attempt."""
        self._exporter.shutdown()

    def _heard(self, record: logging.LogRecord) -> bool:
        self._reason = record.getMessage()
        return False


def create(service: str) -> OtelTracing:
    """The tracer of a process, configured by the `OTEL_*` variables.

    Raises:
        SettingsError: one of them has a wrong value.
    """
    try:
        return OtelTracing(service=service, exporter=LoggedExporter(OTLPSpanExporter()))
    except ValueError as error:
        raise SettingsError(f"RISKLINE_TRACES is otlp, and a variable of OpenTelemetry's is wrong: {error}") from None


def _context(parent: str | None) -> SpanContext | None:
    found = TRACEPARENT.fullmatch(parent) if parent else None
    if found is None:
        return None
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16)))
