"""A class that the queue could not carry, or that no model can be of, is refused when it is loaded, with what to do."""

import random
import warnings
from functools import cached_property
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
)

from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.class_rules import MAX_COLUMNS, MAX_NAME, problem_of
from riskline.shared.domain.features import Encoded, InputOnly, OneHot, feature
from riskline.shared.domain.transaction import Transaction, TransactionId, TransactionModel
from riskline.shared.errors import SettingsError
from riskline.shared.model.bundle import Manifest


class Aliased(TransactionModel):
    amount: float = Field(alias="Amount")


class Shouting(TransactionModel):
    model_config = ConfigDict(alias_generator=str.upper)

    amount: float


class Excluded(TransactionModel):
    amount: float = Field(default=1.0, exclude=True)


class Doubling(TransactionModel):
    amount: float

    @field_serializer("amount")
    def _double(self, amount: float) -> float:
        return 2 * amount


class Rounded(TransactionModel):
    amount: Annotated[float, PlainSerializer(round)]


class Written(TransactionModel):
    amount: float

    @model_serializer
    def _write(self) -> dict[str, Any]:
        return {}


class Endless(TransactionModel):
    amount: float = Field(allow_inf_nan=True)


class Lax(TransactionModel):
    model_config = ConfigDict(strict=False)

    amount: float


class Changing(TransactionModel):
    model_config = ConfigDict(frozen=False)

    amount: float


with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    class Shadowing(TransactionModel):
        parse: float  # type: ignore[assignment]


class AsProperty(TransactionModel):
    amount: float

    @property
    @feature
    def ratio(self) -> float:
        return 1.0


class Cached(TransactionModel):
    amount: float

    @cached_property
    @feature
    def ratio(self) -> float:
        return 1.0


class Static(TransactionModel):
    amount: float

    @staticmethod
    @feature
    def ratio(_self: Any) -> float:
        return 1.0


class Unprintable(TransactionModel):
    entry: Annotated[str, OneHot("chip\x07")]


class LongNamed(TransactionModel):
    entry: Annotated[str, OneHot("x" * MAX_NAME)]


class Drawing(TransactionModel):
    amount: float = Field(examples=[1.5])

    @feature
    def lot(self) -> float:
        return random.random()


class Cut(TransactionModel):
    amount: float = Field(examples=[1.5])
    days: Annotated[tuple[int, ...], InputOnly, AfterValidator(lambda days: days[1:])] = Field(examples=[[1, 2, 3]])

    @feature
    def first(self) -> int:
        return self.days[0]


class Renamed(TransactionModel):
    transaction_id: str
    amount: float


class Extended(TransactionModel):
    transaction_id: Annotated[TransactionId, AfterValidator(lambda given: given + "\r\nX-Added: 1")]
    amount: float


class Numbered(TransactionModel):
    transaction_id: TransactionId = "1"
    amount: float


class Backtracking(TransactionModel):
    model_config = ConfigDict(regex_engine="python-re")

    amount: float


class Relabelled(TransactionModel):
    amount: float

    @field_validator("transaction_id")
    @classmethod
    def label(cls, given: str) -> str:
        return given + "\r\n"


class Stripped(TransactionModel):
    amount: float

    @field_validator("*", mode="wrap")
    @classmethod
    def strip(cls, given: Any, handler: Any) -> Any:
        return handler(given)


class Documented(TransactionModel):
    transaction_id: TransactionId = Field(description="What our payment switch calls it.", examples=["P-1"])
    amount: float = Field(examples=[1.0])

    @field_validator("*", mode="before")
    @classmethod
    def strip(cls, given: Any) -> Any:
        return given.strip() if isinstance(given, str) else given


class Unknown(TransactionModel):
    amount: float
    at: "Annotated[NoSuchType, InputOnly]"  # type: ignore[name-defined]  # noqa: F821  # that is what is told


