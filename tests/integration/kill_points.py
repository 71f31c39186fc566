"""Kills a process at each of its Redis commands in turn and says what became of its transactions, a JSON line each.

    python -m tests.integration.kill_points submit|record|drain|job|deliver REDIS_URL

Each process is forked from this one and ended by SIGKILL, so that nothing of Python's own cleanup runs in it.
"""

import asyncio
import json
import logging
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import orjson
import structlog
from redis import Redis
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

import riskline.shared.store.callbacks
import riskline.worker.delivery.deliverer
import riskline.worker.scoring.drain
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.log import get_logger
from riskline.shared.model.serving import Serving
from riskline.shared.outage import Outage
from riskline.shared.process.jobs import CALLBACKS_QUEUE, SCORING_QUEUE, SCORING_QUEUE_KEY, Tickets
from riskline.shared.store.callbacks import CallbackRecords, RedisCallbacks
from riskline.shared.store.connect.connection import connect, connect_async, redis_faults_named
from riskline.shared.store.interfaces import ACCEPTED
from riskline.shared.store.keys import Keys
from riskline.shared.store.records import Record
from riskline.shared.store.redis_queue import RedisIntake, RedisQueue
from riskline.shared.store.status.consistency import Audit
from riskline.shared.webhooks.schedule import Schedule
from riskline.shared.webhooks.signing import Signer, new_secret
from riskline.shared.webhooks.url import Allowed, CallbackUrl
from riskline.worker.delivery.attempt import Courier
from riskline.worker.delivery.deliverer import Deliverer
from riskline.worker.delivery.outbound import ReceiverResponse
from riskline.worker.main import WORKER_TTL_SECONDS
from riskline.worker.rq_worker import Duties, QueueWorker
from riskline.worker.scoring.drain import Listeners
from riskline.worker.scoring.jobs import ScoringJob
from riskline.worker.scoring.pulse import Pulse
from tests.integration import doom
from tests.integration.running import PATIENCE_SECONDS
from tests.integration.stores import LIMITS, TTL, a_submission, at_once
from tests.support.factories import AmountModel, FixedSource

SECONDS = 0.002
"""A lease, a turn to sweep, a wait for more: nothing else takes what is claimed before it is over."""

LONG_SECONDS = 60.0
"""Of a turn that is longer than the time between two sweeps: else the second one would spare all, too."""


IDLE_SECONDS = 0.02

CALLBACK_URL = "https://shop.example/hook"

IDS = ("a", "b", "c")
SUBMISSIONS = [a_submission(each) for each in IDS]

WHENS = dict.fromkeys(("submit", "record", "drain", "deliver"), doom.WHENS) | {"job": ("before", "after")}
"""A part of a command that RQ sends by itself is none to the server."""


