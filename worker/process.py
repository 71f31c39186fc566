"""What a worker process is made of, whichever queue it serves."""

from collections.abc import Callable, Sequence
from threading import Event
from typing import NamedTuple

from redis import Redis

from riskline.shared.process.jobs import Tickets
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.sweeper import Rounds


class Side(NamedTuple):
    """What a process does for one queue: its RQ queue, what runs beside the jobs, and the job itself."""

    rq_queue: str
    tickets: Tickets
    sweeper: Rounds
    job: Callable[[], None]
    close: Callable[[], None] = lambda: None
    """Ends what goes on beside the jobs, once the process was told to stop."""
    alive: Callable[[], bool] = lambda: True
    """Whether what goes on beside the jobs still does."""


class Process(NamedTuple):
    """What both kinds of worker are made of."""

    redis: Redis
    """With RQ's tickets."""
    sweep_redis: Redis
    store: Sequence[Redis]
    """The shards of the store, by their number."""
    sweep_store: Sequence[Redis]
    pulse: Pulse
    stopping: Event
    name: str

    @property
    def tickets_apart(self) -> bool:
        """Whether RQ's tickets and the transactions are reached by clients of their own."""
        return self.store[0] is not self.redis
