"""RQ's worker, changed: one thread with the model, tickets only, orderly shutdown, few log lines."""

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from types import FrameType
from typing import Any

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
"""A worker that was told to stop ends within this time, whatever Redis does; its claims go to others when its lease is
over."""


@dataclass(frozen=True, kw_only=True)
class Duties:
    """The job of a worker for each ticket, and the collaborators that it looks at and tells."""

    job: Callable[[], None]
    stopping: Event
    """Set by the stop signal; a drain checks it."""
    pulse: Pulse
    """The pulse, which knows whether a drain runs, also outside a job."""
    outage: Outage
    """The outage that is over once a job is executed."""
    refused: Outage
    """The outage that counts jobs that are no tickets."""
    tickets_apart: bool = False
    """The tickets have a Redis of their own: while it is away, there may be work all the same."""


class QueueWorker(SimpleWorker):
    """RQ's worker without a fork: the model and whatever else is loaded before the first job stays.

    It has one function, which each ticket runs. It refuses other jobs, and ignores RQ's command channel.
    """

    def __init__(self, name: str, duties: Duties, *, connection: Redis, worker_ttl_seconds: int) -> None:
        """A worker of one queue, for which all jobs are tickets or nothing, those of its maintenance as well."""
        self._duties = duties
        self._in_job = False
        kinds: dict[str, Any] = {"connection": connection, "serializer": JSONSerializer, "job_class": TicketJob}
        super().__init__([Queue(name, **kinds)], **kinds, worker_ttl=worker_ttl_seconds, log_job_description=False)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Runs a ticket in this thread; removes any other job unread."""
        if not isinstance(job, TicketJob) or not job.is_ticket_of(queue.name):
            self._refuse(job, queue)
            return
        self._duties.refused.over()
        job.run = self._duties.job
        self._in_job = True
        self._duties.outage.over()
        try:
            super().execute_job(job, queue)
        finally:
            self._in_job = False

    def _refuse(self, job: Job, queue: Queue) -> None:
        self._duties.refused.failed("see what else writes to this Redis, and who may", job=job.id, queue=queue.name)
        with redis_faults_named():
            self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
            self.connection.delete(job.key)

    def subscribe(self) -> None:
        """Accepts no commands by RQ's channel: anyone with access to Redis could send one. Signals stop a process."""

    def clean_group_registries(self) -> None:
        """Does nothing: tickets have no groups."""

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """RQ's heartbeat before each wait for a ticket.

        Raises:
            StoreUnavailableError: the tickets' Redis is away; RQ alone would wait longer and longer.
        """
        try:
            super().heartbeat(*args, **kwargs)
        except (RedisConnectionError, RedisTimeoutError) as error:
            if self._duties.tickets_apart:
                raise StoreUnavailableError(f"Redis: {error}") from error
            raise

    def teardown(self) -> None:
        """Unregisters from RQ; skipped where the tickets' Redis is away, so that transactions need not wait for it."""
        if self._duties.tickets_apart and self._duties.outage.lasts:
            self.unsubscribe()
        else:
            super().teardown()

    @property
    def connection_timeout(self) -> int:
        """The longest wait for an answer, in seconds; RQ's own is longer than a lease."""
        return int(self.dequeue_timeout) + 1

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Ends the running job, or the wait for one; unlike RQ's own, it needs no Redis."""
        del signum, frame
        self._stop_requested = True
        _stop(self._duties.stopping, busy=self._in_job or self._duties.pulse.drains)


class OutagesOnce(logging.Filter):
    """A log filter: RQ logs an outage of Redis at each attempt, this passes it on once."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage

    def filter(self, record: logging.LogRecord) -> bool:
        """True where the line is not about an outage."""
        raised = record.exc_info[1] if record.exc_info else None
        arguments = record.args if isinstance(record.args, tuple) else ()
        faults = [each for each in (raised, *arguments) if isinstance(each, RedisError | OSError)]
        if not faults and "Redis connection timeout" not in record.msg:
            return True
        self._outage.failed(faults[0] if faults else "Redis does not answer in time")
        return False


def heed_signals(stopping: Event, pulse: Pulse) -> None:
    """Handles stop signals also while RQ does not: before it starts, and where a full Redis refuses it.

    Raises, when the signal comes and no drain runs:
        StopRequested: in the main thread.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        _stop(stopping, busy=pulse.drains)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _stop(stopping: Event, *, busy: bool) -> None:
    """Ends the process within STOP_SECONDS; an idle one at once, by an exception. Ignores a second request."""
    if stopping.is_set():
        return
    stopping.set()
    timer = threading.Timer(STOP_SECONDS, end_this_process)
    timer.daemon = True
    timer.start()
    if not busy:
        raise StopRequested
