"""The past that an installation has observed, looked up for the rows of a file; nothing is added to it."""

import asyncio
from pathlib import Path

from riskline.cli.files.pasts import with_columns
from riskline.cli.history.opened import opened_history
from riskline.shared.model.history import Fold
from riskline.worker.training.data.replay import EventReader
from riskline.worker.training.data.rows import RowBatch


class LivePast:
    """Gives transactions the history that the installation has of them.

    Raises:
        RisklineError: there is no Redis, or the class has no history.
    """

    def __init__(self, data: Path | None, *, now_us: int) -> None:
        with opened_history(data) as opened:
            self._reader = EventReader(opened.history, now_us=now_us)
            self._observing = opened.observing()
            self._fold = Fold(opened.history)
            self._opened = opened

    def of(self, batch: RowBatch) -> RowBatch:
        """The batch with the history of its transactions.

        Raises:
            HistoryUnavailableError: the history is away.
        """
        batch, _ = self._reader.punctual(batch)
        return with_columns(batch, asyncio.run(self._columns(batch)))

    async def _columns(self, batch: RowBatch) -> list[tuple[float, ...]]:
        observations = [self._observing.of(transaction) for transaction in batch.transactions]
        async with self._opened.store() as store:
            seen = await store.look(observations)
        return [self._fold.columns(*each).values for each in zip(observations, seen, strict=True)]
