"""The composition root of an API process."""

import asyncio
import os
import tempfile
from functools import partial
from importlib.metadata import version
from typing import Any

import uvicorn

from riskline.ingest.app import create_app
from riskline.ingest.auth.authentication import create_gate
from riskline.ingest.auth.rate_limits import Limiter
from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.process_status import Fleet
from riskline.ingest.background.recent_counts import History
from riskline.ingest.background.redis_status import RedisWatch
from riskline.ingest.background.store_status import StoreWatch
from riskline.ingest.background.worker_need import Scaling
from riskline.ingest.console.frame.sessions import Sessions
from riskline.ingest.console.main import Console
from riskline.ingest.edge.departure import Departure
from riskline.ingest.edge.limits import Limits, allow_files
from riskline.ingest.fastpath.requests import FastPathProtocol
from riskline.ingest.lifespan import Background
from riskline.ingest.long_polls.feed_reads import Feed
from riskline.ingest.long_polls.waiters import Places, Waiting
from riskline.ingest.recording.recorder import recorder_of
from riskline.ingest.recording.strict import StrictRecorder
from riskline.ingest.store import open_store
from riskline.ingest.submission.callback_field import url_check
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.log import configure_logging, get_logger
from riskline.shared.model.registry import Registry
from riskline.shared.model.serving import create_serving
from riskline.shared.process.heartbeats import Presence, process_name
from riskline.shared.process.jobs import SCORING_QUEUE_KEY, Tickets
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.audit_log import PendingChanges
from riskline.shared.store.connect.connection import (
    connect,
    connect_async,
    connect_store,
    redis_faults_named,
    require_layout,
)
from riskline.shared.store.console import ConsoleStore
from riskline.shared.store.operations import AllCallbacks, AllFailures, undecided_of
from riskline.shared.store.rates import RedisRates
from riskline.shared.store.search import search_of
from riskline.shared.store.sharding.shards import first_shard
from riskline.shared.store.status.identity import memory_of
from riskline.shared.store.status.minute_counts import RedisHistory
from riskline.shared.store.status.paces import AsyncPaces
from riskline.shared.store.status.processes import AsyncProcesses
from riskline.shared.store.status.redis_safety import facts_of
from riskline.shared.store.status.servers import warn_of_store
from riskline.shared.store.status.tallies import AsyncTallies
from riskline.shared.telemetry.metrics import MULTIPROCESS_VARIABLE
from riskline.shared.telemetry.tracing import create_tracing

log = get_logger(__name__)

SHUTDOWN_SECONDS = 10
"""How long requests under way may take once the process was told to stop."""


SERVER_VARIABLE = "_RISKLINE_API_SERVER"
"""The process id of our own server, for the processes that it starts: only it binds the address of the settings."""


