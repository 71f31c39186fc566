"""What a batch costs a worker and its Redis, by its size: real scripts, a real model, each write on disk."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.cli.up.redis_server import command, find_server, wait_until_ready
from riskline.shared.clock import utc_now
from riskline.shared.domain.capacity import BatchTimes, size_class
from riskline.shared.domain.transaction import Transaction
from riskline.shared.store.records import Queueing, Submission
from riskline.shared.store.redis_queue import RedisIntake, RedisQueue
from riskline.worker.scoring.drain import LEASE_SECONDS, outcomes
from tests.bench.microseconds import LIMITS, TTL

SIZES = {1: 2_000, 16: 8_000, 64: 16_000, 256: 32_768}
"""How many transactions are measured in batches of each size: seconds of work."""


class Cost(NamedTuple):
    """Seconds a transaction, in batches of a size."""

    accept_redis: float
    """Of Redis's processor time."""
    decide_redis: float
    timed: BatchTimes
    """The worker's batches, from one claim to the next: the quickest quarter, as others use this machine, too."""


@contextmanager
def own_redis() -> Iterator[str]:
    """An empty Redis as `riskline up` sets one up; its address."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a socket's path must be short
        directory = Path(name)
        socket, log = directory / "s", directory / "log"
        server = subprocess.Popen(command(find_server(directory), redis_dir=directory, socket=socket, log_file=log))
        try:
            wait_until_ready(f"unix://{socket}", exit_status=lambda: None, log_file=log)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait()


def measure(model: Any, transactions: Sequence[Transaction], *, say: Callable[[str], None]) -> dict[int, Cost]:
    """The costs by size of the batch."""
    costs = {}
    for size, count in SIZES.items():
        say(f"{count:,} transactions in batches of {size}")
        with own_redis() as url, Redis.from_url(url) as redis:
            queueing = Queueing(submitted_at=utc_now(), explain=False, request_id="0690187fef76-1f4c")
            rows = [transactions[number % len(transactions)] for number in range(count)]
            waiting = [
                queueing.submission(each.model_copy(update={"transaction_id": f"w-{number:08d}"}))
                for number, each in enumerate(rows)
            ]
            accept = _spent(redis, partial(asyncio.run, _accept(url, waiting, size)))
            durations: list[float] = []
            decide = _spent(redis, partial(_drain, redis, model, size, durations))
            quickest = sorted(durations)[: len(durations) // 4]
            quick = BatchTimes(len(quickest), len(quickest) * size, sum(quickest))
            costs[size] = Cost(accept / count, decide / count, quick)
    return costs


def timed(costs: dict[int, Cost]) -> dict[int, BatchTimes]:
    """The worker's measurements, as workers tell them."""
    return {size_class(size): cost.timed for size, cost in costs.items()}


async def _accept(url: str, waiting: list[Submission], size: int) -> None:
    async with AsyncRedis.from_url(url) as redis:
        intake = RedisIntake(redis, queue_limit=10**7, **TTL)
        for start in range(0, len(waiting), size):
            await intake.accept(waiting[start : start + size])


def _drain(redis: Redis, model: Any, size: int, durations: list[float]) -> None:
    queue = RedisQueue(redis, **LIMITS)
    claimed = queue.claim("w1", count=size, lease_seconds=LEASE_SECONDS)
    while claimed.rows:
        began = time.perf_counter()
        done = outcomes(claimed, model=model, transaction_class=Transaction)
        _, claimed = queue.decide_and_claim("w1", done, count=size, lease_seconds=LEASE_SECONDS)
        durations.append(time.perf_counter() - began)


def _spent(redis: Redis, work: Callable[[], object]) -> float:
    """Seconds of Redis's processor time."""

    def seconds() -> float:
        cpu: dict[str, Any] = redis.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    before = seconds()
    work()
    return seconds() - before
