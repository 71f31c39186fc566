"""The HTTP application: every route on one screen."""

from typing import Any

import falcon.asgi
from redis.asyncio import Redis

from ingest.middleware import MetricsMiddleware, RequestIdMiddleware
from ingest.openapi import build_openapi
from ingest.problems import add_problem_handlers
from ingest.recording import Recorder
from ingest.resources.docs import add_docs_routes
from ingest.resources.health import HealthResource, MetricsResource
from ingest.resources.score import ScoreResource
from ingest.resources.transactions import TransactionResource, TransactionsResource
from ingest.submission import Submitter
from ingest.waiting import Waiting
from shared.model.serving import Serving
from shared.transaction import TransactionModel


def create_app(
    *,
    transaction_class: type[TransactionModel],
    serving: Serving,
    submitter: Submitter,
    waiting: Waiting,
    recorder: Recorder,
    redis: Redis,
    max_body_bytes: int,
    version: str,
    lifespan: object | None = None,
) -> Any:
    """The Falcon ASGI app over its collaborators; `lifespan` starts and stops what runs beside it."""
    middleware: list[Any] = [RequestIdMiddleware(), MetricsMiddleware(), *([] if lifespan is None else [lifespan])]
    app: Any = falcon.asgi.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = False
    health = HealthResource(serving=serving, redis=redis, recorder=recorder)
    app.add_route(
        "/score-transaction",
        ScoreResource(
            transaction_class=transaction_class, serving=serving, recorder=recorder, max_body_bytes=max_body_bytes
        ),
    )
    app.add_route(
        "/transactions",
        TransactionsResource(
            transaction_class=transaction_class, submitter=submitter, waiting=waiting, max_body_bytes=max_body_bytes
        ),
    )
    app.add_route("/transactions/{transaction_id}", TransactionResource(waiting=waiting, recorder=recorder))
    app.add_route("/health", health)
    app.add_route("/health/live", health, suffix="live")
    app.add_route("/health/ready", health, suffix="ready")
    app.add_route("/metrics", MetricsResource())
    add_docs_routes(app, build_openapi(transaction_class, version=version))
    add_problem_handlers(app)
    return app
