"""The composition root of a worker that decides."""

import faulthandler
import signal
from typing import Any

from shared.jobs import CALLBACKS_QUEUE, SCORING_QUEUE, Tickets
from shared.log import get_logger
from shared.model.serving import create_serving
from shared.outage import Outage
from shared.presence import Presence
from shared.schedule import Schedule
from shared.settings import Settings
from shared.store.paces import Paces
from shared.store.processes import Processes
from shared.store.safety import dangers_of, warn
from shared.store.tallies import Tallies
from shared.store.transactions import RedisQueue
from shared.tracing import create_tracing
from shared.transaction import load_transaction_class
from worker.jobs import drain
from worker.process import Process, Side
from worker.runtime import Runtime, install
from worker.signs import Signs
from worker.spans import ProcessSpans
from worker.sweeper import Sweeper

log = get_logger(__name__)

_later = Outage(
    log,
    failing="transactions of a later release are left to its workers: finish the upgrade, or start those",
    back="no transaction of a later release waits here",
    steady=False,
)


def _tell_later(transactions: int) -> None:
    if transactions:
        _later.failed(f"{transactions} in a batch")
    else:
        _later.over()


def create_side(settings: Settings, process: Process) -> Side:
    """The worker that decides, with its model.

    Raises:
        SettingsError: a setting names something that is not there.
        BundleError: there is no model that can serve.
    """
    transaction_class = load_transaction_class(settings.transaction)
    serving = create_serving(settings, transaction_class)
    serving.refresh()
    serving.require()
    limits: dict[str, Any] = {
        "result_ttl_seconds": settings.result_ttl,
        "failed_ttl_seconds": settings.failed_ttl,
        "feed_length": settings.feed_length,
        "callback_wait_seconds": Schedule.parse(settings.callback_schedule).seconds[0],
    }
    signs = Signs(
        Presence(serving=serving, process=process.name, kind="worker"),
        Processes(process.sweep_redis),
        Tallies(process.sweep_redis),
        Paces(process.sweep_redis),
    )
    tracing = create_tracing(settings, service="riskline-worker")
    # where it hangs, before the kernel ends it; and then it does
    faulthandler.register(signal.SIGPROF, chain=True)
    install(
        Runtime(
            queue=RedisQueue(process.redis, **limits),
            tickets=Tickets(process.redis),
            callback_tickets=Tickets(process.redis, CALLBACKS_QUEUE),
            serving=serving,
            transaction_class=transaction_class,
            worker=process.name,
            pulse=process.pulse,
            count=signs.count,
            time_batch=signs.time_batch,
            spans=ProcessSpans(tracing),
            later=_tell_later,
            outage=Outage(log, failing="Redis fails the worker; it tries again", back="the worker works again"),
            stopping=process.stopping.is_set,
        )
    )
    tickets = Tickets(process.sweep_redis)
    sweeper = Sweeper(
        worker=process.name,
        queue=RedisQueue(process.sweep_redis, **limits),
        tickets=tickets,
        serving=serving,
        pulse=process.pulse,
        greet=lambda: warn(dangers_of(process.sweep_redis)),
        tell=signs.tell,
        leave=signs.leave,
    )
    return Side(SCORING_QUEUE, tickets, sweeper, drain, (lambda: None) if tracing is None else tracing.close)
