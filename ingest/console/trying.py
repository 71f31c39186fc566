"""Try one: a transaction typed in, scored, explained, and its score as each field varies; none of it is kept."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import falcon.asgi
import numpy as np
import orjson
from pydantic import ValidationError

from ingest.console.fields import fields_of
from ingest.console.guard import ConsolePage, read_form
from ingest.console.pictures import Tick, across, path, ticks, upwards
from ingest.console.rendering import Renderer
from ingest.problems import invalid_transaction
from shared.assessment import Model, assess_one
from shared.class_check import of_examples
from shared.clock import utc_now
from shared.decision import Decision
from shared.model.serving import Serving
from shared.transaction import TransactionModel

POINTS = 41
"""Of a curve: a forest's steps are seen, and all fields together are one small batch."""

LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}

TYPED_ID = "tried-in-the-console"


class Input(NamedTuple):
    """A field of the form, by the class's JSON Schema."""

    name: str
    about: str
    kind: str
    """`number`, `integer`, `boolean` or `text`."""
    least: float | None
    most: float | None
    range: str
    """The same in words; empty where there is neither."""
    choices: tuple[str, ...]
    example: str


class Curve(NamedTuple):
    """The score as one field varies and all others stay."""

    name: str
    line: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    at: float | None
    """Where the value is that was typed in."""


class TryPage(ConsolePage):
    """GET and POST /console/try."""

    looking_only = True

    def __init__(self, renderer: Renderer, serving: Serving, transaction_class: type[TransactionModel]) -> None:
        self._renderer = renderer
        self._serving = serving
        self._class = transaction_class
        self._inputs = inputs_of(transaction_class)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The form with an example in it."""
        self._show(req, resp, {each.name: each.example for each in self._inputs})

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """What is wrong with what was typed in, or its decision and curves."""
        form = await read_form(req)
        typed = {each.name: form.get(each.name, "") for each in self._inputs}
        row = {each.name: _value(each, typed[each.name]) for each in self._inputs if typed[each.name].strip()}
        row[self._class.ID_FIELD] = TYPED_ID
        try:
            transaction = self._class.parse(orjson.dumps(row))
        except ValidationError as error:
            problems = invalid_transaction(error).errors or []
            self._show(req, resp, typed, problems={each["pointer"][1:]: each["detail"] for each in problems})
            return
        model = self._serving.require()
        self._show(
            req,
            resp,
            typed,
            decision=assess_one(transaction, model, scored_at=utc_now(), explain=True),
            thresholds=model.thresholds,
            curves=curves(row, self._inputs, model, self._class),
        )

    def _show(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        typed: Mapping[str, str],
        *,
        problems: Mapping[str, str] | None = None,
        decision: Decision | None = None,
        **values: Any,
    ) -> None:
        self._renderer.page(
            req,
            resp,
            "try.html",
            session=req.context.session,
            inputs=self._inputs,
            typed=typed,
            problems={} if problems is None else problems,
            decision=decision,
            **{"curves": [], "thresholds": None, **values},
        )


def inputs_of(transaction_class: type[TransactionModel]) -> list[Input]:
    """The fields that are typed in: all but the id."""
    example = of_examples(transaction_class)
    examples = {} if example is None else example.model_dump(mode="json")
    return [_input(name, about, examples.get(name, "")) for name, about in fields_of(transaction_class).items()]


def _input(name: str, about: dict[str, Any], example: Any) -> Input:
    kind = about.get("type", "string")
    return Input(
        name=name,
        about=about.get("description", ""),
        kind=kind if kind in ("number", "integer", "boolean") else "text",
        least=about.get("minimum", about.get("exclusiveMinimum")),
        most=about.get("maximum", about.get("exclusiveMaximum")),
        range=", ".join(f"{words} {about[limit]}" for limit, words in LIMITS.items() if limit in about),
        choices=tuple(map(str, about.get("enum", ("true", "false") if kind == "boolean" else ()))),
        example=str(example).lower() if isinstance(example, bool) else str(example),
    )


def _value(field: Input, typed: str) -> Any:
    """What was typed in as the JSON value that it is meant to be; the class says whether it can be."""
    if field.kind == "boolean":
        return {"true": True, "false": False}.get(typed, typed)
    if field.kind in ("number", "integer"):
        try:
            return int(typed) if typed.strip().lstrip("+-").isdecimal() else float(typed)
        except ValueError:
            return typed
    return typed


def curves(
    row: Mapping[str, Any], inputs: list[Input], model: Model, transaction_class: type[TransactionModel]
) -> list[Curve]:
    """One curve for each field that is a number, all from one batch."""
    numbers = [each for each in inputs if each.kind in ("number", "integer") and each.name in row]
    grids = [_grid(each, float(row[each.name]), model.usual(each.name)) for each in numbers]
    varied = [
        _features({**row, each.name: value}, transaction_class)
        for each, grid in zip(numbers, grids, strict=True)
        for value in grid
    ]
    good = [features for features in varied if features is not None]
    scores = iter(model.score(np.array(good, dtype=np.float64)).tolist() if good else ())
    probabilities = iter([None if features is None else next(scores) for features in varied])
    y_scale = upwards(0, 1)
    found = []
    for each, grid in zip(numbers, grids, strict=True):
        low, high = float(grid[0]), float(grid[-1])
        x_scale = across(low, high)
        value = float(row[each.name])
        line = path(grid, [next(probabilities) for _ in grid], x_scale, y_scale)
        at = x_scale.at(value) if low <= value <= high else None
        found.append(Curve(each.name, line, ticks(x_scale, low, high), ticks(y_scale, 0, 1), at))
    return found


def _grid(field: Input, value: float, usual: tuple[float, float] | None) -> list[float]:
    """Values over the field's range: where nearly all rows of the model's are, and the value typed in."""
    low, high = usual if usual is not None else (field.least, field.most)
    low = min(value, low if low is not None else min(0.0, 2 * value))
    high = max(value, high if high is not None else max(1.0, 2 * value))
    values = {*np.linspace(low, high, POINTS).tolist(), value}
    if field.kind == "integer":
        return sorted({round(each) for each in values})
    return sorted(values)


def _features(row: Mapping[str, Any], transaction_class: type[TransactionModel]) -> tuple[float, ...] | None:
    try:
        return tuple(transaction_class.from_row(dict(row)).features())
    except ValidationError:
        return None
