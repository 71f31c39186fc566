"""The pictures of the overview: decisions a second, and their scores, over the last hour."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from ingest.console.figures import QUEUE, SYNC, Between, between, score_parts
from ingest.console.pictures import Tick, across, nice_top, path, ticks, upwards
from ingest.history import HOUR_SECONDS
from shared.measures import PROBABILITY
from shared.store.history import Snapshot


class Lines(NamedTuple):
    """A picture of decisions a second over the last hour."""

    sync: str
    queue: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]


class Bars(NamedTuple):
    """A picture of bars: their places, widths, tops and heights, and their words."""

    bars: list[tuple[float, float, float, float, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def lines_of(minutes: Sequence[Snapshot], looks: Sequence[Snapshot]) -> Lines | None:
    """The rates between full minutes, and since the last of them; None before there are two looks."""
    points = [*minutes, *([looks[-1]] if looks and (not minutes or looks[-1].at > minutes[-1].at + 1) else [])]
    if len(points) < 2:  # noqa: PLR2004  # a line has two ends
        return None
    spans = [between(earlier, later) for earlier, later in pairwise(points)]
    ends = [each.at for each in points[1:]]
    sync = [None if span is None else span.rate(*SYNC) for span in spans]
    queue = [None if span is None else span.rate(*QUEUE) for span in spans]
    top = nice_top(max((value for value in (*sync, *queue) if value is not None), default=0.0))
    first, final = points[-1].at - HOUR_SECONDS, points[-1].at
    x_scale, y_scale = across(first, final), upwards(0, top)
    hours = [
        Tick(x_scale.at(at), datetime.fromtimestamp(at, UTC).strftime("%H:%M"))
        for at in (first + HOUR_SECONDS * part / 4 for part in range(5))
    ]
    return Lines(path(ends, sync, x_scale, y_scale), path(ends, queue, x_scale, y_scale), hours, ticks(y_scale, 0, top))


def bars_of(hour: Between) -> Bars:
    """How many decisions had a probability in each twentieth."""
    parts = score_parts(hour)
    # whole numbers at the ticks
    top = nice_top(max(5.0, *parts))
    x_scale, y_scale = across(0, 1), upwards(0, top)
    bars = []
    for place, number in enumerate(parts):
        low, high = place / len(parts), PROBABILITY.bounds[place]
        left, ceiling = x_scale.at(low), y_scale.at(number)
        words = f"{low:.2f} to {high:.2f}: {number:,.0f}"
        bars.append(
            (left + 1, round(x_scale.at(high) - left - 2, 1), ceiling, round(y_scale.at(0) - ceiling, 1), words)
        )
    return Bars(bars, ticks(x_scale, 0, 1), ticks(y_scale, 0, top))
