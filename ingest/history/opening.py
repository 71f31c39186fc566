"""The observer of an API process, put together."""

from riskline.ingest.history.compaction import Compactor
from riskline.ingest.history.first_values import FirstValues
from riskline.ingest.history.link import HistoryLink
from riskline.ingest.history.long_tails import LongTails
from riskline.ingest.history.observer import Observer
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import HistoryRequiredError
from riskline.shared.model.history import Fold
from riskline.shared.model.serving import Serving
from riskline.shared.settings import Settings
from riskline.shared.store.history.interface import HistoryStore
from riskline.shared.store.history.secret import history_secret
from riskline.shared.store.interfaces import TransactionIntake

REQUIRED = "The history is away, and RISKLINE_HISTORY is `required`. Repeat the request later."
NO_TWIN = "The history is away, and the model has no twin that decides without it. Repeat the request later."


def observer_of(
    store: HistoryStore,
    settings: Settings,
    transaction_class: type[TransactionModel],
    *,
    serving: Serving,
    intake: TransactionIntake,
) -> Observer:
    """The observer of a class with history.

    Raises:
        SettingsError: there is no secret for the names of entities, and none can be made.
    """
    history = history_of(transaction_class)
    assert history is not None  # noqa: S101  # what has a store of history has a history

    def refusal() -> HistoryRequiredError | None:
        if settings.history == "required":
            return HistoryRequiredError(REQUIRED)
        if serving.model is not None and serving.model.twin is None:
            return HistoryRequiredError(NO_TWIN)
        return None

    fold = Fold(history)
    tails = LongTails(fold, history.entities)
    link = HistoryLink(store, timeout_seconds=settings.history_timeout, tails=tails)
    return Observer(
        link,
        Compactor(link, tails),
        history=history,
        observing=Observing(history, history_secret(settings)),
        fold=fold,
        first_values=FirstValues(intake, history, timeout_seconds=settings.history_timeout),
        refusal=refusal,
    )
