"""The HTTP application: every route on one screen."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import falcon.asgi
from redis.asyncio import Redis

from riskline.ingest.auth.authentication import Gate, KeyMiddleware
from riskline.ingest.auth.hosts import HostMiddleware, Hosts
from riskline.ingest.auth.rate_limits import Limiter
from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.exported_metrics import Kept
from riskline.ingest.background.process_status import Fleet
from riskline.ingest.background.store_status import StoreWatch
from riskline.ingest.background.worker_need import Scaling
from riskline.ingest.console.main import Console
from riskline.ingest.edge.departure import Departure
from riskline.ingest.edge.limits import DEFAULT_LIMITS, Edge, Limits
from riskline.ingest.fastpath.state import FastPath
from riskline.ingest.long_polls.feed_reads import Feed
from riskline.ingest.long_polls.waiters import Waiting
from riskline.ingest.middleware.request_id import AcceptMiddleware, MetricsMiddleware, RequestIdMiddleware, Router, cors
from riskline.ingest.middleware.tracing import TracingMiddleware
from riskline.ingest.openapi.document import build_openapi
from riskline.ingest.problems.problem import add_problem_handlers, serialize
from riskline.ingest.recording.recorder import AnyRecorder
from riskline.ingest.recording.strict import StrictRecorder
from riskline.ingest.resources.batches import BatchesResource
from riskline.ingest.resources.decisions import DecisionsResource
from riskline.ingest.resources.docs import add_docs_routes
from riskline.ingest.resources.health import HealthResource, MetricsResource
from riskline.ingest.resources.score import ScoreResource
from riskline.ingest.resources.transactions import TransactionResource, TransactionsResource
from riskline.ingest.submission.callback_field import Submissions
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.serving import Serving
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.telemetry.tracing import Tracing

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class App(falcon.asgi.App[Any, Any]):
    """Falcon's, which begins with a request once its head is here.

    Falcon itself waits for the first piece of the body, for which a client may have been told `100 Continue`: who is
    refused by the head should have to send none.
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


def create_app(
    *,
    transaction_class: type[TransactionModel],
    serving: Serving,
    submitter: Submitter,
    waiting: Waiting,
    feed: Feed,
    recorder: AnyRecorder,
    strict: StrictRecorder | None,
    backlog: Backlog,
    store_watch: StoreWatch,
    fleet: Fleet,
    scaling: Scaling,
    gate: Gate,
    limiter: Limiter,
    redis: Sequence[Redis],
    max_body_bytes: int,
    max_batch_rows: int,
    intake: TransactionIntake,
    check_url: Callable[[str], str],
    default_callback_url: str | None,
    version: str,
    departure: Departure,
    limits: Limits = DEFAULT_LIMITS,
    cors_origins: tuple[str, ...] = (),
    allowed_hosts: tuple[str, ...] = (),
    console: Console | None = None,
    lifespan: object | None = None,
    tracing: Tracing | None = None,
) -> Any:
    """The Falcon ASGI app over its collaborators; `lifespan` starts and stops what runs beside it."""
    edge = Edge(limits, pressure=recorder.pressure)
    score = ScoreResource(
        transaction_class=transaction_class,
        serving=serving,
        recorder=recorder,
        strict=strict,
        turns=edge.turns,
        max_body_bytes=max_body_bytes,
    )
    submissions = Submissions(transaction_class, check_url=check_url)
    states = TransactionResource(
        waiting=waiting, recorder=recorder, intake=intake, notes=None if console is None else console.store
    )
    transactions = TransactionsResource(
        submissions=submissions,
        submitter=submitter,
        states=states,
        waiting=waiting,
        max_body_bytes=max_body_bytes,
        default_callback_url=default_callback_url,
    )

    def end_waits() -> None:
        waiting.end_waits()
        feed.end_waits()

    hosts = Hosts(gate, allowed_hosts)
    fast_path = FastPath(
        score=score,
        transactions=transactions,
        submitter=submitter,
        pressure=recorder.pressure,
        gate=gate,
        hosts=hosts,
        limiter=limiter,
        end_waits=end_waits,
        strict=strict is not None,
        max_body_bytes=max_body_bytes,
        traced=tracing is not None,
    )
    departure.on_begin(fast_path.close_doors)
    middleware: list[Any] = [RequestIdMiddleware(), departure]
    middleware += [] if tracing is None else [TracingMiddleware(tracing)]
    middleware += [MetricsMiddleware(), *cors(cors_origins), HostMiddleware(hosts), KeyMiddleware(gate, limiter)]
    middleware += [AcceptMiddleware(), fast_path, edge]
    if lifespan is not None:
        middleware.append(lifespan)
    app: Any = App(middleware=middleware, router=Router())
    app.req_options.strip_url_path_trailing_slash = False
    health = HealthResource(
        serving=serving,
        redis=redis,
        recorder=recorder,
        backlog=backlog,
        fleet=fleet,
        gate=gate,
        store_watch=store_watch,
        departure=departure,
    )
    app.add_route("/score-transaction", score)
    app.add_route("/transactions", transactions)
    app.add_route(
        "/transactions/batch",
        BatchesResource(
            submissions=submissions,
            submitter=submitter,
            states=states,
            max_row_bytes=max_body_bytes,
            max_rows=max_batch_rows,
            limiter=limiter,
            default_callback_url=default_callback_url,
        ),
    )
    app.add_route("/transactions/{transaction_id}", states)
    app.add_route("/decisions", DecisionsResource(feed))
    app.add_route("/health", health)
    app.add_route("/health/live", health, suffix="live")
    app.add_route("/health/ready", health, suffix="ready")
    app.add_route("/metrics", MetricsResource(Kept(backlog, fleet, scaling)))
    add_docs_routes(app, build_openapi(transaction_class, version=version))
    add_problem_handlers(app)
    if console is not None:
        console.add_to(app, errors=serialize)
    return app
