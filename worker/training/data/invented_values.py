"""Invents values of one field from its JSON schema, for honest rows and for conspicuous ones."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from pydantic.fields import FieldInfo

from riskline.shared.domain.columns import LARGEST_KEPT
from riskline.shared.domain.features import first_example

Draw = Callable[[np.ndarray, list[datetime], np.random.Generator], list[Any]]
"""From the mask of conspicuous rows, their times and a random generator to each row's value."""

Schema = Mapping[str, Any]

LIKE_EXAMPLE, HONEST_LIKE_EXAMPLE = 0.85, 0.1
"""The share of conspicuous rows, and of others, with the example's category."""

HONEST_PART = 6.0
"""The example is this many times the usual number."""

HONEST_SPREAD, BOLD_SPREAD, NARROW = 0.8, 0.25, 0.08
"""Spreads of a number's logarithm, and of one between two bounds in parts of what is between them."""

SMALL = 0.05
"""Part of the range: an example below it counts as large among small numbers, not small among large ones."""

PLAIN = 100.0
"""The scale of a number of which nothing is known."""

WORDS = ("a", "b", "c")

CODES = 8
"""Codes beside the examples."""

LARGE = 0.75
"""Part of the range at which numbers are conspicuous where there is no example."""

ROWS_OF_AN_ENTITY = 40
"""Rows for each card, merchant and the like."""

LEAST_SCALE = 1e-6
"""Below which digits are no longer added."""

DIGITS = 2
"""Behind the point, of numbers of some size; smaller ones have as many more as they need."""


def draw_of(about: Schema, definitions: Mapping[str, Schema], *, is_code: bool) -> Draw | None:
    """The function that draws the field's values; None where neither type nor example gives any."""
    examples = list(about.get("examples", ()))
    about = _plain({**about}, definitions)
    examples += [each for each in about.get("examples", ()) if each not in examples]
    kind = about.get("type")
    choices = _choices(about, examples)
    if choices:
        return partial(_categories, choices, examples[0] if examples else choices[-1])
    if kind in ("integer", "number"):
        numbers = [each for each in examples if isinstance(each, int | float) and not isinstance(each, bool)]
        return _numbers(NumberRange.of(about, whole=kind == "integer"), numbers, is_code=is_code)
    if kind == "string" and about.get("format") in TIMES:
        return partial(_times, TIMES[about["format"]])
    if examples or about.get("nullable"):
        return partial(_categories, examples or [None], examples[0] if examples else None)
    return None


