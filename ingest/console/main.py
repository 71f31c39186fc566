"""The console put together: its pages, their guard, and how they show errors."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redis.asyncio import Redis

from riskline.ingest.auth.authentication import Gate
from riskline.ingest.background.process_status import Fleet
from riskline.ingest.background.recent_counts import History
from riskline.ingest.background.store_status import StoreWatch
from riskline.ingest.console.changes import Changes, ChangesPage
from riskline.ingest.console.decisions.columns import columns_of, shown_fields
from riskline.ingest.console.decisions.decisions import DecisionsPage
from riskline.ingest.console.decisions.exports import DecisionsFile
from riskline.ingest.console.decisions.neighbours import NewPage
from riskline.ingest.console.failed.failed import AgainPage, FailedPage
from riskline.ingest.console.failed.kinds import DeadLetters, FailedTransactions, Retries
from riskline.ingest.console.frame.assets import Assets
from riskline.ingest.console.frame.errors import Serializer, with_pages
from riskline.ingest.console.frame.guard import Guard
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.frame.sessions import Sessions
from riskline.ingest.console.frame.shown_values import ValuesPage
from riskline.ingest.console.frame.signing import SignIn, SignOut
from riskline.ingest.console.models import ModelsPage, ReportPage, SwitchPage
from riskline.ingest.console.overview.overview import Overview, OverviewPage
from riskline.ingest.console.overview.periods import Periods
from riskline.ingest.console.overview.verdict import badges_of
from riskline.ingest.console.transaction.finding import FindPage, Place
from riskline.ingest.console.transaction.search import Search
from riskline.ingest.console.transaction.transaction import TransactionPage
from riskline.ingest.console.trying.trying import TryPage
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.registry import Registry
from riskline.shared.model.serving import Serving
from riskline.shared.store.console import ConsoleStore
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.listing import Listings
from riskline.shared.store.operations import AllCallbacks, AllFailures
from riskline.shared.store.search import DecisionSearch
from riskline.shared.store.status.minute_counts import RedisHistory
from riskline.shared.store.status.redis_safety import ServerFacts


@dataclass(frozen=True, kw_only=True)
class Console:
    """The operators' pages over what the API process has already."""

    gate: Gate
    sessions: Sessions
    store: ConsoleStore
    transaction_class: type[TransactionModel]
    intake: TransactionIntake
    search: DecisionSearch
    undecided: Listings
    failures: AllFailures
    callbacks: AllCallbacks
    serving: Serving
    registry: Registry
    pinned_version: str | None
    fleet: Fleet
    history: History
    redis: Redis
    redis_facts: Callable[[], ServerFacts]
    unrecorded: Callable[[], int]
    """How many decisions wait in this process to be recorded."""
    store_watch: StoreWatch
    columns: tuple[str, ...] | None = None
    """The fields that the team wants to see in the list of decisions; None: the first of its class."""

    @cached_property
    def renderer(self) -> Renderer:
        """The console's templates, with the badges of its navigation."""
        return Renderer(badges=lambda: badges_of(self.history.counts))

    def add_to(self, app: Any, *, errors: Serializer) -> None:
        """Adds guard, routes and error pages to a Falcon app; `errors` says what is wrong elsewhere."""
        renderer, changes = self.renderer, Changes(self.store)
        app.add_middleware(Guard(self.sessions))
        app.set_error_serializer(with_pages(errors, renderer))
        app.add_route("/console/static/{name}", Assets())
        app.add_route("/console/sign-in", SignIn(renderer, self.sessions, changes, clock=time.perf_counter))
        app.add_route("/console/sign-out", SignOut(self.sessions, changes))
        self._add_pages(app, renderer, changes)

    def _add_pages(self, app: Any, renderer: Renderer, changes: Changes) -> None:
        search = Search(self.search)
        kinds = (FailedTransactions(self.failures), Retries(self.callbacks), DeadLetters(self.callbacks))
        fields = shown_fields(self.transaction_class)
        models = ModelsPage(renderer, self.registry, self.fleet, changes, pinned_version=self.pinned_version)
        features = self.transaction_class.feature_names()
        overview = Overview(
            history=self.history,
            periods=Periods(self.history, RedisHistory(self.redis)),
            count=self.intake.count,
            fleet=self.fleet,
            serving=self.serving,
            gate=self.gate,
            redis=self.redis,
            redis_facts=self.redis_facts,
            unrecorded=self.unrecorded,
            store_watch=self.store_watch,
        )
        page = OverviewPage(renderer, overview)
        app.add_route("/console", page)
        app.add_route("/console/live", page, suffix="live")
        decisions = DecisionsPage(
            renderer,
            search,
            changes,
            fields=fields,
            columns=columns_of(fields, self.columns),
            serving=self.serving,
            registry=self.registry,
        )
        app.add_route("/console/decisions", decisions)
        app.add_route("/console/decisions/new", NewPage(renderer, search, fields=fields))
        places = (Place("waiting", self.undecided), Place("failed", self.failures.listing))
        app.add_route("/console/find", FindPage(renderer, search, intake=self.intake, places=places))
        app.add_route("/console/values", ValuesPage(changes))
        app.add_route("/console/decisions.csv", DecisionsFile(search, changes, self.sessions, self.transaction_class))
        app.add_route(
            "/console/transactions/{transaction_id}",
            TransactionPage(
                renderer,
                changes,
                search=search,
                intake=self.intake,
                failures=self.failures,
                callbacks=self.callbacks,
                serving=self.serving,
                registry=self.registry,
                transaction_class=self.transaction_class,
            ),
        )
        app.add_route("/console/try", TryPage(renderer, self.serving, self.transaction_class))
        app.add_route("/console/failed", FailedPage(renderer, kinds, paused=self.callbacks.paused))
        app.add_route("/console/failed/{kind}", AgainPage(kinds, changes))
        app.add_route("/console/models", models)
        app.add_route("/console/models/{version}/report", ReportPage(renderer, self.registry))
        app.add_route("/console/models/switch", SwitchPage(models, self.registry, changes, feature_names=features))
        app.add_route("/console/changes", ChangesPage(renderer, changes))
