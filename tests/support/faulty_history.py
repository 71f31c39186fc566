"""A history that can be away, hang, answer late, or be full: what a Redis does to those who call it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from riskline.shared.domain.history.observation import Observation, SeenBefore
from riskline.shared.errors import HistoryLostError, HistoryUnavailableError


class FaultyHistory:
    """A history whose calls can be made to fail; keeps what each call was about."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.away = self.full = self.lost = False
        self.hangs = asyncio.Event()
        """Set while calls are answered; clear, they wait until it is set."""
        self.hangs.set()
        self.observed: list[list[str]] = []
        self.looked: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        self.observed.append([each.transaction_id for each in observations])
        await self._reached()
        if self.full:
            raise HistoryUnavailableError("OOM")
        found: list[SeenBefore] = await self.inner.observe(observations)
        if self.lost:
            lost = HistoryLostError("it was emptied")
            lost.seen = found
            raise lost
        return found

    async def look(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        self.looked.append([each.transaction_id for each in observations])
        await self._reached()
        found: list[SeenBefore] = await self.inner.look(observations)
        if self.lost:
            raise HistoryLostError("it was emptied")
        return found

    async def recovered(self) -> bool:
        return not self.lost

    async def _reached(self) -> None:
        if self.away:
            raise HistoryUnavailableError("away")
        await self.hangs.wait()
