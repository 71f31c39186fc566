"""The parts of a worker process."""

from collections.abc import Callable, Sequence
from threading import Event
from typing import NamedTuple

from redis import Redis

from riskline.shared.process.jobs import Tickets
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.sweeper import Rounds


class QueuePart(NamedTuple):
    """The part for one queue: its RQ queue, the sweeper that runs beside the jobs, and the job."""

    rq_queue: str
    tickets: Tickets
    sweeper: Rounds
    job: Callable[[], None]
    close: Callable[[], None] = lambda: None
    """Ends the background work, once the process was told to stop."""
    alive: Callable[[], bool] = lambda: True
    """True while the background work runs."""


class Process(NamedTuple):
    """The common parts of both kinds of worker."""

    redis: Redis
    """The Redis of RQ's tickets."""
    sweep_redis: Redis
    store: Sequence[Redis]
    """The shards of the store, by their number."""
    sweep_store: Sequence[Redis]
    pulse: Pulse
    stopping: Event
    name: str

    @property
    def tickets_apart(self) -> bool:
        """True where RQ's tickets and the transactions have separate clients."""
        return self.store[0] is not self.redis
