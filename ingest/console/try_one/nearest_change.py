"""The nearest change of a decision: for each field the closest value at which the action is another."""

from typing import NamedTuple

from riskline.ingest.console.try_one.form_fields import written
from riskline.ingest.console.try_one.variation import ChoiceScores, QuantityScores, ValueGrid, Variation
from riskline.shared.domain.policy import Action

MOST_NAMED = 5
"""The most choices named that have the same action."""

LARGE = 1e15
"""The number from which on digits are too many to read."""


class OtherAction(NamedTuple):
    """Values of a field that have another action."""

    words: str
    action: Action


class FieldChange(NamedTuple):
    """A field that can change the action by itself."""

    name: str
    now: str
    turns: list[OtherAction]
    distance: float
    """To the nearest such value, by the width of the field's usual range."""


class _Boundary:
    """The boundary of an action between two values of a field: one has the action, the other has not."""

    def __init__(self, line: QuantityScores, inside: int, outside: int, action: Action) -> None:
        """`inside` and `outside` are places among the field's values."""
        self.name = line.field.name
        self.action = action
        self._steps = line.steps
        is_rising = inside > outside
        self._inside = _count(line.steps, line.values[inside], above=not is_rising)
        self._outside = _count(line.steps, line.values[outside], above=not is_rising)

    @property
    def middle(self) -> float | None:
        """The next value to try; None where there is none left between the two."""
        return self._steps.at(self._half) if abs(self._inside - self._outside) > 1 else None

    def narrow(self, *, has_action: bool) -> None:
        """Takes the answer for the middle value."""
        if has_action:
            self._inside = self._half
        else:
            self._outside = self._half

    @property
    def value(self) -> float:
        """The last one that has the action."""
        return self._steps.at(self._inside)

    @property
    def _half(self) -> int:
        return (self._inside + self._outside) // 2


class _ValueRun:
    """Neighbouring values with one action that is not the transaction's own: from the nearest to the farthest."""

    def __init__(self, line: QuantityScores, action: Action, near: int, far: int) -> None:
        """`near` and `far` are places among the field's values, on one side of what it is now."""
        self._line = line
        self._action = action
        self._is_above = line.values[near] > line.now
        on = 1 if self._is_above else -1
        self._near = _Boundary(line, near, near - on, action)
        # a run up to the end of the range may go on beyond it
        self._far = _Boundary(line, far, far + on, action) if 0 <= far + on < len(line.values) else None
        self.edges = [self._near] if self._far is None else [self._near, self._far]

    @property
    def distance(self) -> float:
        """The distance from the present value to the nearest, by the width of the usual range."""
        low, high = self._line.usual or (self._line.values[0], self._line.values[-1])
        return abs(self._near.value - self._line.now) / (high - low if high > low else 1)

    @property
    def turn(self) -> OtherAction:
        """The values of the run in words, with their action."""
        digits = self._line.steps.digits
        near = spelled(self._near.value, digits)
        if self._far is None:
            return OtherAction(f"{near} or {'more' if self._is_above else 'less'}", self._action)
        ends = sorted([self._near.value, self._far.value])
        return OtherAction(" to ".join(dict.fromkeys(spelled(end, digits) for end in ends)), self._action)


def changes_of(variation: Variation, action: Action) -> list[FieldChange]:
    """The fields that can change the action, the one that has to change least first."""
    lines = [(each, _runs(each, action)) for each in variation.fields if isinstance(each, QuantityScores)]
    _refine(variation, [edge for _, runs in lines for run in runs for edge in run.edges])
    changes = [_of_line(line, runs) for line, runs in lines if runs]
    choices = [each for each in variation.fields if isinstance(each, ChoiceScores)]
    changes += [found for each in choices if (found := _of_choices(each, action)) is not None]
    return sorted(changes, key=lambda change: change.distance)


def spelled(value: float, digits: int) -> str:
    """A number as a person reads it."""
    if isinstance(value, int):
        return f"{value:,}"
    plain = f"{value:,.{digits}f}"
    # a typed value may be finer than the grid
    return plain if abs(value) < LARGE and float(plain.replace(",", "")) == value else str(value)


def _runs(line: QuantityScores, action: Action) -> list[_ValueRun]:
    """The nearest values of each other action."""
    actions = [None if outcome is None else outcome.action for outcome in line.outcomes]
    here = line.values.index(line.now)
    runs = []
    for other in {each for each in actions if each is not None} - {action}:
        places = [at for at, found in enumerate(actions) if found is other]
        near = far = min(places, key=lambda at: abs(line.values[at] - line.now))
        on = 1 if near > here else -1
        while 0 <= far + on < len(actions) and actions[far + on] is other:
            far += on
        runs.append(_ValueRun(line, other, near, far))
    return runs


def _refine(variation: Variation, edges: list[_Boundary]) -> None:
    """Halves what is between, of all edges at once, until each has its neighbour beside it."""
    while halves := [(edge, middle) for edge in edges if (middle := edge.middle) is not None]:
        outcomes = variation.outcomes([(edge.name, middle) for edge, middle in halves])
        for (edge, _), outcome in zip(halves, outcomes, strict=True):
            edge.narrow(has_action=outcome is not None and outcome.action is edge.action)


def _of_line(line: QuantityScores, runs: list[_ValueRun]) -> FieldChange:
    runs = sorted(runs, key=lambda run: run.distance)
    now = spelled(line.now, line.steps.digits)
    return FieldChange(line.field.name, now, [run.turn for run in runs], runs[0].distance)


def _of_choices(choices: ChoiceScores, action: Action) -> FieldChange | None:
    found: dict[Action, list[str]] = {}
    for value, outcome in zip(choices.values, choices.outcomes, strict=True):
        if outcome is not None and outcome.action is not action:
            found.setdefault(outcome.action, []).append(written(value))
    turns = [OtherAction(_listed(names), other) for other, names in found.items()]
    # one choice is not nearer than another: each is as far as all of a range
    return FieldChange(choices.field.name, written(choices.now) or "left out", turns, 1.0) if turns else None


def _listed(names: list[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} or {len(names) - MOST_NAMED} others"
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _count(steps: ValueGrid, value: float, *, above: bool) -> int:
    """The step of a value; where it lies between two, the one below or above."""
    count = steps.within(value)
    nearest = next((each for each in (count, count + 1) if steps.at(each) == value), None)
    return count + above if nearest is None else nearest
