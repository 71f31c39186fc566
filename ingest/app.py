"""The HTTP application: every route on one screen."""

from collections.abc import Callable
from typing import Any

import falcon.asgi
from redis.asyncio import Redis

from ingest.backlog import Backlog
from ingest.callbacks import Submissions
from ingest.fastpath_shared import FastPath
from ingest.feed import Feed
from ingest.fleet import Fleet
from ingest.middleware import MetricsMiddleware, RequestIdMiddleware
from ingest.openapi import build_openapi
from ingest.problems import add_problem_handlers
from ingest.recording import Recorder
from ingest.resources.batches import BatchesResource
from ingest.resources.decisions import DecisionsResource
from ingest.resources.docs import add_docs_routes
from ingest.resources.health import HealthResource, MetricsResource
from ingest.resources.score import ScoreResource
from ingest.resources.transactions import TransactionResource, TransactionsResource
from ingest.strict import StrictRecorder
from ingest.submission import Submitter
from ingest.waiting import Waiting
from shared.model.serving import Serving
from shared.store.interfaces import TransactionIntake
from shared.transaction import TransactionModel


def create_app(
    *,
    transaction_class: type[TransactionModel],
    serving: Serving,
    submitter: Submitter,
    waiting: Waiting,
    feed: Feed,
    recorder: Recorder,
    strict: StrictRecorder | None,
    backlog: Backlog,
    fleet: Fleet,
    redis: Redis,
    max_body_bytes: int,
    max_batch_rows: int,
    intake: TransactionIntake,
    check_url: Callable[[str], str],
    default_callback_url: str | None,
    version: str,
    lifespan: object | None = None,
) -> Any:
    """The Falcon ASGI app over its collaborators; `lifespan` starts and stops what runs beside it."""
    score = ScoreResource(
        transaction_class=transaction_class,
        serving=serving,
        recorder=recorder,
        strict=strict,
        max_body_bytes=max_body_bytes,
    )
    submissions = Submissions(transaction_class, check_url=check_url)
    states = TransactionResource(waiting=waiting, recorder=recorder, intake=intake)
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

    fast_path = FastPath(
        score=score,
        transactions=transactions,
        submitter=submitter,
        end_waits=end_waits,
        strict=strict is not None,
        max_body_bytes=max_body_bytes,
    )
    middleware: list[Any] = [RequestIdMiddleware(), MetricsMiddleware(), fast_path]
    if lifespan is not None:
        middleware.append(lifespan)
    app: Any = falcon.asgi.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = False
    health = HealthResource(serving=serving, redis=redis, recorder=recorder, backlog=backlog, fleet=fleet)
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
            default_callback_url=default_callback_url,
        ),
    )
    app.add_route("/transactions/{transaction_id}", states)
    app.add_route("/decisions", DecisionsResource(feed))
    app.add_route("/health", health)
    app.add_route("/health/live", health, suffix="live")
    app.add_route("/health/ready", health, suffix="ready")
    app.add_route("/metrics", MetricsResource())
    add_docs_routes(app, build_openapi(transaction_class, version=version))
    add_problem_handlers(app)
    return app
