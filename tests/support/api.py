"""The app over the store in memory and a model without a file, for tests of the doors."""

import asyncio
from pathlib import Path
from typing import Any

import fakeredis
from falcon import testing

from riskline.ingest.app import create_app
from riskline.ingest.auth.authentication import Gate
from riskline.ingest.auth.rate_limits import Limiter
from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.process_status import Fleet
from riskline.ingest.background.recent_counts import History
from riskline.ingest.background.store_status import StoreWatch
from riskline.ingest.background.worker_need import Scaling
from riskline.ingest.console.frame.sessions import Sessions
from riskline.ingest.console.main import Console
from riskline.ingest.edge.departure import Departure
from riskline.ingest.edge.limits import DEFAULT_LIMITS, Limits
from riskline.ingest.long_polls.feed_reads import Feed
from riskline.ingest.long_polls.waiters import Places, Waiting
from riskline.ingest.recording.recorder import Recorder
from riskline.ingest.recording.strict import StrictRecorder
from riskline.ingest.submission.callback_field import url_check
from riskline.ingest.submission.submissions import Submitter
from riskline.shared.domain.capacity import Target
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.model.registry import Registry
from riskline.shared.model.serving import Serving
from riskline.shared.process.heartbeats import Presence
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.console import ConsoleStore
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.operations import AllCallbacks, AllFailures, undecided_of
from riskline.shared.store.search import search_of
from riskline.shared.store.status.identity import AsyncIdentity, Witness
from riskline.shared.store.status.minute_counts import RedisHistory
from riskline.shared.store.status.paces import AsyncPaces
from riskline.shared.store.status.processes import AsyncProcesses
from riskline.shared.store.status.redis_safety import ServerFacts
from riskline.shared.store.status.tallies import AsyncTallies
from riskline.shared.telemetry.tracing import Tracing
from riskline.worker.scoring.drain import drain
from riskline.worker.scoring.pulse import Pulse
from tests.support.factories import AmountModel, FixedSource

MAX_BODY_BYTES = 4096
MAX_BATCH_ROWS = 2000


class Api:
    """An app, its collaborators, and a client for it."""

    def __init__(
        self,
        model: Any = None,
        *,
        queue_limit: int = 1000,
        record_capacity: int = 10,
        max_waits: int = 100,
        limits: Limits = DEFAULT_LIMITS,
        max_body_bytes: int = MAX_BODY_BYTES,
        cors_origins: tuple[str, ...] = (),
        allowed_hosts: tuple[str, ...] = ("*",),
        strict: bool = False,
        gate: Gate | None = None,
        limiter: Limiter | None = None,
        settings: Settings | None = None,
        transaction_class: type[TransactionModel] = Transaction,
        tracing: Tracing | None = None,
        models_dir: Path = Path("nowhere"),
    ) -> None:
        self.transaction_class = transaction_class
        self.store = MemoryStore(queue_limit=queue_limit)
        self.tickets = 0
        self.serving = Serving(
            FixedSource(AmountModel(transaction_class=transaction_class) if model is None else model),
            transaction_class.feature_names(),
        )
        self.serving.refresh()
        self.recorder = Recorder(self.store, capacity=record_capacity)
        places = Places(max_waits)
        self.waiting = Waiting(self.store, places)
        self.feed = Feed(self.store, places)
        self.backlog = Backlog(self.store, queue_limit=queue_limit)
        self.gate = gate or Gate()
        server = fakeredis.FakeServer()
        redis = fakeredis.FakeAsyncRedis(server=server)
        self.sync_redis = fakeredis.FakeRedis(server=server)
        presence = Presence(serving=self.serving, process="me", kind="api")
        self.fleet = Fleet(presence, AsyncProcesses(redis), AsyncTallies(redis))
        self.scaling = Scaling(self.backlog, AsyncPaces(redis), Target())
        self.store_watch = StoreWatch([(AsyncIdentity(redis), Witness())], memory=None)
        self.console_sessions = Sessions(self.gate, ConsoleStore(redis))
        self.departure = Departure(seconds=0)
        self.app = create_app(
            transaction_class=transaction_class,
            serving=self.serving,
            submitter=Submitter(
                self.store,
                ensure_ticket=self._ensure_ticket,
                queue_full=self.backlog.queue_full,
            ),
            waiting=self.waiting,
            feed=self.feed,
            recorder=self.recorder,
            strict=StrictRecorder(self.store) if strict else None,
            backlog=self.backlog,
            fleet=self.fleet,
            scaling=self.scaling,
            gate=self.gate,
            limiter=limiter or Limiter(),
            redis=(redis,),
            store_watch=self.store_watch,
            max_body_bytes=max_body_bytes,
            max_batch_rows=MAX_BATCH_ROWS,
            intake=self.store,
            check_url=url_check(settings or load_settings()),
            default_callback_url=(settings or load_settings()).default_callback_url,
            version="1.2.3",
            departure=self.departure,
            limits=limits,
            cors_origins=cors_origins,
            allowed_hosts=allowed_hosts,
            tracing=tracing,
            console=Console(
                gate=self.gate,
                sessions=self.console_sessions,
                store=ConsoleStore(redis),
                transaction_class=transaction_class,
                intake=self.store,
                search=search_of([redis]),
                undecided=undecided_of([self.sync_redis]),
                failures=AllFailures([self.sync_redis]),
                callbacks=AllCallbacks([self.sync_redis]),
                serving=self.serving,
                registry=Registry(models_dir),
                pinned_version=None,
                fleet=self.fleet,
                history=History(self.backlog, self.fleet, sums=AsyncTallies(redis), kept=RedisHistory(redis)),
                redis=redis,
                unrecorded=lambda: self.recorder.pending,
                store_watch=self.store_watch,
                redis_facts=lambda: ServerFacts(
                    {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}, {"role": "master"}
                ),
            ),
        )
        self.client = testing.TestClient(self.app)

    async def _ensure_ticket(self) -> None:
        self.tickets += 1

    def work(self, **options: Any) -> int:
        """Decides what waits, as a worker does."""
        return drain(
            self.store,
            worker="w1",
            pulse=Pulse(),
            model=self.serving.require,
            transaction_class=self.transaction_class,
            time_is_over=lambda: False,
            **options,
        )

    def record(self) -> None:
        """Records what the synchronous door decided, as the task beside the requests does."""
        asyncio.run(self.recorder.flush())
