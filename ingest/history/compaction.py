"""Packs the events of an entity into a state once there are many: done by whoever reads them, after the answer."""

import asyncio
from collections import deque
from typing import NamedTuple

from riskline.ingest.history.link import MOST_A_CALL, HistoryLink
from riskline.shared.domain.history.observation import Observation, Part, Seen
from riskline.shared.domain.history.plan import EntityPlan
from riskline.shared.errors import HistoryUnreadableError
from riskline.shared.log import get_logger
from riskline.shared.model.history import LONGEST_TAIL, Fold, state_bytes
from riskline.shared.store.history.interface import Replacement

log = get_logger(__name__)

MOST_WAITING = 1024
"""Entities that wait to be packed: those beyond are left to their next reader."""


class _LongTail(NamedTuple):
    at: int
    entity: str
    before: bytes
    event: bytes


class Compactor:
    """Packs entities with long tails, each once at a time, in the background."""

    def __init__(self, link: HistoryLink, fold: Fold, entities: tuple[EntityPlan, ...]) -> None:
        self._link = link
        self._fold = fold
        # without a state in front, a shorter text of bytes has no long tail
        self._long_bytes = tuple(LONGEST_TAIL * each.event_bytes for each in entities)
        self._waiting: deque[_LongTail] = deque()
        self._known: set[tuple[int, str]] = set()
        self._filled = asyncio.Event()

    def consider(self, observation: Observation, seen: Seen) -> None:
        """Takes the entities of an observation that was just added whose tails are long."""
        for at, (before, long) in enumerate(zip(seen.before, self._long_bytes, strict=True)):
            # few are: this is done for each entity of each transaction
            if before is not None and len(before) >= long and len(before) - state_bytes(before) >= long:
                self._take(at, observation.parts[at], before)

    def _take(self, at: int, part: Part | None, before: bytes) -> None:
        if part is not None and (at, part.entity) not in self._known and len(self._waiting) < MOST_WAITING:
            self._known.add((at, part.entity))
            self._waiting.append(_LongTail(at, part.entity, before, part.event))
            self._filled.set()

    async def run(self) -> None:
        """Packs until cancelled."""
        while True:
            await self._filled.wait()
            batch = [self._waiting.popleft() for _ in range(min(MOST_A_CALL, len(self._waiting)))]
            if not self._waiting:
                self._filled.clear()
            try:
                await self._pack(batch)
            except Exception:
                log.exception("packing the history failed")
            finally:
                self._known.difference_update((each.at, each.entity) for each in batch)

    async def _pack(self, batch: list[_LongTail]) -> None:
        replacements = [packed for each in batch if (packed := self._packed(each)) is not None]
        if replacements:
            await self._link.compact(replacements)

    def _packed(self, tail: _LongTail) -> Replacement | None:
        try:
            compaction = self._fold.compaction(tail.at, tail.before, tail.event)
        except HistoryUnreadableError as error:
            log.warning("the history of an entity cannot be packed", entity=tail.entity, problem=str(error))
            return None
        if compaction is None:
            return None
        return Replacement(tail.at, tail.entity, compaction.old, compaction.new)
