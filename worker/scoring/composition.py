"""The composition root of a worker that decides."""

import faulthandler
import signal
from collections.abc import Sequence
from functools import partial

from redis import Redis

from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.log import get_logger
from riskline.shared.model.serving import create_serving
from riskline.shared.outage import Outage
from riskline.shared.process.heartbeats import Presence
from riskline.shared.process.jobs import CALLBACKS_QUEUE, SCORING_QUEUE, Tickets
from riskline.shared.settings import Settings
from riskline.shared.store.interfaces import TransactionQueue
from riskline.shared.store.redis_queue import RedisQueue
from riskline.shared.store.sharding.sharded_queue import ShardedQueue, ShardHealth
from riskline.shared.store.sharding.shards import all_keys, first_shard, shard_of, share
from riskline.shared.store.status.paces import Paces
from riskline.shared.store.status.processes import Processes
from riskline.shared.store.status.servers import warn_of_store
from riskline.shared.store.status.tallies import Tallies
from riskline.shared.telemetry.tracing import create_tracing
from riskline.shared.webhooks.schedule import Schedule
from riskline.worker.process import Process, QueuePart
from riskline.worker.scoring.drain import Listeners
from riskline.worker.scoring.jobs import ScoringJob
from riskline.worker.scoring.spans import ProcessSpans
from riskline.worker.scoring.sweeper import ShardSweeper, Steps, Sweeper
from riskline.worker.scoring.tickets import TicketsBeside
from riskline.worker.scoring.worker_status import WorkerStatus

log = get_logger(__name__)


def create_side(settings: Settings, process: Process) -> QueuePart:
    """The worker that decides, with its model.

    Raises:
        SettingsError: a setting names something that is not there.
        BundleError: there is no model that can serve.
    """
    transaction_class = load_transaction_class(settings.transaction)
    serving = create_serving(settings, transaction_class)
    serving.refresh()
    serving.require()
    first = process.sweep_store[first_shard(settings.shards)]
    presence = Presence(serving=serving, process=process.name, kind="worker")
    status = WorkerStatus(presence, Processes(first), Tallies(first), Paces(first))
    tracing = create_tracing(settings, service="riskline-worker")
    # where it hangs, before the kernel ends it; and then it does
    faulthandler.register(signal.SIGPROF, chain=True)
    # a Redis that has nothing but tickets and hangs keeps no decision and no lease waiting
    apart = process.tickets_apart
    tickets = TicketsBeside(process.sweep_redis) if apart else Tickets(process.sweep_redis)
    callback_tickets = (
        TicketsBeside(process.sweep_redis, CALLBACKS_QUEUE) if apart else Tickets(process.redis, CALLBACKS_QUEUE)
    )
    health = ShardHealth()
    job = ScoringJob(
        queue=_together(_queues(process.store, settings), health),
        tickets=tickets if apart else Tickets(process.redis),
        serving=serving,
        transaction_class=transaction_class,
        worker=process.name,
        pulse=process.pulse,
        listeners=Listeners(
            announce=callback_tickets.ensure,
            count=status.count,
            time_batch=status.time_batch,
            later=LaterRelease().seen,
            spans=ProcessSpans(tracing),
        ),
        outage=Outage(log, failing="Redis fails the worker; it tries again", back="the worker works again"),
        stopping=process.stopping.is_set,
    )
    sweeper = _sweeper(job, process, settings, tickets=tickets, health=health, status=status)
    return QueuePart(SCORING_QUEUE, tickets, sweeper, job.run, (lambda: None) if tracing is None else tracing.close)


class LaterRelease:
    """Logs that transactions of a later release wait, and when none do."""

    def __init__(self) -> None:
        self._outage = Outage(
            log,
            failing="transactions of a later release are left to its workers: finish the upgrade, or start those",
            back="no transaction of a later release waits here",
            steady=False,
        )

    def seen(self, transactions: int) -> None:
        """Takes the number of them in a batch."""
        if transactions:
            self._outage.failed(f"{transactions} in a batch")
        else:
            self._outage.over()


def _sweeper(
    job: ScoringJob,
    process: Process,
    settings: Settings,
    *,
    tickets: Tickets,
    health: ShardHealth,
    status: WorkerStatus,
) -> Sweeper:
    queues = _queues(process.sweep_store, settings)
    shards = [
        ShardSweeper(number, worker=process.name, queue=queue, tickets=tickets, health=health)
        for number, queue in enumerate(queues)
    ]
    return Sweeper(
        worker=process.name,
        queue=_together(queues, health, claims_elsewhere=True),
        tickets=tickets,
        serving=job.serving,
        pulse=process.pulse,
        steps=Steps(first=lambda: warn_of_store(settings), each=status.publish, last=status.leave),
        shards=shards if len(shards) > 1 else (),
    )


def _queues(store: Sequence[Redis], settings: Settings) -> list[RedisQueue]:
    """The queue of each shard."""
    return [
        RedisQueue(
            redis,
            keys=keys,
            result_ttl_seconds=settings.result_ttl,
            failed_ttl_seconds=settings.failed_ttl,
            feed_length=share(settings.feed_length, settings.shards),
            callback_wait_seconds=Schedule.parse(settings.callback_schedule).seconds[0],
        )
        for redis, keys in zip(store, all_keys(settings.shards), strict=True)
    ]


def _together(queues: Sequence[RedisQueue], health: ShardHealth, *, claims_elsewhere: bool = False) -> TransactionQueue:
    if len(queues) == 1:
        return queues[0]
    route = partial(shard_of, shards=len(queues))
    return ShardedQueue(queues, route=route, health=health, claims_elsewhere=claims_elsewhere)
