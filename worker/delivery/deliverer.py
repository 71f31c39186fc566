"""Delivers callbacks: takes due ones, many at a time, and writes the outcome of each attempt."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.callbacks import AttemptOutcome, CallbackQueue, Due
from riskline.shared.store.status.tallies import Measured
from riskline.shared.telemetry.trace_context import log_fields
from riskline.worker.delivery.attempt import Attempt, Courier
from riskline.worker.scoring.measurements import measured_attempt

log = get_logger(__name__)

LIMIT = 500
"""Attempts in flight: at 200 ms each that is 2,500 a second, more than one process can send."""

RESERVED = 5
"""One in this many places is reserved for hosts with next to nothing in flight."""

GATHER_SECONDS = 0.025
"""Finished attempts are gathered for this long, to share a Redis call and its write to disk: scoring workers
wait for each of these."""

LOOK_SECONDS = 1.0
"""The interval of checks for due callbacks without a wake-up."""

STOP_SECONDS = 4.0
"""The time for attempts in flight when the worker stops; the rest is due again at once, for another worker."""

REDIS_PAUSE_SECONDS = 1.0


class Deliverer:
    """The deliverer of one shard's callbacks."""

    def __init__(
        self,
        queue: CallbackQueue,
        courier: Courier,
        *,
        host_limit: int,
        limit: int = LIMIT,
        measure: Callable[[Measured], None] = lambda _measured: None,
    ) -> None:
        """`measure` is called with each attempt."""
        self._queue = queue
        self._measure = measure
        self._courier = courier
        self._host_limit = host_limit
        self._limit = limit
        self._outage = Outage(log, failing="Redis fails deliveries; they wait", back="deliveries go on")
        self._busy: Counter[str] = Counter()
        self._under_way: dict[asyncio.Task[None], Due] = {}
        self._ended: list[AttemptOutcome] = []
        self._something = asyncio.Event()
        self._busy_at = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds without attempts in flight or due."""
        return time.monotonic() - self._busy_at

    async def run(self, *, active: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        """Takes due callbacks while `active()`, finishes attempts in flight in any case, and ends once `stopping()`.

        An outage of Redis is waited out: outcomes are kept until they can be written.
        """
        self._busy_at = time.monotonic()
        waking = asyncio.create_task(self._wake(active, stopping))
        while not stopping():
            try:
                seconds = await self._turn(takes=active())
            except Exception:
                # the loop must outlive a bug: nothing else delivers in this process
                log.exception("a delivery turn failed")
                seconds = LOOK_SECONDS
            await self._until_something(seconds)
        waking.cancel()
        await self._end()

    def end_pause(self) -> None:
        """Ends the present pause; for the loop's own thread."""
        self._something.set()

    async def _turn(self, *, takes: bool) -> float:
        """Writes finished attempts and takes due callbacks; returns the seconds until the next turn."""
        if self._under_way or self._ended:
            self._busy_at = time.monotonic()
        room = self._limit - len(self._under_way)
        ended, self._ended = self._ended, []
        try:
            if room <= 0 or not takes:
                if ended:
                    await self._queue.finish(ended)
                return LOOK_SECONDS
            taken = await self._queue.take(
                room=room,
                host_limit=self._host_limit,
                busy=self._busy,
                reserve=self._limit // RESERVED,
                finished=ended,
            )
            self._outage.over()
        except StoreUnavailableError as error:
            self._ended = ended + self._ended
            self._outage.failed(error)
            return REDIS_PAUSE_SECONDS
        for due in taken.due:
            self._start(due)
        if taken.due and len(self._under_way) < self._limit:
            return 0.0
        # a due callback that was not taken waits for a place of its host: an attempt that ends wakes us
        return min(LOOK_SECONDS, taken.next_seconds) if taken.next_seconds else LOOK_SECONDS

    async def _until_something(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._something.wait()
        self._something.clear()
        await asyncio.sleep(GATHER_SECONDS if self._under_way else 0)

    async def _wake(self, active: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        # redis-py may swallow a cancellation
        while not stopping():
            if not active():
                # wake-ups are for a deliverer that takes callbacks
                await asyncio.sleep(LOOK_SECONDS / 10)
                continue
            try:
                await self._queue.wait(LOOK_SECONDS)
                self._something.set()
            except StoreUnavailableError:
                # the turns meet the same error, and log it
                await asyncio.sleep(REDIS_PAUSE_SECONDS)

    def _start(self, due: Due) -> None:
        self._busy[due.host] += 1
        task = asyncio.create_task(self._attempt(due))
        self._under_way[task] = due
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        due = self._under_way.pop(task)
        self._busy[due.host] -= 1
        if not self._busy[due.host]:
            del self._busy[due.host]
        self._something.set()

    async def _attempt(self, due: Due) -> None:
        try:
            ended = await self._courier.attempted(due)
        except asyncio.CancelledError:
            self._ended.append(AttemptOutcome(due, None))
            raise
        except Exception:
            log.exception("a delivery failed", transaction_id=due.transaction_id, **log_fields(due.event))
            ended = self._courier.failed(due, Attempt(error="the delivery worker failed; its log says why"))
        # only now: the list of finished attempts may have been replaced meanwhile
        self._ended.append(ended)
        if ended.attempt is not None:
            self._measure(measured_attempt(ended.attempt))

    async def _end(self) -> None:
        """Waits for attempts in flight, then gives the rest back."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
        for task in list(self._under_way):
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        try:
            if self._ended:
                await self._queue.finish(self._ended)
        except StoreUnavailableError as error:
            # their leases end, and they are retried
            self._outage.failed(error, lost=len(self._ended))


class Deliverers:
    """One deliverer for each shard, so that a shard which is away delays no callbacks of the others."""

    def __init__(self, deliverers: Sequence[Deliverer]) -> None:
        self._deliverers = tuple(deliverers)

    @property
    def idle_seconds(self) -> float:
        """Seconds without attempts in flight or due in any of them."""
        return min(each.idle_seconds for each in self._deliverers)

    async def run(self, *, active: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        """See Deliverer."""
        await asyncio.gather(*(each.run(active=active, stopping=stopping) for each in self._deliverers))

    def end_pause(self) -> None:
        """See Deliverer."""
        for each in self._deliverers:
            each.end_pause()
