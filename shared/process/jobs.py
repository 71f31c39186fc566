"""The RQ jobs: their queues, functions by path, and limits. RQ carries tickets only: "there is work"."""

from dataclasses import dataclass

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from riskline.shared.store.connect.connection import redis_faults_named

SCORING_QUEUE = "riskline-scoring"
SCORING_QUEUE_KEY = f"rq:queue:{SCORING_QUEUE}"
"""RQ's own list of the tickets that wait."""

CALLBACKS_QUEUE = "riskline-callbacks"

TICKET_TIMEOUT_SECONDS = 120
"""RQ's own limit on a ticket's job: far above its time slice, so that it only ends a worker that hangs."""

TICKET_FAILURE_TTL_SECONDS = 86_400
"""The time RQ lists a ticket whose job failed."""


@dataclass(frozen=True)
class TicketNames:
    """The names in a ticket of a queue: the function's path, all accepted paths, and its description."""

    path: str
    understood: frozenset[str]
    description: str


def _words(former: str, path: str, description: str) -> TicketNames:
    # a worker of the release before looks the function up, so this release still asks by the former path
    return TicketNames(former, frozenset({former, path}), description)


JOBS = {
    SCORING_QUEUE: _words("worker.jobs.drain", "riskline.worker.scoring.jobs.drain", "drain the waiting transactions"),
    CALLBACKS_QUEUE: _words(
        "worker.delivery.deliver", "riskline.worker.delivery.composition.deliver", "deliver the callbacks that are due"
    ),
}
"""The one job of each queue. The path names no code to a worker of this release: it runs its own function."""


class Tickets:
    """Makes sure that a ticket waits while there is work, so that a worker takes it."""

    def __init__(self, redis: Redis, queue: str = SCORING_QUEUE) -> None:
        self._queue = Queue(queue, connection=redis, serializer=JSONSerializer)
        self._words = JOBS[queue]

    def ensure(self) -> None:
        """Enqueues a ticket unless one waits already: its worker claims everything that waits by then.

        Raises:
            StoreUnavailableError: Redis failed; any worker's next sweep enqueues a ticket.
        """
        with redis_faults_named():
            if self._queue.count == 0:
                self._queue.enqueue_call(
                    self._words.path,
                    timeout=TICKET_TIMEOUT_SECONDS,
                    result_ttl=0,
                    failure_ttl=TICKET_FAILURE_TTL_SECONDS,
                    description=self._words.description,
                )
