"""The tasks beside the requests: they wake waiters, record decisions, and follow the active model and the API keys."""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Sequence
from typing import Any, Protocol

from riskline.ingest.services import Services
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.process.heap import freeze_heap
from riskline.shared.telemetry.metrics import forget_dead_processes

log = get_logger(__name__)

FINISH_SECONDS = 2.5
"""The time for commits and recordings at the end, after the server has ended its requests."""

CANCEL_AGAIN_SECONDS = 0.2


class Runs(Protocol):
    """The tasks that run beside the requests."""

    async def run(self) -> None:
        """Runs until cancelled."""


class Lifespan:
    """Falcon middleware that starts the tasks with the server and ends them in order with it."""

    def __init__(self, services: Services, running: Sequence[Runs]) -> None:
        self._services = services
        self._running = running
        self._tasks: list[asyncio.Task[None]] = []

    async def process_startup(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Loads the model and starts the tasks."""
        forget_dead_processes()
        self._services.serving.refresh()
        self._tasks = [asyncio.create_task(each.run(), name=type(each).__name__) for each in self._running]
        for task in self._tasks:
            task.add_done_callback(_log_failure)
        freeze_heap()

    async def process_shutdown(self, _scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Finishes commits and recordings, then closes the connections to Redis."""
        await end(self._tasks)
        services = self._services
        finishing = [services.submitter.close(), services.recorder.flush(), services.recent_counts.add_own_counts()]
        finishing += [services.strict.close()] if services.strict else []
        finishing += [services.observer.close()] if services.observer else []
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                # all at once: a shard that hangs must not take the others' time
                await _all(finishing)
                await services.processes.leave()
        except (StoreUnavailableError, TimeoutError) as error:
            self._tell_of_losses(error)
        except Exception as error:
            # the server logs the error itself
            if services.recorder.pending or self._late:
                self._tell_of_losses(error)
            raise
        finally:
            await services.close()

    def _tell_of_losses(self, error: Exception) -> None:
        """Logs what is lost with this process: decisions, observations, or only its last second of counts."""
        if lost := self._services.recorder.pending:
            log.error("decisions are lost to the records: Redis did not take them in time", lost=lost)
        if late := self._late:
            log.error("transactions are missing from the history: its Redis did not take them in time", lost=late)
        if not (lost or late):
            log.warning("the last figures of this process are not counted: Redis is away or slow", problem=str(error))

    @property
    def _late(self) -> int:
        observer = self._services.observer
        return 0 if observer is None else observer.late


def _log_failure(task: asyncio.Task[None]) -> None:
    """Logs the error that ended a task: nobody awaits it, and its work is not done any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error(
            "a task in the background has failed, and runs no more until this process is started again",
            task=task.get_name(),
            exc_info=error,
        )


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
