"""What runs beside the requests: waking waiters, recording decisions, following the active model and the API keys."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from riskline.ingest.auth.authentication import Gate
from riskline.ingest.auth.rate_limits import Limiter
from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.process_status import Fleet
from riskline.ingest.background.recent_counts import History
from riskline.ingest.background.redis_status import RedisWatch
from riskline.ingest.background.store_status import StoreWatch
from riskline.ingest.background.worker_need import Scaling
from riskline.ingest.long_polls.feed_reads import Feed
from riskline.ingest.long_polls.waiters import Waiting
from riskline.ingest.recording.recorder import AnyRecorder
from riskline.ingest.recording.strict import StrictRecorder
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.model.serving import Serving
from riskline.shared.process.heap import freeze_heap
from riskline.shared.telemetry.metrics import forget_dead_processes

log = get_logger(__name__)

FINISH_SECONDS = 2.5
"""For commits and recordings at the end, after the server has given requests their time."""

WARM_AGAIN_SECONDS = 1.0

CANCEL_AGAIN_SECONDS = 0.2

MODEL_POLL_SECONDS = 1.0
"""How soon an activated model version serves."""


class Background:
    """Falcon middleware that starts the tasks with the server and ends them in order with it."""

    def __init__(
        self,
        *,
        serving: Serving,
        waiting: Waiting,
        feed: Feed,
        submitter: Submitter,
        recorder: AnyRecorder,
        strict: StrictRecorder | None,
        backlog: Backlog,
        fleet: Fleet,
        scaling: Scaling,
        history: History,
        gate: Gate,
        limiter: Limiter,
        watch: RedisWatch,
        store_watch: StoreWatch,
        subscriber: Redis,
        warm: Sequence[Callable[[], Awaitable[None]]],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._serving = serving
        self._waiting = waiting
        self._feed = feed
        self._submitter = submitter
        self._recorder = recorder
        self._strict = strict
        self._backlog = backlog
        self._fleet = fleet
        self._scaling = scaling
        self._history = history
        self._gate = gate
        self._limiter = limiter
        self._watch = watch
        self._store_watch = store_watch
        self._subscriber = subscriber
        self._warm = warm
        self._close = close
        self._tasks: list[asyncio.Task[None]] = []

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Loads the model and starts the tasks."""
        forget_dead_processes()
        self._serving.refresh()
        running: tuple[Coroutine[Any, Any, None], ...] = (
            self._waiting.listen(self._subscriber),
            self._feed.run(),
            self._recorder.run(),
            self._backlog.run(),
            self._fleet.run(),
            self._scaling.run(),
            self._watch.run(),
            self._store_watch.run(),
            self._history.run(),
            self._gate.run(),
            self._limiter.run(),
            self._follow_model(),
            self._warm_up(),
        )
        self._tasks = [asyncio.create_task(each) for each in running]
        freeze_heap()

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Finishes commits and recordings, then lets go of Redis."""
        await end(self._tasks)
        finishing = [self._submitter.close(), self._recorder.flush(), self._history.tell()]
        finishing += [self._strict.close()] if self._strict else []
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                # at once: what waits for a shard that hangs must not take their time from the others'
                await _all(finishing)
                await self._fleet.leave()
        except (StoreUnavailableError, TimeoutError) as error:
            self._tell_of_losses(error)
        await self._close()

    def _tell_of_losses(self, error: Exception) -> None:
        """Says what this process takes with it: decisions, or only its last second of the figures."""
        if lost := self._recorder.pending:
            log.error("decisions are lost to the records: Redis did not take them in time", lost=lost)
        else:
            log.warning("the last figures of this process are not counted: Redis is away or slow", problem=str(error))

    async def _warm_up(self) -> None:
        for step in self._warm:
            while not await _done(step):  # noqa: ASYNC110  # Redis tells nobody that it is back
                await asyncio.sleep(WARM_AGAIN_SECONDS)

    async def _follow_model(self) -> None:
        while True:
            await asyncio.sleep(MODEL_POLL_SECONDS)
            try:
                await asyncio.to_thread(self._serving.refresh)
            except Exception:
                log.exception("following the active model failed")


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels tasks until they have ended: a cancellation that comes together with an answer can get lost."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """Awaits all of them, also where one fails, and raises what the first of those raised."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _done(step: Callable[[], Awaitable[None]]) -> bool:
    try:
        await step()
    except StoreUnavailableError:
        return False
    return True
