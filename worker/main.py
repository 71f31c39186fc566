"""The composition root of a worker process."""

import logging
import os
import socket
from contextlib import suppress
from threading import Event
from types import FrameType
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
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
from worker.runtime import Runtime, install
from worker.sweeper import Sweeper

log = get_logger(__name__)

QUEUES = {"scoring": SCORING_QUEUE}
"""What `--queue` names. One queue a process: a stock RQ worker on two queues can lose jobs (rq issues 381 and 1716)."""

WORKER_TTL_SECONDS = 20
"""How long RQ lists a worker that shows no life; 15 s less is how long an idle one blocks, and so its maintenance."""

SWEEP_TIMEOUT_SECONDS = 2.0

RESTART_SECONDS = 1.0
"""Between a worker that Redis has failed and the next one."""


class ScoringWorker(SimpleWorker):
    """RQ's worker without a fork: the model is loaded before the first job and stays."""

    stopping: Event
    """Set by the signal to stop; a drain looks at it."""

    pulse: Pulse
    """Says whether a drain runs, also one that is no job."""

    _in_job = False

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Runs a job in this thread."""
        self._in_job = True
        try:
            super().execute_job(job, queue)
        finally:
            self._in_job = False

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Ends the job that runs, or the wait for one; needs no Redis, as RQ's own would."""
        del signum, frame
        self.stopping.set()
        self._stop_requested = True
        if not (self._in_job or self.pulse.drains):
            raise StopRequested


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
    redis = connect(redis_url, give_up=stopping.is_set)
    sweep_redis = connect(redis_url, timeout_seconds=SWEEP_TIMEOUT_SECONDS, retries=1)
    limits = {
        "result_ttl_seconds": settings.result_ttl,
        "failed_ttl_seconds": settings.failed_ttl,
        "feed_length": settings.feed_length,
    }
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    pulse = Pulse()
    outage = Outage(log, failing="Redis fails the worker; it tries again", back="the worker works again")
    logging.getLogger("rq.worker").addFilter(OutagesOnce(outage))
    install(
        Runtime(
            queue=RedisQueue(redis, **limits),
            tickets=Tickets(redis),
            serving=serving,
            transaction_class=transaction_class,
            worker=name,
            pulse=pulse,
            outage=outage,
            stopping=stopping.is_set,
        )
    )
    sweeper = Sweeper(
        worker=name,
        queue=RedisQueue(sweep_redis, **limits),
        tickets=Tickets(sweep_redis),
        serving=serving,
        pulse=pulse,
    )
    sweeper.start()
    with suppress(StoreUnavailableError):
        warn(dangers_of(sweep_redis))
    with suppress(StoreUnavailableError):
        # what waits already, or comes soon, need not wait for a ticket of its own; else a sweep makes up for it
        Tickets(sweep_redis).ensure()
    settle()
    log.info("worker starts", name=name, queue=queue)
    logging_level = "DEBUG" if settings.log_level == "DEBUG" else "WARNING"
    try:
        # the signal may also come where RQ does not expect it, in a pause or while a worker says goodbye
        with suppress(StopRequested):
            while not stopping.is_set():
                _work(redis, queue, stopping=stopping, pulse=pulse, outage=outage, logging_level=logging_level)
                if not stopping.is_set():
                    # a full Redis has no room for RQ's own keys, and gets none unless what waits is decided
                    drain()
    finally:
        sweeper.stop()
    log.info("worker stops", name=name)


def _work(redis: Redis, queue: str, *, stopping: Event, pulse: Pulse, outage: Outage, logging_level: str) -> None:
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
            worker.stopping, worker.pulse = stopping, pulse
            worker.work(logging_level=logging_level)
    except StoreUnavailableError as error:
        outage.failed(error)
    if not stopping.is_set():
        log.debug("the worker begins anew", pause_seconds=RESTART_SECONDS)
        stopping.wait(RESTART_SECONDS)


class OutagesOnce(logging.Filter):
    """Says once what RQ says of an outage of Redis at each attempt, some of it with a traceback."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is about something else."""
        raised = record.exc_info[1] if record.exc_info else None
        arguments = record.args if isinstance(record.args, tuple) else ()
        faults = [each for each in (raised, *arguments) if isinstance(each, RedisError | OSError)]
        if not faults and "Redis connection timeout" not in record.msg:
            return True
        self._outage.failed(faults[0] if faults else "Redis does not answer in time")
        return False
