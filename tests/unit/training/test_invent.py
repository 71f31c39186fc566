"""`riskline data` for a team's own class: its rows are valid, varied, and the label can be learned from them."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import pytest
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime, model_validator
from sklearn.ensemble import RandomForestClassifier

from riskline import Count, Entity, EventTime, Exact
from riskline.shared.domain.features import Encoded, InputOnly, Nominal, OneHot, feature
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.dataset import write_frame
from riskline.worker.training.data.invent import invent
from riskline.worker.training.data.labelled import read_labelled
from riskline.worker.training.data.periods import split
from tests.support.histories import Purchase


class Scheme(StrEnum):
    VISA = "visa"
    OTHER = "other"


class Device(BaseModel):
    name: str


class Wide(TransactionModel):
    """A field of each kind that a class can have."""

    amount: float = Field(gt=0, examples=[1250.0])
    tiny: float = Field(gt=0, lt=0.001, examples=[0.0009])
    share: float = Field(ge=0, le=1, examples=[0.011])
    balance: float = Field(examples=[-300.0])
    latitude: float = Field(ge=-90, le=90)
    cents: int = Field(ge=5, multiple_of=5, examples=[995])
    age_days: int = Field(ge=0, examples=[0])
    hour: int = Field(ge=0, le=23, examples=[3])
    is_new: int = Field(ge=0, le=1, examples=[1])
    is_known: bool = Field(examples=[False])
    category: Annotated[int, Nominal] = Field(ge=1, le=9999, examples=[5732])
    channel: Annotated[str, Encoded({"pos": 0, "web": 1})] = Field(examples=["web"])
    country: Annotated[str, Encoded({"DE": 0}, other=2)] = Field(examples=["BR"])
    entry: Annotated[str, OneHot("chip", "keyed")]
    refunds: int = 0
    sent_at: Annotated[AwareDatetime, InputOnly]
    day: Annotated[date, InputOnly]
    scheme: Annotated[Scheme, InputOnly]
    kind: Annotated[Literal["a", "b"], InputOnly]
    device: Annotated[Device, InputOnly] = Field(examples=[{"name": "phone"}])
    lines: Annotated[list[int], InputOnly] = Field(examples=[[1, 2]])
    note: Annotated[str | None, InputOnly] = None

    @feature
    def cents_a_day(self) -> float:
        """Of two fields."""
        return self.cents / (self.age_days + 1)


class TwoFields(TransactionModel):
    """A rule that no field tells by itself."""

    paid: float = Field(gt=0, examples=[10.0])
    limit: float = Field(gt=0, examples=[50.0])

    @model_validator(mode="after")
    def _below(self) -> "TwoFields":
        if self.paid > self.limit:
            raise ValueError("more than the limit")
        return self


class Patterned(TransactionModel):
    amount: float
    iban: Annotated[str, InputOnly] = Field(pattern="^[A-Z]{2}[0-9]{20}$")


class Impossible(TransactionModel):
    amount: float = Field(gt=0)

    @model_validator(mode="after")
    def _never(self) -> "Impossible":
        raise ValueError("not today")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".ndjson", ".parquet"])
def test_rows_of_any_class_are_read_back_as_transactions_from_every_kind_of_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_frame(invent(Wide, rows=300, seed=1), path)

    data = read_labelled(path, Wide, label="is_fraud", skip_bad_rows=False)

    assert data.rows.shape == (300, len(Wide.feature_names()))
    assert data.times is not None
    assert (np.diff(data.times) >= np.timedelta64(0, "us")).all()
    assert len(np.unique(data.times)) > 200


@pytest.mark.parametrize("made", [Wide, TwoFields])
def test_the_label_can_be_learned_from_the_columns_and_is_not_one_of_them(
    tmp_path: Path, made: type[TransactionModel]
) -> None:
    write_frame(invent(made, rows=3_000, seed=1), tmp_path / "rows.csv")
    data = read_labelled(tmp_path / "rows.csv", made, label="is_fraud", skip_bad_rows=False)

    training, test, _ = split(data, seed=0)
    forest = RandomForestClassifier(30, random_state=0).fit(training.rows, training.labels)

    shown = forest.predict_proba(test.rows)[:, 1]
    assert 0.02 < data.labels.mean() < 0.04
    assert shown[test.labels == 1].mean() > 5 * shown[test.labels == 0].mean()
    assert shown[test.labels == 1].min() < 0.5


def test_no_column_that_is_drawn_is_one_value_and_bounds_are_kept() -> None:
    frame = invent(Wide, rows=500, seed=2)

    numbers = frame.select(pl.col(pl.Float64, pl.Int64))
    assert [name for name in numbers.columns if numbers[name].n_unique() < 2] == []
    assert frame["tiny"].n_unique() > 20
    assert set(frame["channel"]) == {"pos", "web"}
    assert set(frame["country"]) == {"DE", "BR"}
    assert frame["share"].median() < 0.02  # type: ignore[operator]  # a number


def test_the_same_seed_gives_the_same_rows() -> None:
    assert invent(Wide, rows=50, seed=1).equals(invent(Wide, rows=50, seed=1))
    assert not invent(Wide, rows=50, seed=1).equals(invent(Wide, rows=50, seed=2))


def test_a_field_of_which_nothing_is_known_is_named_with_what_to_do() -> None:
    with pytest.raises(DatasetError, match=r"Patterned\.iban .* give the field an example, as in Field\(examples="):
        invent(Patterned, rows=10, seed=0)


def test_a_class_that_refuses_everything_says_why() -> None:
    with pytest.raises(DatasetError, match=r"Impossible refuses rows .*not today.*write a labelled file of your own"):
        invent(Impossible, rows=10, seed=0)


def test_some_bounds_are_exclusive_and_far_from_zero() -> None:
    class Bounded(TransactionModel):
        high: int = Field(gt=1_000_000, lt=1_000_010)
        low: float = Field(lt=-5.0, examples=[-6.5])
        step: float = Field(ge=0, le=1, multiple_of=0.25)

    frame: Any = invent(Bounded, rows=200, seed=0)

    assert np.isin(frame["high"], range(1_000_001, 1_000_010)).all()
    assert frame["low"].max() < -5
    assert set(frame["step"]) <= {0.0, 0.25, 0.5, 0.75, 1.0}


class Local(TransactionModel):
    """Times without a zone, an entity that is a number, and one with a default."""

    at: Annotated[NaiveDatetime, EventTime("Europe/Paris")]
    shop: Annotated[int, Entity("30d")] = Field(ge=10, le=19)
    card: Annotated[str, Entity("30d")] = Field(pattern="^C[0-9]{6}$", examples=["C123456"])
    device: Annotated[str, Entity("30d", ignore=("",))] = ""
    cost: Annotated[float, Exact(1)] = Field(gt=0, lt=1, examples=[0.9])
    in_hour: Annotated[int, Count("card", "1h")]


def test_rows_of_a_class_with_history_come_in_bursts_of_the_same_entities() -> None:
    frame = invent(Local, rows=5_000, seed=0)
    frauds = frame.filter(pl.col("is_fraud") == 1)
    at_once = frauds.group_by("card", "shop", "device", pl.col("at").str.slice(0, 13)).len()["len"]

    assert list(frame["at"]) == sorted(frame["at"])
    assert "timestamp" not in frame.columns
    assert frame["card"].n_unique() == 125
    assert set(frame["shop"]) == set(range(10, 20))
    assert at_once.mean() > 2
    assert Local.from_rows(frame.drop("is_fraud").to_dicts())


def test_the_columns_of_history_are_not_in_the_invented_file() -> None:
    frame = invent(Purchase, rows=1_000, seed=0)

    assert set(frame.columns) == {*Purchase.model_fields, "is_fraud"}
    assert invent(Purchase, rows=1_000, seed=0).equals(frame)
