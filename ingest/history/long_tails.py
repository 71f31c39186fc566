"""Entities with many events behind their packed state, and what may stand in the place of these."""

from collections.abc import Sequence
from typing import NamedTuple

from riskline.shared.domain.history.observation import Observation, SeenBefore
from riskline.shared.domain.history.plan import EntityPlan
from riskline.shared.errors import HistoryUnreadableError
from riskline.shared.log import get_logger
from riskline.shared.model.history import LONGEST_TAIL, Fold, state_bytes
from riskline.shared.store.history.interface import Replacement

log = get_logger(__name__)


class LongTail(NamedTuple):
    """An entity, what was kept of it, and the event that was added."""

    at: int
    entity: str
    before: bytes
    event: bytes


class LongTails:
    """Finds long tails in what was kept before observations, and packs them."""

    def __init__(self, fold: Fold, entities: tuple[EntityPlan, ...]) -> None:
        self._fold = fold
        # without a state in front, a shorter text of bytes has no long tail
        self._long_bytes = tuple(LONGEST_TAIL * each.event_bytes for each in entities)

    def of(self, observation: Observation, seen: SeenBefore) -> list[LongTail]:
        """The long tails of an observation that was just added."""
        found = []
        for at, (before, long) in enumerate(zip(seen.before, self._long_bytes, strict=True)):
            # few are: this is done for each entity of each transaction
            if before is not None and len(before) >= long and len(before) - state_bytes(before) >= long:
                part = observation.parts[at]
                if part is not None:
                    found.append(LongTail(at, part.entity, before, part.event))
        return found

    def replacements(self, observations: Sequence[Observation], seen: Sequence[SeenBefore]) -> list[Replacement]:
        """The packed states of all long tails of observations that were added together."""
        added = [pair for pair in zip(observations, seen, strict=True) if not pair[1].known]
        # of an entity that comes several times, the last one has all events before it
        longest = {(tail.at, tail.entity): tail for pair in added for tail in self.of(*pair)}
        return [packed for tail in longest.values() if (packed := self.packed(tail)) is not None]

    def packed(self, tail: LongTail) -> Replacement | None:
        """The packed state for a tail; None where the entity is damaged."""
        try:
            compaction = self._fold.compaction(tail.at, tail.before, tail.event)
        except HistoryUnreadableError as error:
            # at each of its transactions: the observer has warned
            log.debug("the history of an entity cannot be packed", entity=tail.entity, problem=str(error))
            return None
        if compaction is None:
            return None
        return Replacement(tail.at, tail.entity, compaction.old, compaction.new)
