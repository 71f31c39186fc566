"""How much of the past that a class's columns look at is there: a new history is cold, and warms as time passes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from riskline.shared.domain.history.plan import CELLS, EntityPlan, History, duration
from riskline.shared.store.history.interface import Mark

WARM_SHARE = 0.9
"""Of its longest window, from which on an entity counts as warm: a file to backfill from always ends some time ago."""


WARMED_BY = "give it the past of a file by `riskline history backfill FILE`, or wait"
"""What to do about a cold history."""


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


class WindowWarmth(NamedTuple):
    """The same of one window of an entity."""

    window_us: int
    """How long the entity is kept, for columns without a window, such as the time since the last one."""
    columns: tuple[str, ...]
    share: float
    warm_at_us: int | None
    """The event time at which all of it will be covered; None where nothing was observed yet."""


def warmth(history: History, marks: Mapping[str, Mark], *, now_us: int) -> list[Warmth]:
    """The warmth of each entity, in the order of the history; `marks` are by fingerprint, as the store has them."""
    return [_of_entity(plan, marks.get(plan.fingerprint), now_us) for plan in history.entities]


def windows(plan: EntityPlan, mark: Mark, *, now_us: int) -> list[WindowWarmth]:
    """The warmth of each window of an entity, the shortest first."""
    by_window: dict[int, list[str]] = {}
    for column in plan.columns:
        by_window.setdefault(column.window_us or plan.keep_us, []).append(column.name)
    return [
        WindowWarmth(
            window_us, tuple(names), _covered_us(mark, window_us, now_us) / window_us, _warm_at(mark, window_us)
        )
        for window_us, names in sorted(by_window.items())
    ]


def _of_entity(plan: EntityPlan, mark: Mark | None, now_us: int) -> Warmth:
    return Warmth(plan.name, plan.reach_us, 0 if mark is None else _covered_us(mark, plan.reach_us, now_us))


def _covered_us(mark: Mark, window_us: int, now_us: int) -> int:
    """How much of the window was observed or backfilled.

    It ends at the newest event that was observed: a past month may be replayed through a running service.
    """
    now_us = min(now_us, now_us if mark.live_to_us is None else mark.live_to_us)
    covered_us, end = 0, now_us - window_us
    for begin, until in _spans(mark, now_us):
        from_us, to_us = max(begin, end), min(until, now_us)
        if to_us > from_us:
            covered_us += to_us - from_us
            end = to_us
    return covered_us


def _spans(mark: Mark, now_us: int) -> list[tuple[int, int]]:
    """The times that were observed or backfilled, the earliest first."""
    spans: list[tuple[int, int]] = []
    if mark.backfilled_from_us is not None and mark.backfilled_to_us is not None:
        spans.append((mark.backfilled_from_us, mark.backfilled_to_us))
    if mark.live_from_us is not None:
        spans.append((mark.live_from_us, now_us))
    return sorted(spans)


def _warm_at(mark: Mark, window_us: int) -> int | None:
    """A gap of a cell between the backfill and the first live event is none: each window is as much longer."""
    begins = mark.live_from_us
    if begins is None:
        return None
    if mark.backfilled_from_us is not None and begins - (mark.backfilled_to_us or 0) <= window_us // CELLS:
        begins = mark.backfilled_from_us
    return begins + window_us


def cold_text(found: Sequence[Warmth]) -> str | None:
    """What is missing of a history that is not warm; None of one that is."""
    cold = [each for each in found if not each.is_warm]
    return f"the history is cold: {'; '.join(map(_said, cold))}" if cold else None


def _said(found: Warmth) -> str:
    return f"of {found.entity} it has {_rough(found.covered_us)} of {duration(found.needed_us)}"


def _rough(microseconds: int) -> str:
    """A length of time in its two largest units at most."""
    minutes = microseconds // 60_000_000
    parts = ((minutes // 1_440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    first = next((at for at, (number, _) in enumerate(parts) if number), None)
    if first is None:
        return "nothing" if not microseconds else "less than 1min"
    return " ".join(f"{number}{unit}" for number, unit in parts[first : first + 2] if number)
