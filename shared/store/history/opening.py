"""The history that the settings name."""

from riskline.shared.domain.history.plan import History
from riskline.shared.settings import Settings
from riskline.shared.store.connect.connection import connection_maker
from riskline.shared.store.history.interface import HistoryStore
from riskline.shared.store.history.redis_history import OneServer, RedisHistory
from riskline.shared.store.history.secret import check_of, history_secret


def open_history(settings: Settings, history: History, *, timeout_seconds: float | None = None) -> HistoryStore:
    """The history of a class; connects at its first call.

    A command that waits for more than one transaction names its own `timeout_seconds`.

    Raises:
        SettingsError: there is no Redis or no secret.
    """
    patience_seconds = max(settings.redis_timeout, timeout_seconds or 0)
    maker = connection_maker(settings.required_history_url, timeout_seconds=patience_seconds)
    return RedisHistory(
        OneServer(maker),
        history,
        secret_check=check_of(history_secret(settings)),
        timeout_seconds=settings.history_timeout if timeout_seconds is None else timeout_seconds,
        patience_seconds=patience_seconds,
    )
