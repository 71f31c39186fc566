"""The HTTP application: every route on one screen."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import falcon.asgi
from redis.asyncio import Redis

from ingest.auth import Gate, KeyMiddleware
from ingest.backlog import Backlog
from ingest.callbacks import Submissions
from ingest.console.main import Console
from ingest.departure import Departure
from ingest.edge_shared import DEFAULT_LIMITS, Edge, Limits
from ingest.fastpath_shared import FastPath
from ingest.feed import Feed
from ingest.fleet import Fleet
from ingest.hosts import HostMiddleware, Hosts
from ingest.kept import Kept
from ingest.limiting import Limiter
from ingest.middleware import AcceptMiddleware, MetricsMiddleware, RequestIdMiddleware, Router, cors
from ingest.openapi import build_openapi
from ingest.problems import add_problem_handlers, serialize
from ingest.recording import AnyRecorder
from ingest.resources.batches import BatchesResource
from ingest.resources.decisions import DecisionsResource
from ingest.resources.docs import add_docs_routes
from ingest.resources.health import HealthResource, MetricsResource
from ingest.resources.score import ScoreResource
from ingest.resources.transactions import TransactionResource, TransactionsResource
from ingest.scaling import Scaling
from ingest.store_watch import StoreWatch
from ingest.strict import StrictRecorder
from ingest.submission import Submitter
from ingest.tracing import TracingMiddleware
from ingest.waiting import Waiting
from shared.model.serving import Serving
from shared.store.interfaces import TransactionIntake
from shared.tracing import Tracing
from shared.transaction import TransactionModel

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
