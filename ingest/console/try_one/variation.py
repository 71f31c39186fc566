"""A transaction's outcome as one of its fields varies and all others stay: all values of all fields in one batch."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from riskline.ingest.console.try_one.form_fields import NUMBERS, FormField, value_of
from riskline.shared.domain.assessment import Assessment, assess
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.serving import ServedModel

MOST_POINTS, LEAST_POINTS, MOST_ROWS = 240, 40, 800
"""Of a line where usual values are, and of all lines: about as many as a picture is wide, and of many fields fewer, so
that these take about the time of a few."""

LEAST_FIGURES, MOST_FIGURES, CENTS = 3, 5, -2
"""The step of a field's values as powers of ten: cents, unless these are too few or too many for its range."""

MOST_DIGITS = 12
"""After the point."""

MOST_CODES = 8
"""The most values of a code without a list of its own."""

BEYOND = 4
"""A quarter of the range lies on either side of what was typed in, where the field's limits let it."""

LARGEST = 1e300
"""A number about the largest there is, whose range can still be computed with."""


class ValueGrid(NamedTuple):
    """Round numbers: the whole multiples of a unit."""

    unit: Fraction
    are_whole: bool

    def at(self, count: int) -> float:
        """The value of `count` units."""
        units = count * self.unit.numerator
        return units // self.unit.denominator if self.are_whole else units / self.unit.denominator

    def within(self, value: float) -> int:
        """The last one that is not above a value."""
        return math.floor(Fraction(value) / self.unit)

    def spread(self, low: float, high: float, parts: int) -> set[int]:
        """Some from the one to the other, at about equal distances."""
        first, last = -self.within(-low), self.within(high)
        return {first + (last - first) * part // parts for part in range(parts + 1)} if first <= last else set()

    @property
    def digits(self) -> int:
        """After the point."""
        return next((digits for digits in range(MOST_DIGITS) if not self.unit * 10**digits % 1), MOST_DIGITS)


class QuantityScores(NamedTuple):
    """Values of a quantity from the least to the most, and the outcome with each; None where the class refuses it."""

    field: FormField
    now: float
    values: tuple[float, ...]
    outcomes: tuple[Assessment | None, ...]
    steps: ValueGrid
    usual: tuple[float, float] | None


class ChoiceScores(NamedTuple):
    """Values of what is no quantity, and the outcome with each; `now` is None where it is left out."""

    field: FormField
    now: Any
    values: tuple[Any, ...]
    outcomes: tuple[Assessment | None, ...]


class Variation:
    """A transaction's fields, each varied by itself."""

    def __init__(self, transaction: TransactionModel, inputs: Sequence[FormField], model: ServedModel) -> None:
        self._class = type(transaction)
        # with the defaults of fields that were left out
        self._sent = from_json(transaction.to_json())
        self._history = transaction.history_values()
        self._row = row = {**self._sent, **self._history}
        self._model = model
        given = [each for each in inputs if each.choices or row.get(each.name) is not None]
        quantities = sum(each.is_quantity for each in given)
        points = min(MOST_POINTS, max(LEAST_POINTS, MOST_ROWS // max(1, quantities)))
        drafts = [
            self._line(each, points) if each.is_quantity else self._choices(each)
            for each in given
            if (each.kind in NUMBERS or each.choices) and not each.is_name
        ]
        outcomes = iter(self.outcomes([(each.field.name, value) for each in drafts for value in each.values]))
        scored = [each._replace(outcomes=tuple(next(outcomes) for _ in each.values)) for each in drafts]
        self.fields = [kept for each in scored if (kept := _valid(each)) is not None]
        shown = {each.field.name for each in self.fields}
        self.left_out = [(each.name, self._why_not(each)) for each in inputs if each.name not in shown]

    def _why_not(self, field: FormField) -> str:
        if self._row.get(field.name) is None:
            return "left empty"
        if field.is_name:
            return "another one has another history"
        return "no other value is known" if field.kind in NUMBERS or field.choices else "no number, no list of values"

    def outcomes(self, changes: Sequence[tuple[str, Any]]) -> list[Assessment | None]:
        """The outcome with each change by itself; None where the class refuses it."""
        changed = [self._changed(name, value) for name, value in changes]
        outcomes = iter(assess([each for each in changed if each is not None], self._model))
        return [None if each is None else next(outcomes) for each in changed]

    def _changed(self, name: str, value: Any) -> TransactionModel | None:
        columns, sent = self._history, self._sent
        if name in columns:
            columns = {**columns, name: value}
        else:
            sent = {**sent, name: value}
        try:
            changed = self._class.from_row(sent)
            return changed.with_history(list(columns.values())) if columns else changed
        except ValidationError:
            return None

    def _line(self, field: FormField, points: int) -> QuantityScores:
        now = self._row[field.name]
        # a Decimal's JSON is a text
        value = now if isinstance(now, int) else float(now)
        usual = self._model.usual(field.name)
        low, high = _range(field, value, usual)
        near, far = usual or (low, high)
        steps = _steps(field, min(far - near if far > near else high - low, LARGEST))
        # a typed value far out would leave hardly any points among the usual values
        counts = steps.spread(low, high, points // 2) | steps.spread(near, far, points)
        values = sorted({each for count in counts if low <= (each := steps.at(count)) <= high} | {value})
        return QuantityScores(field, value, tuple(values), (), steps, usual)

    def _choices(self, field: FormField) -> ChoiceScores:
        """All choices; of a code its common values."""
        now = self._row.get(field.name)
        values = list(field.values)
        if not values and (field.least, field.most) == (0, 1):
            values = [0, 1]
        if not values:
            example = [value_of(field, field.example)] if field.example else []
            common = [int(each) if each.is_integer() else each for each in self._model.common(field.name)]
            values = sorted([*dict.fromkeys([now, *example, *common])][:MOST_CODES])
        return ChoiceScores(field, now, tuple(values if now is None or now in values else [*values, now]), ())


def _range(field: FormField, value: float, usual: tuple[float, float] | None) -> tuple[float, float]:
    """The range of nearly all of the model's rows, widened beyond the typed value, within the field's limits."""
    low, high = usual if usual is not None else (field.least, field.most)
    low = min(value, low if low is not None else min(0.0, 2.0 * value))
    high = max(value, high if high is not None else max(1.0, 2.0 * value))
    margin = max((high - low) / BEYOND, 1.0) if field.kind == "integer" or low == high else (high - low) / BEYOND
    low, high = min(low, value - margin), max(high, value + margin)
    low = max(low, -LARGEST if field.least is None else field.least)
    high = min(high, LARGEST if field.most is None else field.most)
    return min(value, low), max(value, high)


def _steps(field: FormField, wide: float) -> ValueGrid:
    whole = field.kind == "integer"
    if field.step is not None:
        return ValueGrid(field.step, are_whole=whole)
    if whole:
        return ValueGrid(Fraction(1), are_whole=True)
    power = math.floor(math.log10(wide)) if wide > 0 else 0
    fine = max(power - MOST_FIGURES, min(CENTS, power - LEAST_FIGURES))
    return ValueGrid(Fraction(10) ** fine, are_whole=False)


def _valid(varied: QuantityScores | ChoiceScores) -> QuantityScores | ChoiceScores | None:
    """The variation without refused values at the ends of a line and among choices; None where too few are left."""
    good = [at for at, outcome in enumerate(varied.outcomes) if outcome is not None]
    kept = range(good[0], good[-1] + 1) if good and isinstance(varied, QuantityScores) else good
    values, outcomes = tuple(varied.values[at] for at in kept), tuple(varied.outcomes[at] for at in kept)
    is_there = varied.now in values or (varied.now is None and isinstance(varied, ChoiceScores))
    return varied._replace(values=values, outcomes=outcomes) if is_there and len(values) > 1 else None
