"""What the scenario `history` needs: the example class, the same columns as a client sends them, and their rows.

`python -m tests.bench.cards DIRECTORY` makes the files; the classes are imported by the service.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import AwareDatetime, Field

from riskline import InputOnly, Nominal, TransactionModel
from riskline.examples.card import CardPayment
from riskline.shared.domain.history.derive import history_of

ROWS, REQUEST_ROWS = 60_000, 20_000
WARM_DAYS = 30
TRAINING_SHARE = 0.75
LABEL = "is_fraud"

ENTITIES = {
    "card": ["card_id"],
    "merchant": ["merchant_id"],
    "device": ["device_id"],
    "card_merchant": ["card_id", "merchant_id"],
    "card_device": ["card_id", "device_id"],
}
"""The feature views of the peer, see `tests/bench/peers/feast_repo.py`."""


class SentPayment(TransactionModel):
    """A card payment whose columns of history the client computes and sends."""

    timestamp: Annotated[AwareDatetime, InputOnly]
    card_id: Annotated[str, InputOnly]
    merchant_id: Annotated[str, InputOnly]
    device_id: Annotated[str, InputOnly] = ""
    amount: float = Field(gt=0)
    merchant_category_code: Annotated[int, Nominal] = Field(ge=1, le=9999)
    is_online: int = Field(ge=0, le=1)
    payments_1h: int
    payments_24h: int
    payments_30d: int
    spent_24h: float
    mean_30d: float
    largest_30d: float
    last_amount: float
    minutes_since_last: float
    merchants_24h: int
    times_here_30d: int
    is_known_device: bool
    cards_on_device_7d: int
    merchant_payments_1h: int
    merchant_mean_30d: float

    hour = CardPayment.hour
    amount_to_mean = CardPayment.amount_to_mean
    amount_to_merchant_mean = CardPayment.amount_to_merchant_mean


def main(directory: Path) -> None:
    """The past, the requests of both classes, what both are trained on, and the last values of each entity."""
    # scikit-learn and polars are wanted by this program only, not by the service that imports the classes
    from riskline.worker.training.data.labelled import read_labelled  # noqa: PLC0415
    from riskline.worker.training.data.simulate_cards import simulate_cards  # noqa: PLC0415

    frame = simulate_cards(rows=ROWS, seed=0)
    file = directory / "cards.parquet"
    frame.write_parquet(file)
    columns = read_labelled(file, CardPayment, label=LABEL, skip_bad_rows=False).rows
    names = CardPayment.feature_names()
    whole = frame.with_columns(
        [pl.Series(name, columns[:, names.index(name)]).cast(kind) for name, kind in _history_kinds().items()]
    )
    warm = whole["timestamp"].str.slice(0, 10) >= _warm_day(frame)
    whole.filter(warm).write_parquet(directory / "sent.parquet")
    training = int(warm.sum() * TRAINING_SHARE)
    features = pl.DataFrame(columns, schema=list(names)).with_columns(frame[LABEL]).filter(warm)
    features.head(training).write_csv(directory / "training.csv", include_header=False)

    requests = frame.tail(REQUEST_ROWS)
    frame.head(ROWS - REQUEST_ROWS).write_parquet(directory / "past.parquet")
    requests.drop(LABEL).write_ndjson(directory / "rows.ndjson")
    whole.tail(REQUEST_ROWS).drop(LABEL).write_ndjson(directory / "sent.ndjson")
    one = requests["merchant_id"].mode().min()
    requests.with_columns(pl.lit(one).alias("merchant_id")).drop(LABEL).write_ndjson(directory / "flood.ndjson")
    for view, keys in ENTITIES.items():
        values = features.with_columns(frame.filter(warm).select(keys))
        values.group_by(keys).last().write_parquet(directory / f"{view}.parquet")


def _history_kinds() -> dict[str, Any]:
    """The types of the columns of history in a file."""
    history = history_of(CardPayment)
    assert history is not None
    kinds = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}
    return {column.name: kinds[SentPayment.model_fields[column.name].annotation] for column in history.columns}


def _warm_day(frame: pl.DataFrame) -> str:
    first = frame["timestamp"].min()
    return str(pl.Series([first]).str.to_datetime().dt.offset_by(f"{WARM_DAYS}d").dt.date()[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
