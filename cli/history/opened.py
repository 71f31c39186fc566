"""The history of an installation, for commands."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from riskline.cli.installation import installation_settings
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import InstallationError, SettingsError, StoreUnavailableError
from riskline.shared.settings import Settings
from riskline.shared.store.history.interface import HistoryStore
from riskline.shared.store.history.opening import open_history
from riskline.shared.store.history.secret import history_secret

CALL_TIMEOUT_SECONDS = 10.0
"""A call may read and write half a megabyte."""


@dataclass(frozen=True)
class OpenedHistory:
    """The class of the settings with its history, and ways to its store."""

    settings: Settings
    transaction_class: type[TransactionModel]
    history: History

    def observing(self) -> Observing:
        """Makes observations with the installation's secret."""
        return Observing(self.history, history_secret(self.settings))

    @asynccontextmanager
    async def store(self) -> AsyncIterator[HistoryStore]:
        """The store, for one event loop; closed at the end."""
        store = open_history(self.settings, self.history, timeout_seconds=CALL_TIMEOUT_SECONDS)
        try:
            yield store
        finally:
            await store.close()


@contextmanager
def opened_history(data: Path | None) -> Iterator[OpenedHistory]:
    """The history of the settings, or of the `riskline up` that runs on the data directory.

    Raises:
        InstallationError: there is no Redis, or it is away.
        SettingsError: the class has no history, or a setting has a value that cannot be used.
    """
    settings = installation_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    history = history_of(transaction_class)
    if history is None:
        raise SettingsError(
            f"{transaction_class.__name__} has no columns of history: name the class that has some in "
            "RISKLINE_TRANSACTION"
        )
    if settings.redis_url is None and settings.history_url is None:
        raise InstallationError(
            f"no `riskline up` runs on {settings.data}, and REDIS_URL names no Redis: name its directory with --data, "
            "or its Redis in REDIS_URL"
        )
    try:
        yield OpenedHistory(settings, transaction_class, history)
    except StoreUnavailableError as error:
        raise InstallationError(f"{error}; `riskline doctor` says more") from error
