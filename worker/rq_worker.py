"""RQ's worker as we need it: in one thread with the model, for tickets alone, ended in order, without chatter."""

import logging
import signal
import threading
from collections.abc import Callable
from threading import Event
from types import FrameType
from typing import Any, Self

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.worker.scoring.pulse import Pulse, end_this_process
from riskline.worker.scoring.rq_job import TicketJob

log = get_logger(__name__)

STOP_SECONDS = 8.0
"""After which a worker that was told to stop ends, whatever Redis does; what it holds is another's when its lease is
over."""


class QueueWorker(SimpleWorker):
    """RQ's worker without a fork: what is loaded before the first job, such as the model, stays.

    It has one function, which each ticket runs; whatever else is in RQ's queue, or comes by RQ's channel, it leaves.
    """

    run: Callable[[], None]
    """What it does for a ticket."""

    refused: Outage
    """Is told of jobs that are no tickets."""

    stopping: Event
    """Set by the signal to stop; a drain looks at it."""

    pulse: Pulse
    """Says whether a drain runs, also one that is no job."""

    outage: Outage
    """Is over once a job is executed."""

    tickets_apart = False
    """The Redis of the tickets has nothing else: where it is away, there may be work all the same."""

    _in_job = False

    @classmethod
    def of_queue(cls, name: str, *, connection: Redis, worker_ttl_seconds: int) -> Self:
        """A worker of one queue, for which all jobs are tickets or nothing, those of its maintenance as well."""
        kinds: dict[str, Any] = {"connection": connection, "serializer": JSONSerializer, "job_class": TicketJob}
        queue = Queue(name, **kinds)
        return cls([queue], **kinds, worker_ttl=worker_ttl_seconds, log_job_description=False)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Runs a ticket in this thread; what is no ticket is removed, unread."""
        if not isinstance(job, TicketJob) or not job.is_ticket_of(queue.name):
            self._refuse(job, queue)
            return
        self.refused.over()
        job.run = self.run
        self._in_job = True
        self.outage.over()
        try:
            super().execute_job(job, queue)
        finally:
            self._in_job = False

    def _refuse(self, job: Job, queue: Queue) -> None:
        self.refused.failed("see what else writes to this Redis, and who may", job=job.id, queue=queue.name)
        with redis_faults_named():
            self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
            self.connection.delete(job.key)

    def subscribe(self) -> None:
        """Takes no commands by RQ's channel: a process is stopped by a signal, which not everybody can send."""

    def clean_group_registries(self) -> None:
        """There are no groups of tickets."""

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """The sign of life that RQ gives before each wait for a ticket.

        Raises:
            StoreUnavailableError: the tickets are away, and RQ alone would wait for them for longer and longer.
        """
        try:
            super().heartbeat(*args, **kwargs)
        except (RedisConnectionError, RedisTimeoutError) as error:
            if self.tickets_apart:
                raise StoreUnavailableError(f"Redis: {error}") from error
            raise

    def teardown(self) -> None:
        """RQ's goodbye; where the tickets are away, what waits elsewhere shall not wait until nobody has heard it."""
        if self.tickets_apart and self.outage.lasts:
            self.unsubscribe()
        else:
            super().teardown()

    @property
    def connection_timeout(self) -> int:
        """How long an answer may take, in seconds; RQ's own is longer than a lease."""
        return int(self.dequeue_timeout) + 1

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Ends the job that runs, or the wait for one; needs no Redis, as RQ's own would."""
        del signum, frame
        self._stop_requested = True
        _stop(self.stopping, busy=self._in_job or self.pulse.drains)


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


def heed_signals(stopping: Event, pulse: Pulse) -> None:
    """Stops in order also before RQ takes the signals, which it does not where a full Redis refuses it.

    Raises, when the signal comes and no drain runs:
        StopRequested: wherever the process is then.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        _stop(stopping, busy=pulse.drains)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _stop(stopping: Event, *, busy: bool) -> None:
    """Ends the process in time; at once, by the exception, where it is not busy. A second request changes nothing."""
    if stopping.is_set():
        return
    stopping.set()
    timer = threading.Timer(STOP_SECONDS, end_this_process)
    timer.daemon = True
    timer.start()
    if not busy:
        raise StopRequested
