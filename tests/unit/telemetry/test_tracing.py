"""Which trace something belongs to is said in log lines, handed on, and made into spans only where it is recorded."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from falcon import testing
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from riskline.shared.store.interfaces import Claim
from riskline.shared.telemetry.otel import OtelTracing
from riskline.shared.telemetry.trace_context import is_sampled, log_fields, traceparent
from riskline.shared.telemetry.tracing import create_tracing
from riskline.worker.scoring.drain import Listeners, outcomes
from riskline.worker.scoring.spans import ProcessSpans
from tests.support.api import Api
from tests.support.factories import AmountModel, transaction_json

TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = (f"00-{TRACE_ID}-{CALLER}-{flags}" for flags in ("01", "00"))


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[OtelTracing]:
    made = OtelTracing(service="test", exporter=exporter)
    yield made
    made.close()


def ended(tracing: OtelTracing, exporter: InMemorySpanExporter) -> list[Any]:
    tracing.close()
    return list(exporter.get_finished_spans())


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "00-x",
        SAMPLED + "\n",
        SAMPLED.upper(),
        "ff" + SAMPLED[2:],
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
    ],
)
def test_what_is_no_traceparent_is_none(given: str | None) -> None:
    assert traceparent(given) is None
    assert not is_sampled(given)
    assert log_fields({"traceparent": given}) == {}


def test_a_line_has_the_ids_under_the_names_that_logs_have_for_them() -> None:
    assert traceparent(SAMPLED) == SAMPLED
    assert (is_sampled(SAMPLED), is_sampled(UNSAMPLED), is_sampled(7)) == (True, False, False)
    assert log_fields({"request_id": "r1", "traceparent": SAMPLED, "transaction": {"amount": 1}}) == {
        "request_id": "r1",
        "trace_id": TRACE_ID,
        "span_id": CALLER,
    }


def test_a_request_is_a_span_of_its_caller_and_what_it_queues_is_its_child(
    tracing: OtelTracing, exporter: InMemorySpanExporter
) -> None:
    api = Api(tracing=tracing)
    post = lambda name, headers: api.client.simulate_post(  # noqa: E731
        "/transactions", json=transaction_json(transaction_id=name), headers=headers
    )
    assert post("t1", {"traceparent": SAMPLED, "X-Request-ID": "r1"}).status_code == 202
    assert post("t2", {}).status_code == 202
    api.client.simulate_get("/transactions/none")
    for path in ("/health/ready", "/metrics"):
        api.client.simulate_get(path)

    first, second, third = ended(tracing, exporter)
    records = dict(zip(("t1", "t2"), asyncio.run(api.store.get(["t1", "t2"])), strict=True))

    assert [each.name for each in (first, second, third)] == [
        "POST /transactions",
        "POST /transactions",
        "GET /transactions/{transaction_id}",
    ]
    assert (f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (TRACE_ID, CALLER)
    assert second.parent is None
    assert first.kind is SpanKind.SERVER
    assert first.attributes["riskline.request_id"] == "r1"
    assert third.attributes["http.response.status_code"] == 404
    for span, name in ((first, "t1"), (second, "t2")):
        context = span.context
        assert records[name]["traceparent"][:-3] == f"00-{context.trace_id:032x}-{context.span_id:016x}"
        assert is_sampled(records[name]["traceparent"])


def test_a_failure_of_ours_is_an_error_and_one_of_the_clients_is_none(
    tracing: OtelTracing, exporter: InMemorySpanExporter
) -> None:
    api = Api(tracing=tracing)
    api.store.accept = None  # type: ignore[assignment]

    for body in (transaction_json(), {"amount": 1}):
        api.client.simulate_post("/transactions", json=body)

    failed, refused = ended(tracing, exporter)
    assert (failed.attributes["error.type"], failed.status.is_ok) == ("500", False)
    assert ("error.type" in refused.attributes, refused.attributes["http.response.status_code"]) == (False, 422)


def test_a_worker_makes_spans_of_recorded_traces_and_of_no_others(
    tracing: OtelTracing, exporter: InMemorySpanExporter
) -> None:
    def record(amount: object, **more: str) -> dict[str, Any]:
        return {
            "status": "queued",
            "submitted_at": "2026-11-24T03:15:07.123Z",
            "transaction": transaction_json(amount=amount),
            "callback_url": "https://shop.example/hook",
            **more,
        }

    rows: list[Any] = [("a", record(9000, traceparent=SAMPLED)), ("b", record(1, traceparent=UNSAMPLED))]
    rows += [("c", record(1)), ("d", None), ("e", record("none", traceparent=SAMPLED))]
    for name, kept in rows:
        if kept is not None:
            kept["transaction"]["transaction_id"] = name
    spans = ProcessSpans(tracing)

    begun = spans.begin(rows)
    done = outcomes(Claim(rows), model=AmountModel(), transaction_class=Transaction)
    spans.end(begun, done)

    a, e = sorted(ended(tracing, exporter), key=lambda span: span.attributes["messaging.message.id"])
    assert [span.attributes["messaging.message.id"] for span in (a, e)] == ["a", "e"]
    assert (f"{a.parent.span_id:016x}", f"{a.links[0].context.span_id:016x}") == (CALLER, CALLER)
    assert (a.kind, a.attributes["riskline.action"], a.attributes["riskline.batch_transactions"]) == (
        SpanKind.CONSUMER,
        "DECLINE",
        5,
    )
    assert (e.attributes["error.type"], e.status.is_ok) == ("failed", False)
    callbacks = {each.transaction_id: json.loads(each.callback.event) for each in done if each.callback}
    assert callbacks["a"]["traceparent"] == f"00-{TRACE_ID}-{a.context.span_id:016x}-01"
    assert callbacks["b"]["traceparent"] == UNSAMPLED


def test_no_value_of_a_transaction_is_in_a_span(tracing: OtelTracing, exporter: InMemorySpanExporter) -> None:
    api = Api(tracing=tracing)
    body = transaction_json(transaction_id="t1", amount=4747.5)
    api.client.simulate_post("/transactions?secret=4747.5", json=body, headers={"traceparent": SAMPLED})
    api.client.simulate_post("/score-transaction", json=body, headers={"Authorization": "Bearer 4747.5"})
    api.work(Listeners(spans=ProcessSpans(tracing)))

    told = "".join(span.to_json() for span in ended(tracing, exporter))

    assert "process riskline-scoring" in told
    assert "4747" not in told


def test_without_traces_no_tracer_is_made_and_a_sampled_record_stays_as_it_is() -> None:
    assert create_tracing(load_settings(), service="riskline-api") is None
    rows = [("a", {"traceparent": SAMPLED})]

    assert ProcessSpans().begin(rows) == {}
    assert rows == [("a", {"traceparent": SAMPLED})]


def test_a_wrong_variable_of_the_sdk_is_said_as_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")

    with pytest.raises(SettingsError, match="max_queue_size"):
        create_tracing(load_settings(traces="otlp"), service="riskline-api")


def test_the_operators_own_name_for_the_service_outranks_ours(
    monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fraud")
    tracing = OtelTracing(service="riskline-api", exporter=exporter)
    testing.TestClient(Api(tracing=tracing).app).simulate_get("/decisions")

    [span] = ended(tracing, exporter)

    assert span.resource.attributes["service.name"] == "fraud"
