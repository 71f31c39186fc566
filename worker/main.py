"""The composition root of a worker process."""

import logging
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from threading import Event

from redis import Redis
from rq.exceptions import StopRequested

from riskline.shared.errors import SettingsError, StoreUnavailableError
from riskline.shared.log import configure_logging, get_logger
from riskline.shared.outage import Outage
from riskline.shared.process.heap import freeze_heap
from riskline.shared.process.heartbeats import process_name
from riskline.shared.settings import Settings
from riskline.shared.store.connect.connection import (
    WORKER_RETRIES,
    connect,
    connect_store,
    redis_faults_named,
    require_layout,
)
from riskline.worker.alive import sign_of_life
from riskline.worker.process import Process, QueuePart
from riskline.worker.rq_worker import Duties, OutagesOnce, QueueWorker, heed_signals
from riskline.worker.scoring.pulse import Pulse

log = get_logger(__name__)

SIDES = {"scoring": "riskline.worker.scoring.composition", "callbacks": "riskline.worker.delivery.composition"}
"""The module of each `--queue`, imported when the queue is known: a scoring worker needs no HTTP client.
One queue a process: a stock RQ worker on two queues can lose jobs (rq issues 381 and 1716)."""

WORKER_TTL_SECONDS = 18
"""The time RQ lists a silent worker. An idle worker blocks for 15 s less, which sets its maintenance interval."""

ANSWER_SECONDS = 4.0
"""A connection that does not answer for this long counts as lost: above the blocking waits of RQ and a drain, and below
the lease, which the sweeper's thread goes on renewing."""

MOST_CPU_SECONDS = 30.0
"""CPU time of one batch, which takes milliseconds, or a few seconds with a slow class of a team's own."""

SWEEP_TIMEOUT_SECONDS = 2.0

NO_RETRIES = 0
"""Retries of RQ where its Redis has only tickets: waiting transactions are decided without them."""

TICKETS_ANSWER_SECONDS = 0.5
"""A tickets-only Redis that is silent for this long counts as away; transactions are decided meanwhile. RQ would wait
for `ANSWER_SECONDS`, and once more to unregister."""

RESTART_SECONDS = 1.0
"""The pause between a worker that ended by an outage of Redis and the next one."""


def run(settings: Settings, queue: str = "scoring") -> None:
    """Works until told to stop.

    Raises:
        SettingsError: a setting is missing, names something that is not there, or is not what the store was made with.
        BundleError: there is no model that can serve.
    """
    configure_logging(settings)
    require_layout(settings.required_store_url, shards=settings.shards, timeout_seconds=ANSWER_SECONDS)
    stopping = Event()
    process = _connected(settings, stopping)
    side: QueuePart = import_module(SIDES[queue]).create_side(settings, process)
    sign = _sign_of_life(settings, side)
    outage = Outage(log, failing="Redis fails RQ; it tries again", back="RQ works again")
    logging.getLogger("rq.worker").addFilter(OutagesOnce(outage))
    refused = Outage(
        log, failing="jobs in RQ's queue that are no tickets are removed", back="tickets only", steady=False
    )
    duties = Duties(
        job=side.job,
        stopping=stopping,
        pulse=process.pulse,
        outage=outage,
        refused=refused,
        tickets_apart=process.tickets_apart,
    )
    side.sweeper.start(sign)
    # the signal may also come where RQ does not expect it: in a pause, or while a worker unregisters
    with suppress(StopRequested):
        try:
            heed_signals(stopping, process.pulse)
            with suppress(StoreUnavailableError):
                # waiting transactions need no ticket of their own; where this fails, a sweep makes up for it
                side.tickets.ensure()
            freeze_heap()
            log.info("worker starts", name=process.name, queue=queue)
            while not stopping.is_set():
                if _tickets_answer(settings, process, outage=outage):
                    _work(side.rq_queue, process, duties)
                if not stopping.is_set():
                    # a full Redis has no room for RQ's own keys until waiting transactions are decided; and one
                    # that only has the tickets may be away while the transactions are there
                    side.job()
        finally:
            side.close()
            side.sweeper.stop()
    log.info("worker stops", name=process.name)


def _sign_of_life(settings: Settings, side: QueuePart) -> Callable[[], None]:
    try:
        return sign_of_life(settings.alive_file, side.alive)
    except OSError as error:
        raise SettingsError(f"RISKLINE_ALIVE_FILE: {settings.alive_file} cannot be made ({error.strerror})") from None


def _connected(settings: Settings, stopping: Event) -> Process:
    """The process with its connections; where one Redis has all, they are the same."""
    redis_url, store_url, shards = settings.required_redis_url, settings.required_store_url, settings.shards
    apart = tickets_apart(settings)
    redis = connect(
        redis_url,
        timeout_seconds=ANSWER_SECONDS,
        retries=NO_RETRIES if apart else WORKER_RETRIES,
        give_up=stopping.is_set,
        shards=None if apart else shards,
    )
    sweep_redis = connect(redis_url, timeout_seconds=SWEEP_TIMEOUT_SECONDS, retries=1, shards=None if apart else shards)
    store: tuple[Redis, ...] = (redis,)
    sweep_store: tuple[Redis, ...] = (sweep_redis,)
    if apart:
        # one failed shard of several is skipped: its retries must not delay the others
        several = shards > 1
        store = connect_store(
            store_url,
            shards=shards,
            timeout_seconds=SWEEP_TIMEOUT_SECONDS if several else ANSWER_SECONDS,
            retries=1 if several else WORKER_RETRIES,
            give_up=stopping.is_set,
        )
        sweep_store = connect_store(store_url, shards=shards, timeout_seconds=SWEEP_TIMEOUT_SECONDS, retries=1)
    return Process(
        redis=redis,
        sweep_redis=sweep_redis,
        store=store,
        sweep_store=sweep_store,
        pulse=Pulse(most_cpu_seconds=MOST_CPU_SECONDS),
        stopping=stopping,
        name=process_name(),
    )


def tickets_apart(settings: Settings) -> bool:
    """True where RQ's tickets and the transactions have separate clients."""
    return settings.shards > 1 or settings.required_store_url != settings.required_redis_url


def _tickets_answer(settings: Settings, process: Process, *, outage: Outage) -> bool:
    """True where RQ may run; False after a pause where its Redis has only tickets and is away."""
    if not process.tickets_apart:
        return True
    try:
        with (
            redis_faults_named(),
            connect(settings.required_redis_url, timeout_seconds=TICKETS_ANSWER_SECONDS, retries=NO_RETRIES) as redis,
        ):
            redis.ping()
    except StoreUnavailableError as error:
        outage.failed(error)
        process.stopping.wait(TICKETS_ANSWER_SECONDS)
        return False
    return True


def _work(rq_queue: str, process: Process, duties: Duties) -> None:
    """Runs RQ workers until told to stop; an outage of Redis ends one, and another starts after a pause.

    Each has a new name: RQ refuses the name of a worker that could not unregister.
    """
    try:
        with redis_faults_named():
            worker = QueueWorker(rq_queue, duties, connection=process.redis, worker_ttl_seconds=WORKER_TTL_SECONDS)
            worker.work(logging_level="DEBUG" if log.is_enabled_for(logging.DEBUG) else "WARNING")
    except StoreUnavailableError as error:
        duties.outage.failed(error)
    if not process.stopping.is_set():
        log.debug("the worker restarts", pause_seconds=RESTART_SECONDS)
        process.stopping.wait(RESTART_SECONDS)
