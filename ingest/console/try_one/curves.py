"""The pictures of a score that varies: steps or points for a quantity, bars for codes and choices."""

import math
from typing import NamedTuple

from riskline.ingest.console.overview.axes import Scale, Tick, short
from riskline.ingest.console.try_one.form_fields import written
from riskline.ingest.console.try_one.variation import ChoiceScores, QuantityScores
from riskline.shared.domain.policy import Action, Thresholds

WIDTH = 320
"""The width of a telephone's screen, and a third of a large one's, so that words keep their size."""

LEFT, RIGHT, TOP, BOTTOM = 44, 308, 30, 180
"""The corners of the drawing area."""

BARS_TOP, BARS_RIGHT, BAR = 44, 272, 26
"""The top and right edge of bars, with room for words, and the distance from one to the next."""

MOST_BARS, MOST_POINTS, MOST_TICKS = 12, 25, 5

LETTERS = 12
"""The letters of a choice's name that fit beside a bar."""

LETTER, LETTER_WIDE, APART, WORDS = 14, 8, 18, 126
"""The height and width of letters, the distance between lines of words, and the width of a threshold's words."""


Places = list[tuple[float, float | None]]
"""The points of a curve; None for the height where there is no score."""


class ThresholdLine(NamedTuple):
    """A threshold: its words, the place of its line, and that of the words."""

    text: str
    at: float
    text_x: float
    text_at: float


class ScoreBar(NamedTuple):
    """One choice's score."""

    name: str
    y: float
    wide: float
    score: float
    action: Action
    is_now: bool


class ScoreCurve(NamedTuple):
    """The score as one field that is a quantity varies."""

    name: str
    summary: str
    line: str
    points: str
    x_ticks: list[Tick]
    x_label: str
    y_ticks: list[Tick]
    marks: list[ThresholdLine]
    at: float
    """The place of the present value."""


class ScoreBars(NamedTuple):
    """The score with each of a field's choices."""

    name: str
    summary: str
    bars: list[ScoreBar]
    hidden: int
    """The number of choices that are not shown."""
    left: float
    """The left edge of the bars."""
    ticks: list[Tick]
    marks: list[ThresholdLine]
    bottom: float


def picture_of(varied: QuantityScores | ChoiceScores, thresholds: Thresholds) -> ScoreCurve | ScoreBars:
    """The picture of one field."""
    return _curve(varied, thresholds) if isinstance(varied, QuantityScores) else _bars(varied, thresholds)


def _curve(line: QuantityScores, thresholds: Thresholds) -> ScoreCurve:
    low, high = line.values[0], line.values[-1]
    x_scale, y_scale = Scale(low, high, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP)
    is_whole = line.steps.are_whole
    few = is_whole and len(line.values) <= MOST_POINTS and high - low < MOST_POINTS
    places = [
        (x_scale.at(value), None if outcome is None else y_scale.at(outcome.fraud_probability))
        for value, outcome in zip(line.values, line.outcomes, strict=True)
    ]
    scores = [outcome.fraud_probability for outcome in line.outcomes if outcome is not None]
    usual = "" if line.usual is None else f"usual: {short(line.usual[0])} to {short(line.usual[1])}"
    return ScoreCurve(
        name=line.field.name,
        summary=f"Score by {line.field.name}: from {min(scores):.2f} to {max(scores):.2f} while it goes from "
        f"{short(low)} to {short(high)}",
        line="" if few else stairs(places),
        points="".join(f"M{x} {y}h0" for x, y in places if y is not None) if few else "",
        x_ticks=[Tick(x_scale.at(value), short(value)) for value in round_values(low, high, is_whole=is_whole)],
        x_label=usual,
        y_ticks=[Tick(y_scale.at(value), f"{value:g}") for value in (0, 0.5, 1)],
        marks=_marks(thresholds, y_scale, places),
        at=x_scale.at(line.now),
    )


