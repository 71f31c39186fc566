"""Invents labelled rows of any transaction class from its JSON schema, to try the class with.

Fraud is like the class's first examples, everything else is not, and some frauds hide among the rest. So the label
depends on the columns, derived ones too. Where the class has entities, frauds come in bursts of one card at one
merchant, so that columns of history tell them. A model trained on the rows knows nothing of real payments.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from pydantic import NaiveDatetime, ValidationError
from pydantic.fields import FieldInfo

from riskline.shared.domain.columns import is_column
from riskline.shared.domain.history.derive import event_time
from riskline.shared.domain.history.markers import Entity, Exact, marker
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.invented_values import WITHOUT_ZONE, Draw, draw_of, entities
from riskline.worker.training.data.labelled import TIMESTAMP

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 90
FRAUD_SHARE = 0.03
HIDDEN = 0.2
"""The share of frauds that look like everything else."""

NIGHT_HOUR, DAY_HOUR, DAY_SPREAD, NIGHT_SPREAD = 3.0, 14.0, 4.5, 1.5
"""Hours of the day at which honest customers pay, and thieves where no example says otherwise."""

BURST, BURST_SECONDS = 5, 3_000
"""Frauds of the same entities, and the time in which they happen."""

ROUNDS = 50
"""The most redraws of refused rows: a rule over two fields refuses about half of them."""

LABEL = "is_fraud"


def invent(transaction_class: type[TransactionModel], *, rows: int, seed: int) -> pl.DataFrame:
    """Rows in time order: id, a timestamp where the class has no time, the class's fields, the label.

    Raises:
        DatasetError: a field has neither a telling schema nor an example, or the class refuses the rows
            made from them.
    """
    random = np.random.default_rng(seed)
    draws = _draws(transaction_class, rows=rows)
    is_fraud = random.random(rows) < FRAUD_SHARE
    width = len(str(rows))
    kept: list[dict[str, Any]] = [{} for _ in range(rows)]
    missing, refusal = np.arange(rows), ""
    for _ in range(ROUNDS):
        made, refusal = _made(transaction_class, draws, is_fraud[missing], random, refusal)
        for place, row in zip(missing.tolist(), made, strict=True):
            kept[place] = row
        missing = np.array([place for place in missing.tolist() if not kept[place]], dtype=np.int64)
        if not len(missing):
            break
    else:
        raise DatasetError(
            f"{transaction_class.__name__} refuses rows that are made of its bounds, categories and examples "
            f"({refusal}): write a labelled file of your own"
        )
    for row, fraud in zip(kept, is_fraud.tolist(), strict=True):
        row[LABEL] = int(fraud)
    time_field = _time_field(transaction_class)
    kept.sort(key=lambda row: str(row[time_field]))
    named = [{transaction_class.ID_FIELD: f"I{number:0{width}d}", **row} for number, row in enumerate(kept)]
    return pl.DataFrame(named, infer_schema_length=None)


def _time_field(transaction_class: type[TransactionModel]) -> str:
    """The column of times: the class's event time, or the one that splits files."""
    times = [name for name, field in transaction_class.model_fields.items() if event_time(field) is not None]
    return times[0] if times else TIMESTAMP


def _draws(transaction_class: type[TransactionModel], *, rows: int) -> dict[str, Draw]:
    schema = transaction_class.model_json_schema()
    nominal = transaction_class.nominal_features()
    draws: dict[str, Draw] = {}
    for name, about in schema["properties"].items():
        if name == transaction_class.ID_FIELD:
            continue
        field = transaction_class.model_fields[name]
        is_entity = marker(field, Entity) is not None and not is_column(field)
        draw = (
            entities(about, field, rows=rows, seed=len(draws))
            if is_entity
            else draw_of(_exact(about, field), schema.get("$defs", {}), is_code=name in nominal)
        )
        if draw is not None:
            draws[name] = draw
        elif name in schema.get("required", ()):
            raise DatasetError(
                f"what {transaction_class.__name__}.{name} may be cannot be told from its type: give the field an "
                "example, as in Field(examples=[…])"
            )
    return draws


def _exact(about: dict[str, Any], field: FieldInfo) -> dict[str, Any]:
    """The schema with the step that the field's decimal places are."""
    exact: Exact | None = marker(field, Exact)
    step = {} if exact is None else {"multipleOf": 10.0**-exact.places}
    naive = field.annotation is NaiveDatetime and about.get("format") == "date-time"
    return {**step, **about, **({"format": WITHOUT_ZONE} if naive else {})}


def _made(
    transaction_class: type[TransactionModel],
    draws: Mapping[str, Draw],
    is_fraud: np.ndarray,
    random: np.random.Generator,
    refusal: str,
) -> tuple[list[dict[str, Any]], str]:
    """This many rows, with an empty one for each that the class refuses, and the last reason."""
    bold = is_fraud & (random.random(len(is_fraud)) >= HIDDEN)
    bursts = any(marker(field, Entity) is not None for field in transaction_class.model_fields.values())
    times = _bursts(bold, _times(bold, random), random) if bursts else _times(bold, random)
    columns = {name: draw(bold, times, random) for name, draw in draws.items()}
    if _time_field(transaction_class) not in transaction_class.model_fields:
        columns = {TIMESTAMP: [each.isoformat() for each in times], **columns}
    made = []
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        body = {name: value for name, value in row.items() if name in draws}
        try:
            transaction_class.from_row({transaction_class.ID_FIELD: "I", **body})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            refusal = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
            row = {}
        made.append(row)
    return made, refusal


def _times(bold: np.ndarray, random: np.random.Generator) -> list[datetime]:
    rows = len(bold)
    day, night = random.normal(DAY_HOUR, DAY_SPREAD, rows), random.normal(NIGHT_HOUR, NIGHT_SPREAD, rows)
    seconds = random.integers(0, DAYS, rows) * 86_400 + (np.where(bold, night, day) % 24 * 3600).astype(np.int64)
    return [START + timedelta(seconds=int(each)) for each in seconds]


def _bursts(bold: np.ndarray, times: list[datetime], random: np.random.Generator) -> list[datetime]:
    """The times, of conspicuous rows in bursts that each begin with an hour, which has the same entities then."""
    places = np.flatnonzero(bold).tolist()
    starts = [times[place].replace(minute=0, second=0) for place in places[::BURST]]
    moved = list(times)
    for number, place in enumerate(places):
        moved[place] = starts[number // BURST] + timedelta(seconds=int(random.integers(0, BURST_SECONDS)))
    return moved
