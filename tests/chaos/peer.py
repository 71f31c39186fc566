"""RQ alone, beside Riskline and under the same faults: one job a transaction, everything as it comes out of the box."""

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker, get_current_job
from rq.registry import FailedJobRegistry, StartedJobRegistry

from tests.chaos.slow import SCORING_SECONDS

DATABASE = 1
"""Of the same Redis, so that nobody's keys are in the other's way."""

QUEUE = "peer"
DONE_PREFIX = "peer:done:"
PER_SECOND = 30.0


def score(transaction_id: str) -> None:
    """The job: decides one transaction, and leaves a trace of each time that it ran."""
    time.sleep(SCORING_SECONDS)
    job = get_current_job()
    assert job is not None
    # a set of runs, so that a command which redis-py repeats is no second run
    job.connection.sadd(DONE_PREFIX + transaction_id, uuid4().hex)


@dataclass
class PeerResult:
    """What became of the jobs whose enqueuing was acknowledged."""

    accepted: int = 0
    done: int = 0
    twice: int = 0
    failed: int = 0
    queued: int = 0
    started: int = 0
    nowhere: int = 0


class Producer:
    """A client that enqueues at a steady rate and counts what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.accepted: list[str] = []
        self.refused = 0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peer producer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Nothing more is enqueued."""
        self._stop.set()

    def join(self) -> None:
        """Returns once its last call has."""
        self._thread.join(60)

    def _run(self) -> None:
        queue = Queue(QUEUE, connection=Redis.from_url(self._url))
        number = 0
        while not self._stop.wait(1 / PER_SECOND):
            number += 1
            try:
                queue.enqueue("tests.chaos.peer.score", f"p{number}", job_id=f"p{number}")
                self.accepted.append(f"p{number}")
            except (RedisError, OSError):
                self.refused += 1
        queue.connection.close()


def count(store: Redis, accepted: list[str]) -> PeerResult:
    """Where the accepted jobs are now; `store` is the peer's database."""
    queue = Queue(QUEUE, connection=store)
    waiting = {each.decode() for each in store.lrange(queue.key, 0, -1)}
    # as they lie there: RQ's own methods would clean up first
    failed = {each.decode() for each in store.zrange(FailedJobRegistry(queue=queue).key, 0, -1)}
    executions = store.zrange(StartedJobRegistry(queue=queue).key, 0, -1)
    started = {each.decode().partition(":")[0] for each in executions}
    with store.pipeline(transaction=False) as pipeline:
        for job in accepted:
            pipeline.scard(DONE_PREFIX + job)
        runs = dict(zip(accepted, pipeline.execute(), strict=True))
    result = PeerResult(accepted=len(accepted))
    for job, times in runs.items():
        result.done += times > 0
        result.twice += times > 1
        if times == 0:
            where = "failed" if job in failed else "queued" if job in waiting else None
            where = where or ("started" if job in started else "nowhere")
            setattr(result, where, getattr(result, where) + 1)
    return result


def main(url: str) -> None:
    """A worker, as `rq worker` with RQ's class that doesn't fork."""
    with suppress(KeyboardInterrupt):
        queue = Queue(QUEUE, connection=Redis.from_url(url))
        SimpleWorker([queue], connection=queue.connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main(sys.argv[1])