def stairs(places: Places) -> str:
    """A path of level lines, each as far as its height stays: between two places it changes in the middle."""
    parts: list[str] = []
    height: float | None = None
    before = 0.0
    for x, y in places:
        if y != height:
            middle = round((before + x) / 2, 1)
            if height is None:
                parts.append(f"M{x} {y}")
            elif y is None:
                parts.append(f"H{before}")
            else:
                parts.append(f"H{middle}V{y}")
            height = y
        before = x
    return "".join(parts) + ("" if height is None else f"H{before}")


def round_values(low: float, high: float, *, is_whole: bool) -> list[float]:
    """A few round numbers of a range: those at 1, 2 or 5 times a power of ten; of whole ones no others."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    steps = [step * power for step in (1, 2, 5, 10, 20)]
    step = next(each for each in steps if (high - low) / each < MOST_TICKS and (each >= 1 or not is_whole))
    first = math.ceil(low / step)
    return [count * step for count in range(first, first + MOST_TICKS + 1) if count * step <= high]


def _marks(thresholds: Thresholds, scale: Scale, places: Places) -> list[ThresholdLine]:
    """The thresholds, the words of each at that end of its line, and on that side, where they hide least."""
    named = _named(thresholds)
    lines = {name: scale.at(value) for name, value in named.items()}
    marks: list[ThresholdLine] = []
    for name, line in lines.items():
        corners = [(x, line + side) for side in (-5, 15) for x in (RIGHT - 2 - WORDS, LEFT + 4)]
        busy = [
            *marks,
            *(ThresholdLine("", other, x, other) for other in lines.values() if other != line for x in (LEFT, RIGHT)),
        ]
        x, y = min(corners, key=lambda corner: _hidden(corner[0], corner[1], places, busy))
        marks.append(ThresholdLine(f"{name} above {named[name]:g}", line, x, y))
    return marks


def _hidden(x: float, y: float, places: Places, busy: list[ThresholdLine]) -> int:
    """The cost of words at a place: the points of the curve that they hide, and more for other words or lines."""
    points = sum(height is not None and x <= at <= x + WORDS and y - LETTER <= height <= y + 4 for at, height in places)
    others = sum(abs(each.text_at - y) < APART and abs(each.text_x - x) < WORDS for each in busy)
    return points + len(places) * (others + (y - LETTER < TOP or y > BOTTOM))


def _bars(choices: ChoiceScores, thresholds: Thresholds) -> ScoreBars:
    scored = [(value, each) for value, each in zip(choices.values, choices.outcomes, strict=True) if each is not None]
    # the one that it has is among those that are shown, whichever it is
    shown = sorted(sorted(range(len(scored)), key=lambda at: scored[at][0] != choices.now)[:MOST_BARS])
    names = {at: _fitting(written(scored[at][0])) for at in shown}
    left = LETTER + LETTER_WIDE * max(map(len, names.values()))
    scale = Scale(0, 1, left, BARS_RIGHT)
    bars = [
        ScoreBar(
            name=names[at],
            y=BARS_TOP + number * BAR,
            wide=max(1.0, round(scale.at(scored[at][1].fraud_probability) - left, 1)),
            score=scored[at][1].fraud_probability,
            action=scored[at][1].action,
            is_now=scored[at][0] == choices.now,
        )
        for number, at in enumerate(shown)
    ]
    return ScoreBars(
        name=choices.field.name,
        summary=f"Score by {choices.field.name}: "
        + ", ".join(f"{bar.name} {bar.score:.2f}{' as it is' if bar.is_now else ''}" for bar in bars),
        bars=bars,
        hidden=len(scored) - len(bars),
        left=left,
        ticks=[Tick(scale.at(value), f"{value:g}") for value in (0, 0.5, 1)],
        marks=[
            ThresholdLine(
                f"{name} above {value:g}", at := scale.at(value), min(max(at, WORDS / 2), WIDTH - WORDS / 2), y
            )
            for (name, value), y in zip(_named(thresholds).items(), (LETTER, LETTER + APART), strict=False)
        ],
        bottom=BARS_TOP + len(bars) * BAR,
    )


def _named(thresholds: Thresholds) -> dict[str, float]:
    """The thresholds that are set, by name."""
    named = {"decline": thresholds.decline, "review": thresholds.review}
    return {name: value for name, value in named.items() if value is not None}


def _fitting(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
