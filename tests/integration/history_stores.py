"""The history in memory and in a real Redis, behind one face for the tests that they share."""

from typing import Any

from riskline.shared.domain.history.plan import History
from riskline.shared.store.history.opening import history_servers
from riskline.shared.store.history.redis_history import RedisHistory
from riskline.shared.store.history.secret import check_of
from tests.support.observations import SECRET, a_history

PATIENT_SECONDS = 60.0
"""For a test that is not about time."""


def redis_history(
    url: str,
    *,
    history: History | None = None,
    timeout_seconds: float = PATIENT_SECONDS,
    patience_seconds: float = PATIENT_SECONDS,
    secret: bytes = SECRET,
    **options: Any,
) -> RedisHistory:
    return RedisHistory(
        history_servers(url, timeout_seconds=patience_seconds),
        a_history() if history is None else history,
        secret_check=check_of(secret),
        timeout_seconds=timeout_seconds,
        patience_seconds=patience_seconds,
        **options,
    )
