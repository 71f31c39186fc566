"""How much of the past that a class's columns look at is there: a new history is cold, and warms as time passes."""

from collections.abc import Mapping
from typing import NamedTuple

from riskline.shared.domain.history.plan import EntityPlan, History
from riskline.shared.store.history.interface import Mark

WARM_SHARE = 0.9
"""Of its longest window, from which on an entity counts as warm: a file to backfill from always ends some time ago."""


class Warmth(NamedTuple):
    """How much of the past of one entity's columns is there."""

    entity: str
    """The fields, as `EntityPlan.name` has them."""
    needed_us: int
    """The longest window of its columns; how long it is kept, where none has a window."""
    covered_us: int
    """Of this time back from now, that for which transactions were observed or backfilled."""

    @property
    def share(self) -> float:
        """The covered part, from 0 to 1."""
        return self.covered_us / self.needed_us

    @property
    def is_warm(self) -> bool:
        """True where the columns can be taken for what they were in training."""
        return self.share >= WARM_SHARE


def warmth(history: History, marks: Mapping[str, Mark], *, now_us: int) -> list[Warmth]:
    """The warmth of each entity, in the order of the history; `marks` are by fingerprint, as the store has them."""
    return [_of_entity(plan, marks.get(plan.fingerprint), now_us) for plan in history.entities]


def _of_entity(plan: EntityPlan, mark: Mark | None, now_us: int) -> Warmth:
    needed_us = max((column.window_us for column in plan.columns), default=0) or plan.keep_us
    spans: list[tuple[int, int]] = []
    if mark is not None and mark.backfilled_from_us is not None and mark.backfilled_to_us is not None:
        spans.append((mark.backfilled_from_us, mark.backfilled_to_us))
    if mark is not None and mark.live_from_us is not None:
        spans.append((mark.live_from_us, now_us))
    covered_us, end = 0, now_us - needed_us
    for begin, until in sorted(spans):
        from_us, to_us = max(begin, end), min(until, now_us)
        if to_us > from_us:
            covered_us += to_us - from_us
            end = to_us
    return Warmth(plan.name, needed_us, covered_us)
