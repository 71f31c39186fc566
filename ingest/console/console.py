"""The console put together: its pages, their guard, and how they show errors."""

import time
from typing import Any

from riskline.ingest.console.change_log import ChangeLog, ChangesPage
from riskline.ingest.console.decisions.columns import columns_of, shown_fields
from riskline.ingest.console.decisions.decisions import DecisionsPage
from riskline.ingest.console.decisions.exports import DecisionsExport
from riskline.ingest.console.decisions.neighbours import NewDecisionsPage
from riskline.ingest.console.failed.failed import FailedPage, RetryPage
from riskline.ingest.console.failed.kinds import DeadLetters, FailedTransactions, RetryingCallbacks
from riskline.ingest.console.frame.assets import Assets
from riskline.ingest.console.frame.error_pages import Serializer, with_pages
from riskline.ingest.console.frame.guard import Guard
from riskline.ingest.console.frame.shown_values import ValuesPage
from riskline.ingest.console.frame.sign_in import SignInPage, SignOutPage
from riskline.ingest.console.models import ModelsPage, ReportPage, SwitchPage
from riskline.ingest.console.overview.overview import Overview, OverviewPage
from riskline.ingest.console.transaction.filtered_search import FilteredSearch
from riskline.ingest.console.transaction.id_lookup import IdLookupPage, StateListing
from riskline.ingest.console.transaction.transaction import TransactionPage
from riskline.ingest.console.try_one.try_one import TryPage
from riskline.ingest.services import Services
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.settings import Settings


def add_console(app: Any, services: Services, settings: Settings, *, errors: Serializer) -> None:
    """Adds guard, routes and error pages to a Falcon app; `errors` says what is wrong elsewhere."""
    renderer, sessions, changes = services.renderer, services.sessions, ChangeLog(services.store.console)
    app.add_middleware(Guard(sessions))
    app.set_error_serializer(with_pages(errors, renderer))
    app.add_route("/console/static/{name}", Assets())
    app.add_route("/console/sign-in", SignInPage(renderer, sessions, changes, clock=time.perf_counter))
    app.add_route("/console/sign-out", SignOutPage(sessions, changes))
    overview = OverviewPage(renderer, Overview(services))
    app.add_route("/console", overview)
    app.add_route("/console/live", overview, suffix="live")
    app.add_route("/console/values", ValuesPage(changes))
    look = None if services.observer is None else services.observer.look
    app.add_route("/console/try", TryPage(renderer, services.serving, services.transaction_class, look=look))
    app.add_route("/console/changes", ChangesPage(renderer, changes))
    _add_decisions(app, services, settings, changes)
    _add_failed(app, services, changes)
    _add_models(app, services, settings, changes)


def _add_decisions(app: Any, services: Services, settings: Settings, changes: ChangeLog) -> None:
    renderer, store, search = services.renderer, services.store, FilteredSearch(services.store.search)
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
    places = (
        StateListing("waiting", store.operations.undecided),
        StateListing("failed", store.operations.failures.listing),
    )
    export = DecisionsExport(search, changes, services.sessions, services.transaction_class)
    app.add_route("/console/decisions", decisions)
    app.add_route("/console/decisions/new", NewDecisionsPage(renderer, search, fields=fields))
    app.add_route("/console/decisions.csv", export)
    app.add_route("/console/find", IdLookupPage(renderer, search, intake=store.intake, places=places))
    app.add_route("/console/transactions/{transaction_id}", TransactionPage(services, search, changes))


def _add_failed(app: Any, services: Services, changes: ChangeLog) -> None:
    failures, callbacks = services.store.operations.failures, services.store.operations.callbacks
    kinds = (FailedTransactions(failures), RetryingCallbacks(callbacks), DeadLetters(callbacks))
    app.add_route("/console/failed", FailedPage(services.renderer, kinds, paused=callbacks.paused))
    app.add_route("/console/failed/{kind}", RetryPage(kinds, changes))


def _add_models(app: Any, services: Services, settings: Settings, changes: ChangeLog) -> None:
    renderer, registry, inputs = services.renderer, services.registry, inputs_of(services.transaction_class)
    coldness = None if services.observer is None else services.observer.coldness
    models = ModelsPage(renderer, registry, services.processes, changes, pinned_version=settings.model_version)
    app.add_route("/console/models", models)
    app.add_route("/console/models/{version}/report", ReportPage(renderer, registry))
    app.add_route("/console/models/switch", SwitchPage(models, registry, changes, inputs=inputs, coldness=coldness))
