"""The history in memory: the same operations, for tests and as a readable version of the Lua scripts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from riskline.shared.domain.history.observation import STATE_TAG, Observation, SeenBefore
from riskline.shared.domain.history.plan import History
from riskline.shared.errors import HistoryUnavailableError
from riskline.shared.store.history.calls import Calls, keep_ms, knows
from riskline.shared.store.history.interface import Mark, Progress, Replacement, Size, unwatched
from riskline.shared.store.history.marks import backfill_fields, live_fields, live_marks, parsed_marks
from riskline.shared.store.keys import entity_key, parse_entity_key


@dataclass
class _Kept:
    content: bytes
    until: float


class MemoryHistory:
    """See HistoryStore; `away` makes every call fail like an absent Redis.

    Several of them, of one class or of different ones, may have the same `kept` and `fields`.
    """

    def __init__(self, history: History, *, clock: Callable[[], float] = time.time) -> None:
        self.away = False
        self.kept: dict[str, _Kept] = {}
        self.fields: dict[str, str] = {}
        """The hash of the marks."""
        self._history = history
        self._calls = Calls(history)
        self._clock = clock

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        """See HistoryStore."""
        self._reach()
        if observations:
            for mark in live_marks(self._history.entities, at_us=observations[0].at_us):
                self.fields.setdefault(mark.field, mark.value)
            times_us = [each.at_us for each in observations]
            self.fields |= live_fields(self._history.entities, parsed_marks(self.fields), times_us=times_us)
        return [self._observe(each) for each in observations]

    def _observe(self, observation: Observation) -> SeenBefore:
        seen = self._look(observation)
        if not seen.known:
            for number, (part, kept) in enumerate(zip(observation.parts, seen.before, strict=True)):
                if part is not None:
                    self._put(number, part.entity, (kept or b"") + part.event)
        return seen

    async def look(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        """See HistoryStore."""
        self._reach()
        return [self._look(each) for each in observations]

    def _look(self, observation: Observation) -> SeenBefore:
        before = tuple(
            None if part is None else self._get(number, part.entity) for number, part in enumerate(observation.parts)
        )
        return SeenBefore(before, knows(observation, before))

    async def compact(self, replacements: Sequence[Replacement]) -> int:
        """See HistoryStore."""
        self._reach()
        return sum(map(self._compact, replacements))

    def _compact(self, each: Replacement) -> bool:
        kept = self._get(each.entity_index, each.entity)
        if not kept.startswith(each.old) or (not each.old and kept.startswith(STATE_TAG)):
            return False
        if kept:
            key = self._calls.key(each.entity_index, each.entity)
            self.kept[key].content = each.new + kept[len(each.old) :]
        else:
            self._put(each.entity_index, each.entity, each.new)
        return True

    async def erase(self, field: str, digest: str, *, progress: Progress = unwatched) -> int:
        """See HistoryStore."""
        names = {fingerprint: mark.name.split("+") for fingerprint, mark in (await self.marks()).items()}
        names |= {each.fingerprint: list(each.fields) for each in self._history.entities}
        mine = []
        for key in self.kept:
            found = parse_entity_key(key.encode())
            if found is not None and (field, digest) in zip(names[found[0]], found[1], strict=True):
                mine.append(key)
        for key in mine:
            del self.kept[key]
        progress(len(self.kept), len(self.kept))
        return len(mine)

    async def erase_all(self, *, progress: Progress = unwatched) -> int:
        """See HistoryStore."""
        self._reach()
        erased = len(self.kept)
        self.kept.clear()
        self.fields.clear()
        progress(erased, erased)
        return erased

    async def marks(self) -> dict[str, Mark]:
        """See HistoryStore."""
        self._reach()
        return parsed_marks(self.fields)

    async def mark_backfill(self, entity_index: int, *, from_us: int, to_us: int, progress: str = "") -> None:
        """See HistoryStore."""
        self._reach()
        plan = self._history.entities[entity_index]
        self.fields |= backfill_fields(plan, from_us=from_us, to_us=to_us, progress=progress)

    async def accept_loss(self) -> None:
        """See HistoryStore; the memory of a process loses nothing."""

    async def recovered(self) -> bool:
        """See HistoryStore."""
        self._reach()
        return True

    async def sizes(self) -> dict[str, Size]:
        """See HistoryStore."""
        self._reach()
        sums: dict[str, Size] = {}
        for key, kept in self.kept.items():
            found = parse_entity_key(key.encode())
            if found is not None:
                before = sums.get(found[0], Size(0, 0, is_exact=True))
                size = before.size_bytes + len(key) + len(kept.content)
                sums[found[0]] = Size(before.entities + 1, size, is_exact=True)
        return sums

    async def warm(self) -> None:
        """See HistoryStore."""
        self._reach()

    async def close(self) -> None:
        """See HistoryStore."""

    def _get(self, number: int, entity: str) -> bytes:
        key = self._calls.key(number, entity)
        kept = self.kept.get(key)
        if kept is not None and kept.until <= self._clock():
            del self.kept[key]
            kept = None
        return b"" if kept is None else kept.content

    def _put(self, number: int, entity: str, content: bytes) -> None:
        plan = self._history.entities[number]
        self.kept[entity_key(plan.fingerprint, entity)] = _Kept(content, self._clock() + keep_ms(plan) / 1000)

    def _reach(self) -> None:
        if self.away:
            raise HistoryUnavailableError("the history's Redis: away")