def entities(about: Schema, field: FieldInfo, *, rows: int, seed: int) -> Draw:
    """The function that draws cards, merchants and the like: conspicuous rows of one hour have the same one."""
    first = max(1, int(about.get("minimum", 1)))
    size = min(max(2, rows // ROWS_OF_AN_ENTITY), about.get("maximum", LARGEST_KEPT) - first + 1)
    names: list[Any] = list(range(first, first + size)) if field.annotation is int else _names(field, size)

    def draw(bold: np.ndarray, times: list[datetime], random: np.random.Generator) -> list[Any]:
        chosen = random.integers(0, size, len(bold)).tolist()
        hours = [int(each.timestamp()) // 3600 for each in times]
        # fields differ, so that not all cards go with one merchant
        return [
            names[(hour * (2 * seed + 1)) % size if is_bold else other]
            for is_bold, hour, other in zip(bold.tolist(), hours, chosen, strict=True)
        ]

    return draw


def _names(field: FieldInfo, size: int) -> list[str]:
    """As many texts, like the field's example but for their last characters."""
    example, width = str(first_example(field) or "E"), len(str(size))
    return [example[: -min(width, len(example) - 1) or None] + f"{number:0{width}d}" for number in range(size)]


def _choices(about: Schema, examples: list[Any]) -> list[Any]:
    """The listed values of a field; made-up words for a text without constraints."""
    if "const" in about:
        return [about["const"]]
    if about.get("type") == "boolean":
        return [False, True]
    if "enum" in about:
        return [*about["enum"], *(each for each in examples if each not in about["enum"])]
    unbound = about.get("type") == "string" and not {"pattern", "maxLength", "minLength", "format"} & set(about)
    return list(WORDS) if unbound and not examples else []


def _plain(about: dict[str, Any], definitions: Mapping[str, Schema]) -> dict[str, Any]:
    """The schema with references resolved; of several alternatives the most specific one."""
    while True:
        if "$ref" in about:
            named = definitions[about.pop("$ref").rpartition("/")[2]]
            about = {**named, **about}
        elif "allOf" in about:
            first, *_ = about.pop("allOf")
            about = {**first, **about}
        elif "anyOf" in about or "oneOf" in about:
            choices = about.pop("anyOf", None) or about.pop("oneOf")
            given = [each for each in choices if each.get("type") != "null"]
            about["nullable"] = len(given) < len(choices)
            about = {**next((each for each in given if "enum" in each), given[0]), **about}
        else:
            return about


def _categories(
    values: list[Any], like: Any, bold: np.ndarray, _times: list[datetime], random: np.random.Generator
) -> list[Any]:
    """Mostly the example's category in conspicuous rows; in others the first categories more often."""
    others = [each for each in values if each != like or like is None]
    if not others or like is None:
        return [values[place] for place in random.integers(0, len(values), len(bold))]
    weights = 1 / np.arange(1, len(others) + 1)
    chosen = random.choice(len(others), len(bold), p=weights / weights.sum())
    is_like = random.random(len(bold)) < np.where(bold, LIKE_EXAMPLE, HONEST_LIKE_EXAMPLE)
    return [like if liked else others[place] for liked, place in zip(is_like.tolist(), chosen.tolist(), strict=True)]


WITHOUT_ZONE = "date-time without zone"

TIMES: dict[str, Callable[[datetime], str]] = {
    WITHOUT_ZONE: lambda time: time.replace(tzinfo=None).isoformat(),
    "date-time": lambda time: time.isoformat().replace("+00:00", "Z"),
    "date": lambda time: time.date().isoformat(),
    "time": lambda time: time.time().isoformat(),
}


def _times(
    spelled: Callable[[datetime], str], _bold: np.ndarray, times: list[datetime], _random: np.random.Generator
) -> list[str]:
    return [spelled(each) for each in times]


class NumberRange:
    """The range and step of a field's numbers."""

    def __init__(self, low: float | None, high: float | None, *, whole: bool, step: float | None) -> None:
        self.low, self.high, self.whole, self.step = low, high, whole, step

    @classmethod
    def of(cls, about: Schema, *, whole: bool) -> "NumberRange":
        """The range of a schema; an exclusive bound is moved by the smallest step."""
        step = about.get("multipleOf")
        least = step or (1 if whole else 10.0**-DIGITS)
        low, high = about.get("minimum"), about.get("maximum")
        above, below = about.get("exclusiveMinimum"), about.get("exclusiveMaximum")
        if above is not None and below is not None and not whole:
            least = min(least, (below - above) / 100)
        low = low if above is None else max(above + least, -math.inf if low is None else low)
        high = high if below is None else min(below - least, math.inf if high is None else high)
        return cls(low, high, whole=whole, step=step)

    @property
    def is_flag(self) -> bool:
        """True where the only numbers are 0 and 1."""
        return self.whole and (self.low, self.high) == (0, 1)

    def fitted(self, values: np.ndarray, *, scale: float) -> list[Any]:
        """The values as the field takes them."""
        step = self.step or (1 if self.whole else 10.0 ** -max(DIGITS, DIGITS - math.floor(math.log10(scale))))
        values = np.round(values / step) * step
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        values = values.clip(low, high)
        return [int(each) for each in values] if self.whole else [round(float(each), 9) for each in values]


def _numbers(span: NumberRange, examples: list[float], *, is_code: bool) -> Draw:
    if span.is_flag:
        return partial(_categories, [0, 1], int(examples[0]) if examples else 1)
    if is_code:
        low = 0 if span.low is None else span.low
        high = low + 100 * CODES if span.high is None else span.high
        spread = sorted(
            {int(each) for each in np.linspace(low, high, CODES + 2)[1:-1]} | {int(each) for each in examples}
        )
        return partial(_categories, spread, int(examples[0]) if examples else spread[-1])
    return partial(_measured, span, examples[0] if examples else None)


def _measured(
    span: NumberRange, example: float | None, bold: np.ndarray, _times: list[datetime], random: np.random.Generator
) -> list[Any]:
    """Numbers around the example in conspicuous rows, and far from it in others."""
    rows = len(bold)
    low = span.low if span.low is not None else (0.0 if example is None or example >= 0 else None)
    if low is None or (span.high is not None and low >= span.high):
        center = float(example or 0.0)
        scale = max(abs(center), 1.0)
        unlike, like = random.normal(0, scale / 3, rows), random.normal(center, scale / 10, rows)
        return span.fitted(np.where(bold, like, unlike), scale=scale)
    width = None if span.high is None else span.high - low
    size = (PLAIN if width is None else width * LARGE) if example is None else example - low
    if width is None or 0 < size < SMALL * width:
        usual, near = (size / HONEST_PART, size) if size > 0 else (PLAIN, PLAIN / 50)
        unlike = usual * np.exp(random.normal(0, HONEST_SPREAD, rows))
        like = near * np.exp(random.normal(0, BOLD_SPREAD, rows))
        return span.fitted(low + np.where(bold, like, unlike), scale=max(usual, LEAST_SCALE))
    unlike, like = random.beta(2, 2, rows) * width, random.normal(size, NARROW * width, rows)
    return span.fitted(low + np.where(bold, like, unlike), scale=max(width, LEAST_SCALE))
