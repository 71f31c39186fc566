"""Packs the events of an entity into a state once there are many: done by whoever reads them, after the answer."""

import asyncio
from collections import deque

from riskline.ingest.history.link import HistoryLink
from riskline.ingest.history.long_tails import LongTail, LongTails
from riskline.shared.domain.history.observation import Observation, SeenBefore
from riskline.shared.log import get_logger
from riskline.shared.store.history.interface import LARGEST_CALL

log = get_logger(__name__)

MOST_WAITING = 1024
"""Entities that wait to be packed: those beyond are left to their next reader."""


class Compactor:
    """Packs entities with long tails, each once at a time, in the background."""

    def __init__(self, link: HistoryLink, tails: LongTails) -> None:
        self._link = link
        self._tails = tails
        self._waiting: deque[LongTail] = deque()
        self._known: set[tuple[int, str]] = set()
        self._filled = asyncio.Event()

    def consider(self, observation: Observation, seen: SeenBefore) -> None:
        """Takes the entities of an observation that was just added whose tails are long."""
        for tail in self._tails.of(observation, seen):
            if (tail.at, tail.entity) not in self._known and len(self._waiting) < MOST_WAITING:
                self._known.add((tail.at, tail.entity))
                self._waiting.append(tail)
                self._filled.set()

    async def run(self) -> None:
        """Packs until cancelled."""
        while True:
            await self._filled.wait()
            batch = [self._waiting.popleft() for _ in range(min(LARGEST_CALL, len(self._waiting)))]
            if not self._waiting:
                self._filled.clear()
            try:
                await self._pack(batch)
            except Exception:
                log.exception("packing the history failed")
            finally:
                self._known.difference_update((each.at, each.entity) for each in batch)

    async def _pack(self, batch: list[LongTail]) -> None:
        replacements = [packed for each in batch if (packed := self._tails.packed(each)) is not None]
        if replacements:
            await self._link.compact(replacements)
