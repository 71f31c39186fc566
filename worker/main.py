"""The composition root of a worker process."""

import faulthandler
import logging
import os
import signal
import socket
from contextlib import suppress
from threading import Event
from uuid import uuid4

from redis import Redis
from rq import Queue
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from shared.errors import StoreUnavailableError
from shared.jobs import SCORING_QUEUE, Tickets
from shared.log import configure_logging, get_logger
from shared.model.serving import create_serving
from shared.outage import Outage
from shared.settings import Settings
from shared.settling import settle
from shared.store.connection import connect, redis_faults_named
from shared.store.safety import dangers_of, warn
from shared.store.transactions import RedisQueue
from shared.transaction import load_transaction_class
from worker.jobs import drain
from worker.pulse import Pulse
from worker.rq_worker import OutagesOnce, ScoringWorker, heed_signals
from worker.runtime import Runtime, install
from worker.sweeper import Sweeper

log = get_logger(__name__)

QUEUES = {"scoring": SCORING_QUEUE}
"""What `--queue` names. One queue a process: a stock RQ worker on two queues can lose jobs (rq issues 381 and 1716)."""

WORKER_TTL_SECONDS = 18
"""How long RQ lists a worker that shows no life; 15 s less is how long an idle one blocks, and so its maintenance."""

ANSWER_SECONDS = 4.0
"""After which a connection that does not answer is taken for lost: above what RQ and a hot drain block for, and below
the lease, which the thread beside them goes on to renew."""

MOST_CPU_SECONDS = 30.0
"""Of one batch, which takes milliseconds, or a few seconds with a slow class of a team's own."""

SWEEP_TIMEOUT_SECONDS = 2.0

RESTART_SECONDS = 1.0
"""Between a worker that Redis has failed and the next one."""


def run(settings: Settings, queue: str = "scoring") -> None:
    """Works until told to stop.

    Raises:
        SettingsError: a setting is missing or names something that is not there.
        BundleError: there is no model that can serve.
    """
    configure_logging(settings)
    redis_url = settings.required_redis_url
    transaction_class = load_transaction_class(settings.transaction)
    serving = create_serving(settings, transaction_class)
    serving.refresh()
    serving.require()

    stopping = Event()
    redis = connect(redis_url, timeout_seconds=ANSWER_SECONDS, give_up=stopping.is_set)
    sweep_redis = connect(redis_url, timeout_seconds=SWEEP_TIMEOUT_SECONDS, retries=1)
    limits = {
        "result_ttl_seconds": settings.result_ttl,
        "failed_ttl_seconds": settings.failed_ttl,
        "feed_length": settings.feed_length,
    }
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    pulse = Pulse(most_cpu_seconds=MOST_CPU_SECONDS)
    # where it hangs, before the kernel ends it; and then it does
    faulthandler.register(signal.SIGPROF, chain=True)
    outage = Outage(log, failing="Redis fails RQ; it tries again", back="RQ works again")
    logging.getLogger("rq.worker").addFilter(OutagesOnce(outage))
    install(
        Runtime(
            queue=RedisQueue(redis, **limits),
            tickets=Tickets(redis),
            serving=serving,
            transaction_class=transaction_class,
            worker=name,
            pulse=pulse,
            outage=Outage(log, failing="Redis fails the worker; it tries again", back="the worker works again"),
            stopping=stopping.is_set,
        )
    )
    tickets = Tickets(sweep_redis)
    sweeper = Sweeper(
        worker=name,
        queue=RedisQueue(sweep_redis, **limits),
        tickets=tickets,
        serving=serving,
        pulse=pulse,
        greet=lambda: warn(dangers_of(sweep_redis)),
    )
    sweeper.start()
    # the signal may also come where RQ does not expect it, in a pause or while a worker says goodbye
    with suppress(StopRequested):
        try:
            heed_signals(stopping, pulse)
            with suppress(StoreUnavailableError):
                # what waits already, or comes soon, need not wait for a ticket of its own; else a sweep makes up for it
                tickets.ensure()
            settle()
            log.info("worker starts", name=name, queue=queue)
            while not stopping.is_set():
                _work(redis, queue, stopping=stopping, pulse=pulse, outage=outage)
                if not stopping.is_set():
                    # a full Redis has no room for RQ's own keys, and gets none unless what waits is decided
                    drain()
        finally:
            sweeper.stop()
    log.info("worker stops", name=name)


def _work(redis: Redis, queue: str, *, stopping: Event, pulse: Pulse, outage: Outage) -> None:
    """Works until told to stop, or until Redis has failed RQ, which then ends a worker; pauses before another starts.

    Each gets a name of its own: RQ refuses that of a worker that could not say goodbye.
    """
    try:
        with redis_faults_named():
            worker = ScoringWorker(
                [Queue(QUEUES[queue], connection=redis, serializer=JSONSerializer)],
                connection=redis,
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL_SECONDS,
                log_job_description=False,
            )
            worker.stopping, worker.pulse, worker.outage = stopping, pulse, outage
            worker.work(logging_level="DEBUG" if log.is_enabled_for(logging.DEBUG) else "WARNING")
    except StoreUnavailableError as error:
        outage.failed(error)
    if not stopping.is_set():
        log.debug("the worker begins anew", pause_seconds=RESTART_SECONDS)
        stopping.wait(RESTART_SECONDS)
