"""The app over the store in memory and a model without a file, for tests of the doors."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakeredis
from falcon import testing
from pydantic import SecretStr

from riskline.ingest.app import create_app
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.auth.rate_limits import RateLimiter
from riskline.ingest.services import Services
from riskline.ingest.store import ApiStore, StoreOperations
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.model.serving import Serving
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.console import ConsoleStore
from riskline.shared.store.feed import Cursor
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.search import search_of
from riskline.shared.store.status.identity import AsyncIdentity, Witness
from riskline.shared.store.status.redis_safety import ServerFacts
from riskline.shared.telemetry.tracing import Tracing
from riskline.worker.scoring.drain import NO_LISTENERS, Listeners, drain
from riskline.worker.scoring.pulse import Pulse
from tests.support.factories import AmountModel, FixedSource

MAX_BODY_BYTES = 4096
MAX_BATCH_ROWS = 2000
SAFE = ServerFacts({"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}, {"role": "master"})


class Api:
    """An app, its collaborators, and a client for it."""

    def __init__(
        self,
        model: Any = None,
        *,
        queue_limit: int = 1000,
        record_capacity: int = 10,
        max_waits: int = 100,
        limits: Mapping[str, float] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        cors_origins: tuple[str, ...] = (),
        allowed_hosts: tuple[str, ...] = ("*",),
        strict: bool = False,
        gate: Authenticator | None = None,
        limiter: RateLimiter | None = None,
        settings: Settings | None = None,
        transaction_class: type[TransactionModel] = Transaction,
        tracing: Tracing | None = None,
        models_dir: Path = Path("nowhere"),
        history: Any = None,
    ) -> None:
        """A class with history has a `history` in memory where none is given."""
        settings = (settings or load_settings()).model_copy(
            update={
                "queue_limit": queue_limit,
                "record_buffer": record_capacity,
                "record": "strict" if strict else "best-effort",
                "max_waits": max_waits,
                **(limits or {}),
                "max_body_bytes": max_body_bytes,
                "max_batch_rows": MAX_BATCH_ROWS,
                "cors_origins": ",".join(cors_origins),
                "allowed_hosts": ",".join(allowed_hosts),
                "models": models_dir,
                "history_secret": SecretStr("a secret of tests"),
                "stop_delay": 0,
            }
        )
        self.tickets = 0
        self.store = MemoryStore(queue_limit=queue_limit)
        server = fakeredis.FakeServer()
        self.sync_redis = fakeredis.FakeRedis(server=server)
        serving = Serving(
            FixedSource(AmountModel(transaction_class=transaction_class) if model is None else model),
            inputs_of(transaction_class),
        )
        serving.refresh()
        plan = history_of(transaction_class)
        self.history = MemoryHistory(plan) if history is None and plan is not None else history
        services = Services.over(
            self._store(fakeredis.FakeAsyncRedis(server=server)),
            settings,
            transaction_class=transaction_class,
            serving=serving,
            gate=gate or Authenticator(),
            tracing=tracing,
            history=self.history,
        )
        self.services = services if limiter is None else replace(services, limiter=limiter)
        self.app = create_app(self.services, settings)
        self.client = testing.TestClient(self.app)

    def __getattr__(self, name: str) -> Any:
        """A collaborator of the app."""
        return getattr(self.services, name)

    def _store(self, redis: fakeredis.FakeAsyncRedis) -> ApiStore:
        return ApiStore(
            intake=self.store,
            warm=(),
            decisions=self.store,
            parse_cursor=Cursor.parse,
            channels=(),
            clients=(redis,),
            first=redis,
            subscriber=redis,
            watched=[(AsyncIdentity(redis), Witness())],
            memory=None,
            console=ConsoleStore(redis),
            search=search_of([redis]),
            operations=replace(StoreOperations.over([self.sync_redis]), redis_facts=lambda: SAFE),
            ensure_ticket=self._ensure_ticket,
        )

    async def _ensure_ticket(self) -> None:
        self.tickets += 1

    def work(self, listeners: Listeners = NO_LISTENERS) -> int:
        """Decides what waits, as a worker does."""
        return drain(
            self.store,
            worker="w1",
            pulse=Pulse(),
            model=self.serving.require,
            transaction_class=self.transaction_class,
            time_is_over=lambda: False,
            listeners=listeners,
        )

    def record(self) -> None:
        """Records what the synchronous door decided, as the task beside the requests does."""
        asyncio.run(self.recorder.flush())
