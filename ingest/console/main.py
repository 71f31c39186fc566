"""The console put together: its pages, their guard, and how they show errors."""

import time
from typing import Any

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
from riskline.ingest.console.frame.shown_values import ValuesPage
from riskline.ingest.console.frame.signing import SignIn, SignOut
from riskline.ingest.console.models import ModelsPage, ReportPage, SwitchPage
from riskline.ingest.console.overview.overview import Overview, OverviewPage
from riskline.ingest.console.transaction.finding import FindPage, Place
from riskline.ingest.console.transaction.search import Search
from riskline.ingest.console.transaction.transaction import TransactionPage
from riskline.ingest.console.trying.trying import TryPage
from riskline.ingest.services import Services
from riskline.shared.settings import Settings


def add_console(app: Any, services: Services, settings: Settings, *, errors: Serializer) -> None:
    """Adds guard, routes and error pages to a Falcon app; `errors` says what is wrong elsewhere."""
    renderer, sessions, changes = services.renderer, services.sessions, Changes(services.store.console)
    app.add_middleware(Guard(sessions))
    app.set_error_serializer(with_pages(errors, renderer))
    app.add_route("/console/static/{name}", Assets())
    app.add_route("/console/sign-in", SignIn(renderer, sessions, changes, clock=time.perf_counter))
    app.add_route("/console/sign-out", SignOut(sessions, changes))
    overview = OverviewPage(renderer, Overview(services))
    app.add_route("/console", overview)
    app.add_route("/console/live", overview, suffix="live")
    app.add_route("/console/values", ValuesPage(changes))
    app.add_route("/console/try", TryPage(renderer, services.serving, services.transaction_class))
    app.add_route("/console/changes", ChangesPage(renderer, changes))
    _add_decisions(app, services, settings, changes)
    _add_failed(app, services, changes)
    _add_models(app, services, settings, changes)


def _add_decisions(app: Any, services: Services, settings: Settings, changes: Changes) -> None:
    renderer, store, search = services.renderer, services.store, Search(services.store.search)
    fields = shown_fields(services.transaction_class)
    decisions = DecisionsPage(
        renderer,
        search,
        changes,
        fields=fields,
        columns=columns_of(fields, settings.console_fields),
        serving=services.serving,
        registry=services.registry,
    )
    places = (Place("waiting", store.operations.undecided), Place("failed", store.operations.failures.listing))
    export = DecisionsFile(search, changes, services.sessions, services.transaction_class)
    app.add_route("/console/decisions", decisions)
    app.add_route("/console/decisions/new", NewPage(renderer, search, fields=fields))
    app.add_route("/console/decisions.csv", export)
    app.add_route("/console/find", FindPage(renderer, search, intake=store.intake, places=places))
    app.add_route("/console/transactions/{transaction_id}", TransactionPage(services, search, changes))


def _add_failed(app: Any, services: Services, changes: Changes) -> None:
    failures, callbacks = services.store.operations.failures, services.store.operations.callbacks
    kinds = (FailedTransactions(failures), Retries(callbacks), DeadLetters(callbacks))
    app.add_route("/console/failed", FailedPage(services.renderer, kinds, paused=callbacks.paused))
    app.add_route("/console/failed/{kind}", AgainPage(kinds, changes))


def _add_models(app: Any, services: Services, settings: Settings, changes: Changes) -> None:
    renderer, registry, features = services.renderer, services.registry, services.transaction_class.feature_names()
    models = ModelsPage(renderer, registry, services.fleet, changes, pinned_version=settings.model_version)
    app.add_route("/console/models", models)
    app.add_route("/console/models/{version}/report", ReportPage(renderer, registry))
    app.add_route("/console/models/switch", SwitchPage(models, registry, changes, feature_names=features))