class Received:
    """A receiver that keeps what came in a file, which outlives the process that sent it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process

    def clear(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def all(self) -> set[str]:
        self._file.seek(0)
        return set(self._file.read().split())

    async def post(self, target: CallbackUrl, *, headers: dict[str, str], body: bytes) -> ReceiverResponse:
        print(headers["webhook-id"], file=self._file, flush=True)
        return ReceiverResponse(status=204, head="", latency_seconds=0.0, retry_after=None)


class Parts:
    """What an operation does, and what another process finds and makes of it afterwards."""

    def __init__(self, operation: str, url: str) -> None:
        self.operation = operation
        self.url = url
        self.redis = Redis.from_url(url)
        self.received = Received()
        self._loop = asyncio.new_event_loop()
        self._asked = self.intake()

    def intake(self) -> RedisIntake:
        return RedisIntake(connect_async(self.url, timeout_seconds=PATIENCE_SECONDS), queue_limit=1000, **TTL)

    def ask(self, call: Callable[[RedisIntake], Any]) -> Any:
        """The answer of the asynchronous side."""
        return self._loop.run_until_complete(call(self._asked))

    def prepare(self) -> None:
        """An empty Redis, or one in which three transactions wait and a ticket for them."""
        self.redis.flushall()
        self.redis.script_flush()
        if self.operation in {"drain", "job"}:
            self.ask(lambda intake: intake.accept(SUBMISSIONS))
            Tickets(self.redis).ensure()
        elif self.operation == "deliver":
            self.ask(lambda intake: intake.accept([a_submission(each, callback_url=CALLBACK_URL) for each in IDS]))
            self.drain(RedisQueue(self.redis, **LIMITS), "w1")
            self.received.clear()

    def run(self, acknowledge: Callable[[], None]) -> None:
        """The operation."""
        riskline.worker.scoring.drain.WAIT_SECONDS = SECONDS
        if self.operation == "submit":
            asyncio.run(self.submit(acknowledge))
        elif self.operation == "record":
            asyncio.run(self.intake().record([at_once("a")]))
            acknowledge()
        elif self.operation == "drain":
            queue = RedisQueue(connect(self.url), **LIMITS)
            queue.sweep("w1", lease_seconds=SECONDS, turn_seconds=SECONDS)
            self.drain(queue, "w1")
        elif self.operation == "deliver":
            asyncio.run(self.deliver())
        else:
            self.job("w1")

    async def submit(self, acknowledge: Callable[[], None]) -> None:
        """As the HTTP service does it: all of it known, then a ticket."""
        intake, tickets = self.intake(), Tickets(connect(self.url, retries=1))
        await intake.accept(SUBMISSIONS)
        acknowledge()
        with redis_faults_named():
            if await intake._redis.llen(SCORING_QUEUE_KEY) == 0:
                await asyncio.to_thread(tickets.ensure)

    def drain(self, queue: RedisQueue, name: str) -> None:
        """What a worker does for a ticket, and how it ends."""
        riskline.worker.scoring.drain.drain(
            queue,
            worker=name,
            pulse=Pulse(),
            model=AmountModel,
            transaction_class=Transaction,
            time_is_over=lambda: False,
        )
        queue.leave(name, ends=True)

    async def deliver(self, *, until: Callable[[], bool] = lambda: True) -> None:
        """What a delivery worker does while it has tickets."""
        redis, waiting = (connect_async(self.url, timeout_seconds=PATIENCE_SECONDS) for _ in range(2))
        ttl = {name: value for name, value in LIMITS.items() if name != "feed_length"}
        deliverer = Deliverer(
            RedisCallbacks(redis, waiting=waiting, **ttl),
            Courier(
                sender=self.received,
                signer=Signer([new_secret()]),
                allowed=Allowed(),
                schedule=Schedule.parse("0,0"),
            ),
            host_limit=2,
        )
        await deliverer.run(active=lambda: True, stopping=lambda: deliverer.idle_seconds > IDLE_SECONDS and until())
        await redis.aclose()
        await waiting.aclose()

    def job(self, name: str) -> None:
        """RQ's worker with the tickets that wait."""
        redis = connect(self.url)
        serving = Serving(FixedSource(AmountModel()), inputs_of(Transaction))
        serving.refresh()
        pulse, outage = Pulse(), Outage(get_logger(__name__), failing="away", back="back")
        job = ScoringJob(
            queue=RedisQueue(redis, **LIMITS),
            tickets=Tickets(redis),
            serving=serving,
            transaction_class=Transaction,
            worker=name,
            pulse=pulse,
            listeners=Listeners(announce=Tickets(redis, CALLBACKS_QUEUE).ensure),
            outage=outage,
            stopping=lambda: False,
        )
        duties = Duties(job=job.run, stopping=threading.Event(), pulse=pulse, outage=outage, refused=outage)
        rq_worker = QueueWorker(SCORING_QUEUE, duties, connection=redis, worker_ttl_seconds=WORKER_TTL_SECONDS)
        rq_worker.work(burst=True, logging_level="CRITICAL")

    def problems(self, *, acknowledged: bool) -> Iterator[str]:
        """What is wrong once others have come after the process that was killed."""
        submitted: list[Record | None] = self.ask(lambda intake: intake.get(IDS))
        here = sum(record is not None for record in submitted)
        accepted = acknowledged or self.operation in {"drain", "job"}
        if accepted and here < (1 if self.operation == "record" else len(IDS)):
            yield "what was acknowledged is not there"
        if self.operation == "submit" and here not in {0, len(IDS)}:
            yield f"{here} of {len(IDS)} submitted together are there"
        expected = IDS[:1] if self.operation == "record" else IDS
        if self.operation == "record":
            (answer,) = self.ask(lambda intake: intake.record([at_once("a")], wanted=True))
            if answer is not ACCEPTED and answer != orjson.loads(at_once("a").record):
                yield f"recorded again it is answered {answer}"
        elif self.operation == "submit":
            for submission, answer in zip(SUBMISSIONS, self.ask(lambda i: i.accept(SUBMISSIONS)), strict=True):
                if answer is not ACCEPTED and answer["transaction"] != orjson.loads(submission.record)["transaction"]:
                    yield f"submitted again it is answered {answer}"
        yield from self.problems_of_rescue()
        records = self.ask(lambda intake: intake.get(expected))
        fed = sorted(orjson.loads(entry[b"d"])["transaction_id"] for _, entry in self.redis.xrange(FEED))
        if fed != list(expected) or [(record or {}).get("status") for record in records] != ["scored"] * len(expected):
            yield f"in the feed are {fed}, the records are {records}"
        yield from self.ask(lambda intake: intake.count()).problems()
        if orphans := self.redis.keys("riskline:{0}:claimed:*"):
            yield f"claims are left: {orphans}"

    def problems_of_delivery(self) -> Iterator[str]:
        """What is wrong once another delivery worker has come."""
        deadline = time.monotonic() + PATIENCE_SECONDS

        def nothing_is_pending() -> bool:
            return self.redis.zcard(Keys().callbacks) == 0 or time.monotonic() > deadline

        asyncio.run(self.deliver(until=nothing_is_pending))
        auditor = Audit(self.redis, pause=lambda _: None)
        yield from auditor.counts().problems()
        if pending := self.redis.zrange(Keys().callbacks, 0, -1):
            yield f"pending: {pending}"
        kept = dict(CallbackRecords(self.redis).read(IDS))
        for transaction_id, state in kept.items():
            if (state[b"status"], state[b"id"].decode() in self.received.all()) != (b"delivered", True):
                yield f"{transaction_id} is {state[b'status']}, received are {self.received.all()}"
        if len(kept) != len(IDS):
            yield f"kept are {sorted(kept)}"

    def problems_of_rescue(self) -> Iterator[str]:
        """What another worker meets that comes after the one that was killed."""
        Tickets(self.redis).ensure()
        if (tickets := self.redis.llen(SCORING_QUEUE_KEY)) != 1:
            yield f"{tickets} tickets wait"
        queue = RedisQueue(self.redis, **LIMITS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            # the first sweep after a while without one spares all, for half a lease
            queue.sweep("rescuer", lease_seconds=SECONDS, turn_seconds=SECONDS)
            time.sleep(SECONDS)
            queue.sweep("rescuer", lease_seconds=SECONDS, turn_seconds=LONG_SECONDS)
            if self.operation == "job":
                Tickets(self.redis).ensure()
                self.job("rescuer")
                queue.leave("rescuer", ends=True)
            else:
                self.drain(queue, "rescuer")
            if self.redis.exists(UNDECIDED) == 0 and self.redis.zcard(WORKERS) == 0:
                break
        else:
            yield f"undecided: {self.redis.zrange(UNDECIDED, 0, -1)}, workers: {self.redis.zrange(WORKERS, 0, -1)}"
        if self.operation == "job":
            yield from self.problems_of_rq()

    def problems_of_rq(self) -> Iterator[str]:
        """What RQ keeps that it neither cleans up by itself nor lets expire."""
        options = {"connection": self.redis, "serializer": JSONSerializer}
        started, failed = StartedJobRegistry(SCORING_QUEUE, **options), FailedJobRegistry(SCORING_QUEUE, **options)
        if failed.count:
            yield f"{failed.count} failed tickets"
        started.cleanup(timestamp=time.time() + 3600)
        if started.count:
            yield f"{started.count} tickets are started for ever"
        if waiting := self.redis.llen(SCORING_QUEUE_KEY):
            yield f"{waiting} tickets are left"


FEED, UNDECIDED, WORKERS = (f"riskline:{{0}}:{name}" for name in ("decisions", "undecided", "workers"))


def main(operation: str, url: str) -> None:
    """Each n until the operation ends before it comes to its n-th command."""
    riskline.worker.scoring.drain.LEASE_SECONDS = riskline.shared.store.callbacks.LEASE_SECONDS = SECONDS
    riskline.worker.delivery.deliverer.LOOK_SECONDS = 0.01
    # Redis looks ten times a second whose wait is over; who comes to the rescue need not wait at all
    riskline.worker.scoring.drain.WAIT_SECONDS, riskline.worker.scoring.drain.HOT_WAITS = 0, 1
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parts = Parts(operation, url)
    for when in WHENS[operation]:
        for n in count(1):
            parts.prepare()
            ended, acknowledged = doom.in_a_child(parts.run, doom.Doom(n, when))
            point: dict[str, Any] = {"when": when, "n": n, "ended": ended, "acknowledged": acknowledged}
            delivers = operation == "deliver"
            point["problems"] = list(
                parts.problems_of_delivery() if delivers else parts.problems(acknowledged=acknowledged)
            )
            print(json.dumps(point), flush=True)
            if ended != -signal.SIGKILL:
                break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
