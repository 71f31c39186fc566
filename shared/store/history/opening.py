"""The history that the settings name."""

from riskline.shared.domain.history.plan import History
from riskline.shared.settings import Settings
from riskline.shared.store.connect.cluster_nodes import Nodes
from riskline.shared.store.connect.connection import connection_maker, node_connection_maker
from riskline.shared.store.connect.url import is_cluster_url, parse_cluster_url
from riskline.shared.store.history.cluster_servers import ClusterServers
from riskline.shared.store.history.interface import HistoryStore
from riskline.shared.store.history.redis_history import RedisHistory
from riskline.shared.store.history.secret import check_of, history_secret
from riskline.shared.store.history.servers import OneServer, Servers


def open_history(
    settings: Settings, history: History, *, timeout_seconds: float | None = None, refuses_lost: bool = False
) -> HistoryStore:
    """The history of a class; connects at its first call.

    A command that waits for more than one transaction names its own `timeout_seconds`. With `refuses_lost` a history
    that was emptied fails calls for transactions.

    Raises:
        SettingsError: there is no Redis or no secret.
    """
    patience_seconds = max(settings.redis_timeout, timeout_seconds or 0)
    return RedisHistory(
        history_servers(settings.required_history_url, timeout_seconds=patience_seconds),
        history,
        secret_check=check_of(history_secret(settings)),
        timeout_seconds=settings.history_timeout if timeout_seconds is None else timeout_seconds,
        patience_seconds=patience_seconds,
        refuses_lost=refuses_lost,
    )


def history_servers(url: str, *, timeout_seconds: float) -> Servers:
    """The servers that a URL names, which have `timeout_seconds` to be connected to."""
    if not is_cluster_url(url):
        return OneServer(connection_maker(url, timeout_seconds=timeout_seconds))
    cluster = parse_cluster_url(url)
    nodes = Nodes(cluster, timeout_seconds=timeout_seconds)
    return ClusterServers(nodes, node_connection_maker(cluster, timeout_seconds=timeout_seconds))
