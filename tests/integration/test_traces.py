"""One submission is one trace: in the log lines of all processes, and in spans where somebody wants them."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from riskline.shared.webhooks.signing import new_secret
from tests.bench.processes import free_port
from tests.integration.receivers import Receiver, Reply
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE_ID[::-1]}-{CALLER}-00"

SERVER, CLIENT, CONSUMER = 2, 3, 5
"""Kinds of spans, as OTLP numbers them."""


def taken(_: object) -> Reply:
    return Reply(200, {"content-type": "application/x-protobuf"}, b"")


@pytest.fixture
def environment(demo_environment: dict[str, str]) -> dict[str, str]:
    own = {"RISKLINE_CALLBACK_SECRET": new_secret(), "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32"}
    return {**demo_environment, **own, "RISKLINE_LOG_FORMAT": "json"}


def traces_to(port: int, **more: str) -> dict[str, str]:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    return {"RISKLINE_TRACES": "otlp", **endpoint, **more}


def submit(up: RunningUp, name: str, traceparent: str, **more: Any) -> tuple[int, float]:
    """The status of a submission, and the seconds until it was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", up.state["port"], timeout=PATIENCE_SECONDS)
    headers = {"Content-Type": "application/json", "X-Request-ID": f"request-{name}", "traceparent": traceparent}
    body = json.dumps(transaction_json(transaction_id=name, **more))
    began = time.monotonic()
    connection.request("POST", "/transactions", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - began


def said(up: RunningUp, event: str) -> list[dict[str, Any]]:
    """The log lines of an event."""
    found = (line[line.index("{") :] for line in list(up.lines) if f'"event": "{event}"' in line)
    return [json.loads(line) for line in found]


def spans(collector: Receiver) -> Iterator[tuple[str, Any]]:
    """The spans that came, each with its service."""
    for received in list(collector.requests):
        assert (received.target, received.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        for resource in ExportTraceServiceRequest.FromString(received.body).resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    yield attributes["service.name"], span


@pytest.mark.slow
def test_the_lines_of_all_processes_about_a_submission_carry_its_ids(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    events = ("accepted", "decided", "callback delivered")
    with (
        Receiver("204") as receiver,
        RunningUp(tmp_path / "d", environment={**environment, "RISKLINE_LOG_LEVEL": "DEBUG"}) as up,
    ):
        assert submit(up, "t1", SAMPLED, callback_url=receiver.url)[0] == 202
        eventually(lambda: said(up, "callback delivered"))
        lines = [line for event in events for line in said(up, event)]
        [request] = receiver.requests

    assert len({line["pid"] for line in lines}) == 3
    for line in lines:
        assert (line["transaction_id"], line["request_id"]) == ("t1", "request-t1")
        assert (line["trace_id"], line["span_id"]) == (TRACE_ID, CALLER)
    assert request.headers["traceparent"] == SAMPLED


@pytest.mark.slow
def test_nothing_is_said_of_a_transaction_that_goes_well_unless_asked_for(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    with Receiver("204") as receiver, RunningUp(tmp_path / "d", environment=environment) as up:
        assert submit(up, "quiet-1", SAMPLED, callback_url=receiver.url)[0] == 202
        eventually(lambda: receiver.requests)

    assert not up.said("quiet-1")


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_spans_of_api_worker_and_delivery_are_one_trace(
    tmp_path: Path, environment: Mapping[str, str], processes: str
) -> None:
    with (
        Receiver(taken) as collector,
        Receiver("204") as receiver,
        RunningUp(
            tmp_path / "d", environment={**environment, **traces_to(collector.port)}, flags=("--processes", processes)
        ) as up,
    ):
        assert submit(up, "t0", UNSAMPLED, callback_url=receiver.url)[0] == 202
        assert submit(up, "t1", SAMPLED, callback_url=receiver.url)[0] == 202
        eventually(lambda: len(receiver.requests) == 2)
        eventually(lambda: len(list(spans(collector))) == 3)
        sent = {each.headers["traceparent"].split("-")[1]: each.headers["traceparent"] for each in receiver.requests}
        (api, served), (worker, processed), (delivery, delivered) = sorted(
            spans(collector), key=lambda each: each[1].start_time_unix_nano
        )

    assert [api, worker, delivery] == ["riskline-api", "riskline-worker", "riskline-delivery"]
    assert [each.kind for each in (served, processed, delivered)] == [SERVER, CONSUMER, CLIENT]
    assert [each.name for each in (served, processed, delivered)] == [
        "POST /transactions",
        "process riskline-scoring",
        "POST",
    ]
    assert {each.trace_id.hex() for each in (served, processed, delivered)} == {TRACE_ID}
    assert served.parent_span_id.hex() == CALLER
    assert processed.parent_span_id == served.span_id
    assert [(link.trace_id, link.span_id) for link in processed.links] == [(served.trace_id, served.span_id)]
    assert delivered.parent_span_id == processed.span_id
    assert sent[TRACE_ID] == f"00-{TRACE_ID}-{delivered.span_id.hex()}-01"
    # of a trace that is not recorded there are no spans, and it is handed on all the same
    assert sent[TRACE_ID[::-1]].endswith("-00")


@pytest.mark.slow
def test_a_collector_that_is_away_costs_no_request_and_two_lines_a_process(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    port = free_port()
    own = {**environment, **traces_to(port, OTEL_EXPORTER_OTLP_TIMEOUT="1", OTEL_BSP_MAX_QUEUE_SIZE="600")}
    with Receiver("204") as receiver, RunningUp(tmp_path / "d", environment=own) as up:
        away = [submit(up, f"t{n}", SAMPLED, callback_url=receiver.url) for n in range(700)]
        eventually(lambda: len(receiver.requests) == 700)
        eventually(lambda: len(said(up, "traces are not taken, and dropped")) == 3)
        with Receiver(taken, port=port) as collector:
            there = [submit(up, f"after-{n}", SAMPLED, callback_url=receiver.url) for n in range(100)]
            eventually(lambda: len(said(up, "traces are taken again")) == 3)
            eventually(lambda: any(span.name == "POST" for _, span in spans(collector)))

    assert {status for status, _ in away + there} == {202}
    assert median(seconds for _, seconds in away) < 5 * median(seconds for _, seconds in there)
    assert not up.said("is killed")
    assert not [line for line in up.lines if "opentelemetry" in line or "Traceback" in line]


@pytest.mark.slow
def test_a_variable_of_the_sdk_that_is_wrong_is_named_in_one_line(demo_environment: dict[str, str]) -> None:
    own = traces_to(1, OTEL_BSP_MAX_QUEUE_SIZE="0")

    ended = riskline("api", environment={**demo_environment, **own, "REDIS_URL": "redis://127.0.0.1:1"})

    assert ended.returncode == 1
    assert "max_queue_size" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    # as an installation without it: a package of the name, with nothing in it
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    own = {"RISKLINE_TRACES": "otlp", "PYTHONPATH": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1"}

    ended = riskline("api", environment={**demo_environment, **own})

    assert ended.returncode == 1
    assert "pip install '.[otel]'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
