"""The past that an installation has observed, looked up for the rows of a file; nothing is added to it."""

import asyncio
from pathlib import Path

from riskline.cli.files.pasts import with_columns
from riskline.cli.history.opened import opened_history
from riskline.shared.domain.history.observation import Observation, Seen
from riskline.shared.model.history import Fold
from riskline.shared.store.history.interface import HistoryStore
from riskline.worker.training.data.replay import Observed
from riskline.worker.training.data.rows import RowBatch

ROWS_A_CALL = 64
"""More would keep Redis from the doors for longer than they wait."""


class LivePast:
    """Gives transactions the history that the installation has of them.

    Raises:
        RisklineError: there is no Redis, or the class has no history.
    """

    def __init__(self, data: Path | None, *, now_us: int) -> None:
        with opened_history(data) as opened:
            self._observed = Observed(opened.history, now_us=now_us)
            self._observing = opened.observing()
            self._fold = Fold(opened.history)
            self._opened = opened

    def of(self, batch: RowBatch) -> RowBatch:
        """The batch with the history of its transactions.

        Raises:
            HistoryUnavailableError: the history is away.
        """
        batch, _ = self._observed.punctual(batch)
        return with_columns(batch, asyncio.run(self._columns(batch)))

    async def _columns(self, batch: RowBatch) -> list[tuple[float, ...]]:
        observations = [self._observing.of(transaction) for transaction in batch.transactions]
        store = self._opened.store()
        try:
            return [
                self._fold.columns(observation, seen).values
                for first in range(0, len(observations), ROWS_A_CALL)
                for observation, seen in await _looked(store, observations[first : first + ROWS_A_CALL])
            ]
        finally:
            await store.close()


async def _looked(store: HistoryStore, observations: list[Observation]) -> list[tuple[Observation, Seen]]:
    return list(zip(observations, await store.look(observations), strict=True))
