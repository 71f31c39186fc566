"""The HTTP application: every route on one screen."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

import falcon.asgi

from riskline.ingest.auth.authentication import KeyMiddleware
from riskline.ingest.auth.hosts import AllowedHosts, HostMiddleware
from riskline.ingest.background.exported_metrics import ExportedMetrics
from riskline.ingest.console.console import add_console
from riskline.ingest.edge.limits import Edge, Limits
from riskline.ingest.fastpath.state import FastPath
from riskline.ingest.middleware.request_id import AcceptMiddleware, MetricsMiddleware, RequestIdMiddleware, Router, cors
from riskline.ingest.middleware.tracing import TracingMiddleware
from riskline.ingest.openapi.document import build_openapi
from riskline.ingest.problems.problem import add_problem_handlers, serialize
from riskline.ingest.resources.batches import BatchesResource
from riskline.ingest.resources.decisions import DecisionsResource
from riskline.ingest.resources.docs import add_docs_routes
from riskline.ingest.resources.health import HealthResource, MetricsResource
from riskline.ingest.resources.history import EntityResource
from riskline.ingest.resources.score import ScoreResource
from riskline.ingest.resources.transactions import TransactionResource, TransactionsResource
from riskline.ingest.services import Services
from riskline.ingest.submission.callback_field import SubmissionParser, url_check
from riskline.ingest.submission.immediate_decisions import ImmediateDecisions
from riskline.shared.settings import Settings

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class App(falcon.asgi.App[Any, Any]):
    """Falcon's app, which starts on a request once its head has arrived.

    Falcon itself waits for the first piece of the body, which a client may send only after `100 Continue`. A client
    that is refused by its head should send none.
    """

    async def __call__(  # type: ignore[override]  # as Falcon's own has it
        self, scope: dict[str, Any], receive: Receive, send: Any
    ) -> None:
        """Answers a request, or what the server says of its lifespan."""
        await super().__call__(scope, _head_first(receive) if scope["type"] == "http" else receive, send)


def _head_first(receive: Receive) -> Receive:
    head: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": True}]

    async def received() -> Mapping[str, Any]:
        return head.pop() if head else await receive()

    return received


def create_app(services: Services, settings: Settings, *, lifespan: object | None = None) -> Any:
    """The Falcon ASGI app over its collaborators; `lifespan` starts and stops what runs beside it."""
    edge = Edge(Limits.of(settings), pressure=services.recorder.pressure)
    decisions = ImmediateDecisions(
        transaction_class=services.transaction_class,
        serving=services.serving,
        recorder=services.recorder,
        observer=services.observer,
    )
    score = ScoreResource(
        decisions,
        pressure=services.recorder.pressure,
        strict=services.strict,
        turns=edge.turns,
        max_body_bytes=settings.max_body_bytes,
    )
    submissions = SubmissionParser(
        services.transaction_class,
        check_url=url_check(settings),
        default_callback_url=settings.default_callback_url,
    )
    hosts = AllowedHosts(services.gate, settings.hosts)
    fast_path = FastPath(
        services, decisions=decisions, submissions=submissions, hosts=hosts, max_body_bytes=settings.max_body_bytes
    )
    beside: list[Any] = [fast_path, edge] if lifespan is None else [fast_path, edge, lifespan]
    app: Any = App(middleware=[*_middleware(services, settings, hosts), *beside], router=Router())
    app.req_options.strip_url_path_trailing_slash = False
    health = HealthResource(services)
    app.add_route("/score-transaction", score)
    _add_transactions(app, services, settings, submissions)
    app.add_route(
        "/history/{entity}",
        EntityResource(services.eraser, notes=services.store.console, max_body_bytes=settings.max_body_bytes),
    )
    app.add_route("/decisions", DecisionsResource(services.feed))
    app.add_route("/health", health)
    app.add_route("/health/live", health, suffix="live")
    app.add_route("/health/ready", health, suffix="ready")
    app.add_route(
        "/metrics", MetricsResource(ExportedMetrics(services.backlog, services.processes, services.worker_need))
    )
    add_docs_routes(app, build_openapi(services.transaction_class, version=version("riskline")))
    add_problem_handlers(app)
    add_console(app, services, settings, errors=serialize)
    return app


def _add_transactions(app: Any, services: Services, settings: Settings, submissions: SubmissionParser) -> None:
    states = TransactionResource(
        waiting=services.waiting,
        recorder=services.recorder,
        intake=services.store.intake,
        notes=services.store.console,
    )
    transactions = TransactionsResource(
        submissions=submissions,
        submitter=services.submitter,
        states=states,
        waiting=services.waiting,
        observer=services.observer,
        max_body_bytes=settings.max_body_bytes,
    )
    batches = BatchesResource(
        submissions=submissions,
        submitter=services.submitter,
        states=states,
        max_row_bytes=settings.max_body_bytes,
        max_rows=settings.max_batch_rows,
        limiter=services.limiter,
        observer=services.observer,
    )
    app.add_route("/transactions", transactions)
    app.add_route("/transactions/batch", batches)
    app.add_route("/transactions/{transaction_id}", states)


def _middleware(services: Services, settings: Settings, hosts: AllowedHosts) -> list[Any]:
    """The middleware that each request passes, in this order."""
    return [
        RequestIdMiddleware(),
        services.graceful_shutdown,
        *([] if services.tracing is None else [TracingMiddleware(services.tracing)]),
        MetricsMiddleware(),
        *cors(settings.cors),
        HostMiddleware(hosts),
        KeyMiddleware(services.gate, services.limiter),
        AcceptMiddleware(),
    ]
