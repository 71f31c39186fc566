"""The pictures of the overview: actions a minute, decisions a second by door, and the scores."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from riskline.ingest.console.overview.axes import Scale, Tick, across, nice_top, path, ticks, upwards
from riskline.ingest.console.overview.intervals import QUEUE, SYNC, Interval, actions, score_parts
from riskline.ingest.console.overview.periods import TimeSpans
from riskline.shared.domain.policy import Action, Thresholds
from riskline.shared.telemetry.histograms import PROBABILITY

STACK = (Action.DECLINE, Action.REVIEW, Action.APPROVE)
"""The actions from the bottom up: rare ones stand on the axis, where they can be compared."""

LEAST = 0.5
"""The start of the logarithmic axis: below 1, so that a single decision is visible."""

MOST_POWERS = 5
"""The most labels of that axis."""

HALF = 0.5
"""The middle of the scale of scores."""

DAYS, MINUTES = 2 * 86_400, 4 * 60
"""In s: a longer time axis has ticks in days, a shorter one also shows seconds."""


class Box(NamedTuple):
    """A part of a bar: its kind, corner, size and words."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    words: str


class ThresholdMark(NamedTuple):
    """A threshold: its place, its words, and the side on which they have room."""

    at: float
    text: str
    anchor: str


class Picture(NamedTuple):
    """Boxes or lines between two axes."""

    x_ticks: list[Tick]
    y_ticks: list[Tick]
    boxes: Sequence[Box] = ()
    lines: Sequence[str] = ()
    marks: Sequence[ThresholdMark] = ()


def actions_of(spans: TimeSpans) -> Picture:
    """Decisions a minute, by action, one bar a span."""
    rates = [
        (each, {action: 60 * number / each.numbers.seconds for action, number in actions(each.numbers).items()})
        for each in spans.parts
        if each.numbers is not None
    ]
    top = nice_top(max((sum(rate.values()) for _, rate in rates), default=0.0))
    x_scale, y_scale = across(spans.start, spans.end), upwards(0, top)
    boxes = []
    for span, rate in rates:
        left, right = x_scale.at(span.start), x_scale.at(span.end)
        at = _time(span.end, spans)
        floor = 0.0
        for action in STACK:
            number = rate[action]
            ceiling = y_scale.at(floor + number)
            height = round(y_scale.at(floor) - ceiling, 1)
            floor += number
            if height > 0:
                words = f"until {at}: {number:,.1f} {action} a minute"
                boxes.append(Box(action.lower(), left, ceiling, round(max(right - left - 0.5, 0.5), 1), height, words))
    return Picture(_times(spans, x_scale), ticks(y_scale, 0, top), boxes)


def doors_of(spans: TimeSpans) -> Picture:
    """Decisions a second, by door: at once, and by the queue."""
    ends = [each.end for each in spans.parts]
    rates = [
        [None if each.numbers is None else each.numbers.rate(*door) for each in spans.parts] for door in (SYNC, QUEUE)
    ]
    top = nice_top(max((value for rate in rates for value in rate if value is not None), default=0.0))
    x_scale, y_scale = across(spans.start, spans.end), upwards(0, top)
    lines = [path(ends, rate, x_scale, y_scale) for rate in rates]
    return Picture(_times(spans, x_scale), ticks(y_scale, 0, top), lines=lines)


def scores_of(whole: Interval, thresholds: Thresholds | None) -> Picture:
    """The decisions with a probability in each twentieth, on a logarithmic axis, with the thresholds."""
    parts = score_parts(whole)
    powers = max(1, math.ceil(math.log10(max(10.0, *parts))))
    x_scale, y_scale = across(0, 1), upwards(math.log10(LEAST), powers)
    boxes = []
    for place, number in enumerate(parts):
        low, high = place / len(parts), PROBABILITY.bounds[place]
        if not number:
            continue
        left, ceiling = x_scale.at(low), y_scale.at(math.log10(number))
        height = round(y_scale.at(math.log10(LEAST)) - ceiling, 1)
        words = f"{low:.2f} to {high:.2f}: {number:,.0f}"
        boxes.append(Box("bar", left + 1, ceiling, round(x_scale.at(high) - left - 2, 1), height, words))
    step = math.ceil((powers + 1) / MOST_POWERS)
    y_ticks = [Tick(y_scale.at(power), _power(power)) for power in range(0, powers + 1, step)]
    return Picture(ticks(x_scale, 0, 1), y_ticks, boxes, marks=_marks(thresholds, x_scale))


def _marks(thresholds: Thresholds | None, scale: Scale) -> list[ThresholdMark]:
    if thresholds is None:
        return []
    named = [("review", thresholds.review), ("decline", thresholds.decline)]
    return [
        ThresholdMark(scale.at(value), f"{name} above {value:g}", "start" if value < HALF else "end")
        for name, value in named
        if value is not None
    ]


def _power(power: int) -> str:
    units, rest = divmod(power, 3)
    return f"{10**rest}{'kMGTP'[units - 1] if units else ''}"


def _times(spans: TimeSpans, scale: Scale) -> list[Tick]:
    """Five moments of the time that is known."""
    wide = spans.end - spans.start
    moments = [spans.start + wide * part / 4 for part in range(5)]
    return [Tick(scale.at(at), _time(at, spans)) for at in moments]


def _time(at: float, spans: TimeSpans) -> str:
    wide = spans.end - spans.start
    form = "%-d %b" if wide > DAYS else "%H:%M" if wide >= MINUTES else "%H:%M:%S"
    return datetime.fromtimestamp(at, UTC).strftime(form)