LEAVE = "has a serializer: a worker reads what pydantic itself writes, so leave it out"
REFUSED = {
    "Aliased": "field amount has an alias, by which a worker would not know it: name the field as clients send it",
    "Shouting": "field transaction_id has an alias",
    "Excluded": "field amount is excluded from the JSON that a worker reads: leave exclude out",
    "Doubling": f"field amount {LEAVE}",
    "Rounded": f"field amount {LEAVE}",
    "Written": "has a model_serializer",
    "Endless": "field amount allows numbers that JSON does not have: leave allow_inf_nan out",
    "Lax": "sets strict in its model_config, which has to be True: leave it out there",
    "Changing": "sets frozen in its model_config, which has to be True",
    "Shadowing": "field parse has the name of a method or an attribute of the class: give it another",
    "AsProperty": "feature ratio must be a plain method: leave out what stands above @feature",
    "Cached": "feature ratio must be a plain method",
    "Static": "feature ratio must be a plain method",
    "Unprintable": r"has a column 'entry_chip\\x07'; a name may have 200 characters that can be shown",
    "LongNamed": "has a column 'entry_x+'; a name may have 200 characters",
    "Drawing": "the feature lot depends on something else than the transaction",
    "Cut": "the feature first depends on something else than the transaction",
    "Renamed": "redefines transaction_id, which URLs, headers and keys are made of: leave it out",
    "Extended": "redefines transaction_id",
    "Numbered": "redefines transaction_id",
    "Backtracking": "sets regex_engine in its model_config, by which an id may end in a line break: leave it out there",
    "Relabelled": "validator label comes after the check of transaction_id and could make another of it",
    "Stripped": "validator strip comes after the check of transaction_id",
    "Unknown": "names the type NoSuchType, which its module does not have when it runs: import it there",
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_class_that_breaks_a_rule_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(SettingsError, match=REFUSED[name]):
        load_transaction_class(f"tests.unit.domain.test_class_rules:{name}")


def test_a_class_may_describe_the_id_and_clean_it_before_its_check() -> None:
    load_transaction_class("tests.unit.domain.test_class_rules:Documented")

    assert Documented.from_row({"transaction_id": " P-1\n", "amount": 1.0}).transaction_id == "P-1"


def wide(columns: int) -> type[TransactionModel]:
    fields: Any = {f"f{i}": (float, ...) for i in range(columns)}
    return create_model("Wide", __base__=TransactionModel, **fields)


@pytest.mark.parametrize("columns", [("x" * MAX_NAME,), tuple(f"f{i}" for i in range(MAX_COLUMNS))])
def test_the_columns_that_a_class_may_have_are_those_that_a_manifest_takes(columns: tuple[str, ...]) -> None:
    manifest = Manifest.__pydantic_validator__

    manifest.validate_assignment(Manifest.model_construct(), "features", columns)
    for more in ((*columns, "one") if len(columns) > 1 else (columns[0] + "x",), ("chip\x07",)):
        with pytest.raises(ValidationError):
            manifest.validate_assignment(Manifest.model_construct(), "features", more)


def test_a_class_of_more_columns_than_a_model_takes_is_refused() -> None:
    assert problem_of(wide(MAX_COLUMNS), "transaction_id") is None
    assert problem_of(wide(MAX_COLUMNS + 1), "transaction_id") == "has 4097 columns; a model takes up to 4096"


class Birthday(TransactionModel):
    amount: float = Field(examples=[2.0])

    @feature
    def today(self) -> float:
        return self.amount

    @feature
    def twice(self) -> float:
        return 2 * self.today()


class Ahead(TransactionModel):
    """Names what is defined below it."""

    amount: float = Field(examples=[2.0])
    hops: "Annotated[Hops, InputOnly]" = Field(examples=[3])

    @feature
    def reach(self) -> float:
        return self.amount * (self.hops or 0)


Hops = int | None


@pytest.mark.parametrize(("name", "columns"), [("Birthday", (2.0, 2.0, 4.0)), ("Ahead", (2.0, 6.0))])
def test_what_only_looks_forbidden_is_taken(name: str, columns: tuple[float, ...]) -> None:
    found = load_transaction_class(f"tests.unit.domain.test_class_rules:{name}")

    example = {"transaction_id": "a", "amount": 2.0, **({"hops": 3} if name == "Ahead" else {})}
    assert found.from_row(example).features() == columns


@pytest.mark.parametrize("built", [Transaction, Birthday])
def test_a_class_can_be_built_anew(built: type[TransactionModel]) -> None:
    names = built.feature_names()

    built.model_rebuild(force=True)

    assert built.feature_names() == names


@pytest.mark.parametrize(
    "make", [lambda: Encoded({5411: 0, 5812: 1}, other=2), lambda: OneHot(5411, others_as_zeros=True)]
)
def test_a_category_that_is_no_text_is_refused(make: Any) -> None:
    with pytest.raises(
        ValueError, match="the category 5411 is none: write it as one, or make the field an int with Nom"
    ):
        make()


class Lenient(TransactionModel):
    """Makes one category of several spellings."""

    model_config = ConfigDict(str_strip_whitespace=True)

    channel: Annotated[str, BeforeValidator(str.lower), Encoded({"pos": 0, "web": 1})]
    entry: Annotated[str, OneHot("chip", "keyed")]


def test_what_stands_before_an_encoding_and_the_settings_of_the_class_are_kept() -> None:
    built = Lenient.from_row({"transaction_id": "a", "channel": "WEB", "entry": " chip "})

    assert built.features() == (1, 1, 0)
    with pytest.raises(ValidationError, match="Input should be 'pos' or 'web'"):
        Lenient.from_row({"transaction_id": "a", "channel": "FAX", "entry": "chip"})
    assert Lenient.model_json_schema()["properties"]["channel"]["enum"] == ["pos", "web"]