def build(settings: Settings, *, foreign_server: bool = False) -> Any:
    """The app with its real collaborators; connects and loads when the server starts it.

    A foreign server may listen anywhere, whatever the settings say, so behind it there must be keys.

    Raises:
        InstallationError: the API keys are damaged.
        SettingsError: a setting is missing, names something that is not there, or is not what the store was made with.
    """
    redis_url = settings.required_redis_url
    gate = create_gate(settings, always=foreign_server)
    transaction_class = load_transaction_class(settings.transaction)
    require_layout(settings.required_store_url, shards=settings.shards, timeout_seconds=settings.redis_timeout)
    store = open_store(settings)
    intake = store.intake
    ticket_redis = connect(redis_url, timeout_seconds=settings.redis_timeout, retries=1)
    tickets = Tickets(ticket_redis)
    apart = settings.required_store_url != redis_url
    queue_redis = connect_async(redis_url, timeout_seconds=settings.redis_timeout) if apart else store.first

    async def ensure_ticket() -> None:
        with redis_faults_named():
            if await queue_redis.llen(SCORING_QUEUE_KEY) == 0:
                await asyncio.to_thread(tickets.ensure)

    async def warn_of_dangers() -> None:
        await asyncio.to_thread(warn_of_store, settings)

    async def load_pages() -> None:
        await asyncio.to_thread(console.renderer.load)

    async def deliver_changes() -> None:
        try:
            await asyncio.to_thread(PendingChanges(settings.data).deliver, shards[first_shard(settings.shards)])
        except OSError as error:
            log.warning("what commands changed is not in the log of changes yet", problem=str(error))

    async def close() -> None:
        await store.close()
        await queue_redis.aclose()
        for redis in dict.fromkeys((*shards, ticket_redis)):
            redis.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    serving = create_serving(settings, transaction_class)
    backlog = Backlog(intake, queue_limit=settings.queue_limit)
    presence = Presence(serving=serving, process=process_name(), kind="api")
    tallies = AsyncTallies(store.first)
    fleet = Fleet(presence, AsyncProcesses(store.first), tallies)
    limiter = Limiter(settings.rate, accounts=RedisRates(store.first), sharers=lambda: fleet.api_processes)
    scaling = Scaling(backlog, AsyncPaces(store.first), settings.scale_target)
    history = History(backlog, fleet, sums=tallies, kept=RedisHistory(store.first))
    # for what an operator does now and then, in threads beside the event loop
    shards = connect_store(
        settings.required_store_url, shards=settings.shards, timeout_seconds=settings.redis_timeout, retries=1
    )
    console_store = ConsoleStore(store.first)
    submitter = Submitter(intake, ensure_ticket=ensure_ticket, queue_full=backlog.queue_full)
    places = Places(settings.max_waits)
    waiting = Waiting(intake, places, channels=store.channels)
    feed = Feed(store.decisions, places, parse=store.parse_cursor)
    store_watch = StoreWatch(store.watched, memory=memory_of(settings.data, settings.required_store_url))
    recorder = recorder_of(intake, capacity=settings.record_buffer)
    strict = StrictRecorder(intake) if settings.record == "strict" else None
    tracing = create_tracing(settings, service="riskline-api")

    console = Console(
        gate=gate,
        sessions=Sessions(gate, console_store),
        store=console_store,
        transaction_class=transaction_class,
        intake=intake,
        search=search_of(store.shards),
        undecided=undecided_of(shards),
        failures=AllFailures(shards),
        callbacks=AllCallbacks(shards),
        serving=serving,
        registry=Registry(settings.models_dir),
        pinned_version=settings.model_version,
        history=history,
        redis_facts=partial(facts_of, shards[first_shard(settings.shards)]),
        redis=store.first,
        unrecorded=lambda: recorder.pending,
        fleet=fleet,
        store_watch=store_watch,
        columns=settings.console_fields,
    )

    return create_app(
        transaction_class=transaction_class,
        serving=serving,
        submitter=submitter,
        waiting=waiting,
        feed=feed,
        recorder=recorder,
        strict=strict,
        backlog=backlog,
        fleet=fleet,
        scaling=scaling,
        gate=gate,
        limiter=limiter,
        redis=store.clients,
        store_watch=store_watch,
        max_body_bytes=settings.max_body_bytes,
        max_batch_rows=settings.max_batch_rows,
        intake=intake,
        check_url=url_check(settings),
        default_callback_url=settings.default_callback_url,
        departure=Departure(seconds=settings.stop_delay),
        limits=Limits(
            connections=settings.max_connections,
            request_seconds=settings.request_timeout,
            in_flight=settings.max_in_flight,
        ),
        cors_origins=settings.cors,
        allowed_hosts=settings.hosts,
        console=console,
        version=version("riskline"),
        lifespan=Background(
            serving=serving,
            waiting=waiting,
            feed=feed,
            submitter=submitter,
            recorder=recorder,
            strict=strict,
            backlog=backlog,
            fleet=fleet,
            scaling=scaling,
            history=history,
            gate=gate,
            limiter=limiter,
            watch=RedisWatch(store.clients),
            store_watch=store_watch,
            subscriber=store.subscriber,
            # a ticket that finds nothing to do costs nothing; the first one takes RQ ten milliseconds
            warm=(load_pages, *(each.warm for each in store.warm), warn_of_dangers, ensure_ticket, deliver_changes),
            close=close,
        ),
        tracing=tracing,
    )


def application() -> Any:
    """The app from the environment, for a server of another: `uvicorn --factory riskline.ingest.main:application`."""
    settings = load_settings()
    configure_logging(settings)
    return build(settings, foreign_server=os.environ.get(SERVER_VARIABLE) != str(os.getppid()))


def run(settings: Settings) -> None:
    """Serves HTTP until told to stop.

    Raises:
        InstallationError: the API keys are damaged.
        SettingsError: a setting is missing or names something that is not there.
    """
    configure_logging(settings)
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "loop": "riskline.ingest.edge.listener:Loop",
        "http": FastPathProtocol,
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "ws": "none",
        "server_header": False,
        "timeout_keep_alive": settings.keep_alive,
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
    }
    allow_files(settings.max_connections)
    if settings.processes == 1:
        uvicorn.run(build(settings), **options)
        return
    build(settings)
    with tempfile.TemporaryDirectory(prefix="riskline-metrics-") as metrics_dir:
        os.environ.update(
            settings.environment(), **{MULTIPROCESS_VARIABLE: metrics_dir, SERVER_VARIABLE: str(os.getpid())}
        )
        uvicorn.run("riskline.ingest.main:application", factory=True, workers=settings.processes, **options)
