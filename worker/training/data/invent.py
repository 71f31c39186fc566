"""Invents labelled rows of any transaction class from its JSON schema, to try the class with.

Fraud is like the class's first examples, everything else is not, and some frauds hide among the rest. So the label
depends on the columns, derived ones too. A model trained on the rows knows nothing of real payments.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.invented_values import Draw, draw_of
from riskline.worker.training.data.labelled import TIMESTAMP

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 90
FRAUD_SHARE = 0.03
HIDDEN = 0.2
"""The share of frauds that look like everything else."""

NIGHT_HOUR, DAY_HOUR, DAY_SPREAD, NIGHT_SPREAD = 3.0, 14.0, 4.5, 1.5
"""Hours of the day at which honest customers pay, and thieves where no example says otherwise."""

ROUNDS = 50
"""The most redraws of refused rows: a rule over two fields refuses about half of them."""

LABEL = "is_fraud"


def invent(transaction_class: type[TransactionModel], *, rows: int, seed: int) -> pl.DataFrame:
    """Rows in time order: id, a timestamp where the class has none, the class's fields, the label.

    Raises:
        DatasetError: a field has neither a telling schema nor an example, or the class refuses the rows
            made from them.
    """
    random = np.random.default_rng(seed)
    draws = _draws(transaction_class)
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
    kept.sort(key=lambda row: str(row[TIMESTAMP]))
    named = [{transaction_class.ID_FIELD: f"I{number:0{width}d}", **row} for number, row in enumerate(kept)]
    return pl.DataFrame(named, infer_schema_length=None)


def _draws(transaction_class: type[TransactionModel]) -> dict[str, Draw]:
    schema = transaction_class.model_json_schema()
    nominal = transaction_class.nominal_features()
    draws = {}
    for name, about in schema["properties"].items():
        if name == transaction_class.ID_FIELD:
            continue
        draw = draw_of(about, schema.get("$defs", {}), is_code=name in nominal)
        if draw is not None:
            draws[name] = draw
        elif name in schema.get("required", ()):
            raise DatasetError(
                f"what {transaction_class.__name__}.{name} may be cannot be told from its type: give the field an "
                "example, as in Field(examples=[…])"
            )
    return draws


def _made(
    transaction_class: type[TransactionModel],
    draws: Mapping[str, Draw],
    is_fraud: np.ndarray,
    random: np.random.Generator,
    refusal: str,
) -> tuple[list[dict[str, Any]], str]:
    """This many rows, with an empty one for each that the class refuses, and the last reason."""
    bold = is_fraud & (random.random(len(is_fraud)) >= HIDDEN)
    times = _times(bold, random)
    columns = {name: draw(bold, times, random) for name, draw in draws.items()}
    if TIMESTAMP not in transaction_class.model_fields:
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
