"""The collaborators of an API process: built once, complete, handed to the doors, the console and the background."""

import asyncio
from dataclasses import dataclass
from typing import Self

from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.auth.rate_limits import RateLimiter
from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.process_status import ProcessStatus
from riskline.ingest.background.recent_counts import RecentCounts
from riskline.ingest.background.store_status import StoreWatch
from riskline.ingest.background.worker_need import WorkerNeed
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.frame.sessions import Sessions
from riskline.ingest.console.overview.alerts import badges_of
from riskline.ingest.edge.graceful_shutdown import GracefulShutdown
from riskline.ingest.history.erasure import EntityEraser
from riskline.ingest.history.observer import Observer
from riskline.ingest.history.opening import observer_of
from riskline.ingest.long_polls.feed_reads import FeedReader
from riskline.ingest.long_polls.waiters import DecisionWaiters, WaitSlots
from riskline.ingest.recording.recorder import AnyRecorder, recorder_of
from riskline.ingest.recording.strict_recorder import StrictRecorder
from riskline.ingest.store import ApiStore
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.registry import Registry
from riskline.shared.model.serving import Serving
from riskline.shared.process.heartbeats import Presence, process_name
from riskline.shared.settings import Settings
from riskline.shared.store.history.interface import HistoryStore
from riskline.shared.store.rates import RedisRates
from riskline.shared.store.status.minute_counts import RedisMinuteCounts
from riskline.shared.store.status.paces import AsyncPaces
from riskline.shared.store.status.processes import AsyncProcesses
from riskline.shared.store.status.tallies import AsyncTallies
from riskline.shared.telemetry.tracing import Tracing


@dataclass(frozen=True, kw_only=True)
class Services:
    """The collaborators of an API process."""

    transaction_class: type[TransactionModel]
    store: ApiStore
    serving: Serving
    registry: Registry
    gate: Authenticator
    limiter: RateLimiter
    submitter: Submitter
    observer: Observer | None
    """Gives transactions their history; None where their class has none."""
    eraser: EntityEraser
    recorder: AnyRecorder
    strict: StrictRecorder | None
    """Records each decision before it is answered; None where the settings do not ask for that."""
    waiting: DecisionWaiters
    feed: FeedReader
    backlog: Backlog
    processes: ProcessStatus
    worker_need: WorkerNeed
    recent_counts: RecentCounts
    store_watch: StoreWatch
    sessions: Sessions
    renderer: Renderer
    graceful_shutdown: GracefulShutdown
    tracing: Tracing | None
    """None where no traces are wanted."""

    @classmethod
    def over(
        cls,
        store: ApiStore,
        settings: Settings,
        *,
        transaction_class: type[TransactionModel],
        serving: Serving,
        gate: Authenticator,
        tracing: Tracing | None,
        history: HistoryStore | None = None,
    ) -> Self:
        """The services of a process over a store; nothing runs and nothing is asked yet.

        A class with history has its `history`.
        """
        backlog = Backlog(store.intake, queue_limit=settings.queue_limit)
        tallies = AsyncTallies(store.first)
        presence = Presence(serving=serving, process=process_name(), kind="api")
        processes = ProcessStatus(presence, AsyncProcesses(store.first), tallies)
        recent_counts = RecentCounts(backlog, processes, sums=tallies, kept=RedisMinuteCounts(store.first))
        places = WaitSlots(settings.max_waits)
        return cls(
            transaction_class=transaction_class,
            store=store,
            serving=serving,
            registry=Registry(settings.models_dir),
            gate=gate,
            limiter=RateLimiter(
                settings.rate, accounts=RedisRates(store.first), sharers=lambda: processes.api_processes
            ),
            submitter=Submitter(store.intake, ensure_ticket=store.ensure_ticket, queue_full=backlog.queue_full),
            observer=None
            if history is None
            else observer_of(history, settings, transaction_class, serving=serving, intake=store.intake),
            eraser=EntityEraser(transaction_class, history, settings),
            recorder=recorder_of(store.intake, capacity=settings.record_buffer),
            strict=StrictRecorder(store.intake) if settings.record == "strict" else None,
            waiting=DecisionWaiters(store.intake, places),
            feed=FeedReader(store.decisions, places, parse=store.parse_cursor),
            backlog=backlog,
            processes=processes,
            worker_need=WorkerNeed(backlog, AsyncPaces(store.first), settings.scale_target),
            recent_counts=recent_counts,
            store_watch=StoreWatch(store.watched, memory=store.memory),
            sessions=Sessions(gate, store.console),
            renderer=Renderer(badges=lambda: badges_of(recent_counts.counts)),
            graceful_shutdown=GracefulShutdown(seconds=settings.stop_delay),
            tracing=tracing,
        )

    async def close(self) -> None:
        """Closes the connections to Redis, and sends the last traces."""
        await self.store.close()
        if self.observer is not None:
            await self.observer.disconnect()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
