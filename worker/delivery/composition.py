"""The composition root of a worker that delivers callbacks."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from riskline.shared.errors import SettingsError
from riskline.shared.log import get_logger
from riskline.shared.process.jobs import CALLBACKS_QUEUE, Tickets
from riskline.shared.settings import UNSIGNED, Settings
from riskline.shared.store.callbacks import CallbackRecords, RedisCallbacks
from riskline.shared.store.connect.connection import connect_store_async
from riskline.shared.store.keys import FIRST
from riskline.shared.store.sharding.shards import all_keys, first_shard, share
from riskline.shared.store.status.tallies import Tallies
from riskline.shared.telemetry.tracing import Tracing, create_tracing
from riskline.shared.webhooks.schedule import Schedule
from riskline.shared.webhooks.signing import Signer
from riskline.worker.delivery.attempt import USER_AGENT, Courier
from riskline.worker.delivery.deliverer import LIMIT, Deliverer, Deliverers
from riskline.worker.delivery.outbound import Outbound
from riskline.worker.process import Process, QueuePart
from riskline.worker.scoring.measurements import MeasurementBuffer
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.sweeper import CallbackSweeper, SideBySide

log = get_logger(__name__)

NICENESS = 19
"""The lowest priority: where cores are scarce, scoring comes first."""

ANSWER_SECONDS = 4.0
"""A connection that does not answer for this long counts as lost: above the longest wait for an event."""

TIME_SLICE_SECONDS = 60.0
"""The longest delivery of one ticket: RQ's maintenance and heartbeats run between two tickets."""

HOT_SECONDS = 5.0
"""The idle time before returning to RQ, which costs 7 ms a ticket."""

PAUSE_SECONDS = 0.05

STOP_SECONDS = 7.0
"""More than the deliverer gives attempts in flight, and less than the process has."""


class DeliveryRuntime:
    """A deliverer in a thread with a loop of its own, which takes callbacks while a ticket is worked on.

    Attempts in flight go on between two tickets: a loop that only ran within a job would
    mistake its own pause for the silence of a receiver.
    """

    def __init__(self, build: Callable[[], Deliverers], *, stopping: Callable[[], bool], pulse: Pulse) -> None:
        """`build` is called in the thread."""
        self._build = build
        self._stopping = stopping
        self._pulse = pulse
        self._active = threading.Event()
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._deliverer: Deliverers | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Waits until attempts in flight have ended, or their time is over; the process was told to stop before."""
        self._ended.set()
        self._end_pause()
        self._thread.join(STOP_SECONDS)

    @property
    def lives(self) -> bool:
        """True while the thread delivers."""
        return self._thread.is_alive()

    def deliver(self) -> None:
        """Delivers until nothing was due for a while, the time slice is over or the process is to stop."""
        end = time.monotonic() + TIME_SLICE_SECONDS
        begun = time.monotonic()
        with self._pulse.holding(give_back=lambda: None):
            self._active.set()
            self._end_pause()
            try:
                while not self._stopping() and time.monotonic() < end and self.lives:
                    idle = self._deliverer.idle_seconds if self._deliverer is not None else 0.0
                    if min(idle, time.monotonic() - begun) >= HOT_SECONDS:
                        break
                    time.sleep(PAUSE_SECONDS)
            finally:
                self._active.clear()

    def _end_pause(self) -> None:
        if self._loop is not None and self._deliverer is not None and self.lives:
            self._loop.call_soon_threadsafe(self._deliverer.end_pause)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            log.exception("the deliverer ended")
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deliverer = self._build()
        self._ready.set()
        await self._deliverer.run(active=self._active.is_set, stopping=lambda: self._ended.is_set() or self._stopping())


def create_side(settings: Settings, process: Process) -> QueuePart:
    """The worker that delivers.

    Raises:
        SettingsError: nothing is there to sign callbacks with.
    """
    if not settings.callback_secrets:
        raise SettingsError(f"RISKLINE_CALLBACK_SECRET is not set: {UNSIGNED}")
    _give_way()
    first = process.sweep_store[first_shard(settings.shards)]
    measurements = MeasurementBuffer(Tallies(first))
    tracing = create_tracing(settings, service="riskline-delivery")
    runtime = DeliveryRuntime(
        partial(_deliverers, settings, measurements, tracing), stopping=process.stopping.is_set, pulse=process.pulse
    )
    runtime.start()
    tickets = Tickets(process.sweep_redis, CALLBACKS_QUEUE)
    sweepers = [
        # published by the sweep of the same shard: where that is away, the others do not wait for it
        CallbackSweeper(
            CallbackRecords(redis, keys=keys), tickets, tell=measurements.publish if keys == FIRST else _nothing
        )
        for redis, keys in zip(process.sweep_store, all_keys(settings.shards), strict=True)
    ]
    sweeper = sweepers[0] if len(sweepers) == 1 else SideBySide(sweepers)

    def close() -> None:
        runtime.close()
        if tracing is not None:
            tracing.close()

    return QueuePart(CALLBACKS_QUEUE, tickets, sweeper, runtime.deliver, close, alive=lambda: runtime.lives)


def _deliverers(settings: Settings, measurements: MeasurementBuffer, tracing: Tracing | None) -> Deliverers:
    """A deliverer for each shard; made in the loop in which they run."""
    url, shards = settings.required_store_url, settings.shards
    taking, waiting = (connect_store_async(url, shards=shards, timeout_seconds=ANSWER_SECONDS) for _ in range(2))
    courier = Courier(
        sender=Outbound(allowed=settings.allowed, user_agent=USER_AGENT),
        signer=Signer(settings.callback_secrets),
        allowed=settings.allowed,
        schedule=Schedule.parse(settings.callback_schedule),
        tracing=tracing,
    )
    return Deliverers(
        [
            Deliverer(
                RedisCallbacks(
                    redis,
                    waiting=its_waiting,
                    keys=keys,
                    result_ttl_seconds=settings.result_ttl,
                    failed_ttl_seconds=settings.failed_ttl,
                ),
                courier,
                host_limit=share(settings.callback_host_limit, shards),
                limit=share(LIMIT, shards),
                measure=measurements.add,
            )
            for redis, its_waiting, keys in zip(taking, waiting, all_keys(shards), strict=True)
        ]
    )


def _nothing() -> None:
    """Publishes nothing; for the sweeps of the other shards."""


def _give_way() -> None:
    """Lowers this process's priority; it does not preempt others when it wakes (sched(7))."""
    os.nice(NICENESS)
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
