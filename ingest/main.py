"""The composition root of an API process."""

import asyncio
import os
import tempfile
from functools import partial
from typing import Any

import uvicorn

from riskline.ingest.app import create_app
from riskline.ingest.auth.authentication import create_gate
from riskline.ingest.background.active_model import ActiveModel
from riskline.ingest.background.redis_status import RedisWatch
from riskline.ingest.background.warm_up import WarmUp
from riskline.ingest.edge.limits import allow_files
from riskline.ingest.fastpath.requests import FastPathProtocol
from riskline.ingest.history.link import PROBE_SECONDS
from riskline.ingest.lifespan import Lifespan, Runs
from riskline.ingest.long_polls.subscription import Subscription
from riskline.ingest.services import Services
from riskline.ingest.store import StoreOperations, open_store
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.log import configure_logging, get_logger
from riskline.shared.model.serving import create_serving
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.audit_log import PendingChanges
from riskline.shared.store.connect.connection import require_layout
from riskline.shared.store.history.opening import open_history
from riskline.shared.store.status.servers import warn_of_store
from riskline.shared.telemetry.metrics import MULTIPROCESS_VARIABLE
from riskline.shared.telemetry.tracing import create_tracing

log = get_logger(__name__)

SHUTDOWN_SECONDS = 10
"""The time that requests under way may take after the process was told to stop."""


SERVER_VARIABLE = "_RISKLINE_API_SERVER"
"""The environment variable with the process id of our own server, which alone binds the settings' address."""


def build(settings: Settings, *, foreign_server: bool = False) -> Any:
    """The app with its real collaborators; connects and loads when the server starts it.

    A foreign server may listen on any address, whatever the settings say, so it requires keys.

    Raises:
        InstallationError: the API keys are damaged.
        SettingsError: a setting is missing, names something that is not there, or is not what the store was made with.
    """
    _ = settings.required_redis_url
    gate = create_gate(settings, always=foreign_server)
    transaction_class = load_transaction_class(settings.transaction)
    require_layout(settings.required_store_url, shards=settings.shards, timeout_seconds=settings.redis_timeout)
    history = history_of(transaction_class)
    services = Services.over(
        open_store(settings),
        settings,
        transaction_class=transaction_class,
        serving=create_serving(settings, transaction_class),
        gate=gate,
        tracing=create_tracing(settings, service="riskline-api"),
        history=None
        if history is None
        # probes and compactions may take longer than a request waits
        else open_history(settings, history, timeout_seconds=PROBE_SECONDS, refuses_lost=True),
    )
    return create_app(services, settings, lifespan=Lifespan(services, background(services, settings)))


def background(services: Services, settings: Settings) -> tuple[Runs, ...]:
    """The tasks beside the requests, from the server's start to its end."""
    store = services.store
    return (
        Subscription(services.waiting, store.subscriber, channels=store.channels),
        services.feed,
        services.recorder,
        *([] if services.observer is None else [services.observer]),
        services.backlog,
        services.processes,
        services.worker_need,
        RedisWatch(store.clients),
        services.store_watch,
        services.recent_counts,
        services.gate,
        services.limiter,
        ActiveModel(services.serving),
        WarmUp(
            (
                partial(asyncio.to_thread, services.renderer.load),
                *(each.warm for each in store.warm),
                *([] if services.observer is None else [services.observer.warm]),
                partial(asyncio.to_thread, warn_of_store, settings),
                # a ticket that finds nothing to do costs nothing; the first one takes RQ ten milliseconds
                store.ensure_ticket,
                partial(asyncio.to_thread, _deliver_changes, settings, store.operations),
            )
        ),
    )


def _deliver_changes(settings: Settings, operations: StoreOperations) -> None:
    try:
        PendingChanges(settings.data).deliver(operations.first)
    except OSError as error:
        log.warning("changes made by commands are not in the log of changes yet", problem=str(error))


def application() -> Any:
    """The app from the environment, for another server: `uvicorn --factory riskline.ingest.main:application`."""
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
