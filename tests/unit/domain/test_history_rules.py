"""A wrong declaration of history is one clear sentence when the class is loaded."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Self

import pytest
from pydantic import AwareDatetime, Field, NaiveDatetime, create_model, model_validator

from riskline import (
    Count,
    Distinct,
    Encoded,
    Entity,
    EventTime,
    Exact,
    InputOnly,
    Last,
    Mean,
    Nominal,
    SettingsError,
    SinceLast,
    Total,
    TransactionModel,
    check_class,
    feature,
)
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.class_rules import problem_of
from riskline.shared.domain.history.markers import ColumnMarker, Largest, Seen, Smallest, Spread
from tests.support.histories import Purchase, purchase

TIME: Any = Annotated[AwareDatetime, EventTime]
CARD: Any = Annotated[str, Entity("30d")]
IN_HOUR: Any = Annotated[int, Count("card_id", "1h")]


def problem(**fields: Any) -> str | None:
    """What is wrong with a class of these fields, beside an event time, a card and a number where it has none."""
    named = {"at": TIME, "card_id": CARD, "cost": Annotated[float, Exact(2)], **fields}
    given: Any = {name: told if isinstance(told, tuple) else (told, ...) for name, told in named.items() if told}
    return problem_of(create_model("Payment", __base__=TransactionModel, **given), "transaction_id")


@pytest.mark.parametrize(
    "column",
    [
        IN_HOUR,
        Annotated[float, Count("card_id", "30d")],
        Annotated[int, Distinct("shop", "card_id", "7d", up_to=1024)],
        Annotated[bool, Seen("shop", "card_id", "7d")],
        Annotated[int, Last("code", "card_id", empty=-1), Nominal],
        Annotated[float, Mean("cost", "card_id", "7d"), InputOnly],
        Annotated[float, Mean("cost", ("card_id", "device"), "7d")],
        Annotated[int, Total("code", "card_id", "15min")],
        (IN_HOUR, Field(description="Payments in an hour.")),
    ],
)
def test_what_is_right_is_taken(column: Any) -> None:
    assert (
        problem(shop=Annotated[str, Encoded({"a": 1})], code=int, device=Annotated[int, Entity("7d")], x=column) is None
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"at": None, "x": IN_HOUR},
            (
                "has x, a column of history, and no event time: mark the field that says when the transaction took "
                "place, Annotated[AwareDatetime, EventTime]"
            ),
        ),
        ({"cost": None, "x": IN_HOUR}, "has no column but those of history: give it one that is known without"),
        ({"later": TIME}, "has 2 event times, at and later: keep one"),
        (
            {"at": Annotated[str, EventTime]},
            (
                "field at is a str, and an event time must be an AwareDatetime, or a datetime with its zone, "
                "such as EventTime('Europe/Paris')"
            ),
        ),
        ({"at": Annotated[date, EventTime]}, "field at is a date, and an event time must be"),
        ({"at": Annotated[AwareDatetime | None, EventTime]}, "and an event time must be"),
        (
            {"at": Annotated[datetime, EventTime]},
            (
                "field at takes times without a zone: make it an AwareDatetime, or say in which zone they are, such as "
                "EventTime('Europe/Paris')"
            ),
        ),
        ({"at": Annotated[NaiveDatetime, EventTime()]}, "field at takes times without a zone"),
        ({"at": Annotated[AwareDatetime, EventTime("UTC")]}, "field at has a zone in each time: write EventTime"),
        ({"at": (TIME, "2026-01-01T00:00:00Z")}, "field at is the event time, which must be sent: leave its"),
        ({"card_id": Annotated[bool, Entity("1d")]}, "field card_id is a bool, and an Entity must be a str or an int"),
        ({"card_id": Annotated[str | None, Entity("1d")]}, "and an Entity must be a str or an int"),
        (
            {"card_id": Annotated[str, Entity("1d", ignore=(0,))]},
            "field card_id is a str, and its Entity ignores 0, which it cannot be",
        ),
        (
            {"card_id": (Annotated[str, Entity("1d")], "")},
            (
                "field card_id may be left out and is then '', which would be one entity of all that leave it out: "
                "give the Entity ignore=('',), or leave the default out"
            ),
        ),
        (
            {"card_id": (Annotated[str, Entity("1d")], Field(max_length=2000))},
            "field card_id allows 2,000 characters, and an Entity may have 1,000",
        ),
        ({"at": Annotated[AwareDatetime, EventTime, Entity("1d")]}, "is marked as Entity and EventTime: choose one"),
        ({"n": Annotated[int, Exact(2)]}, "field n is an int, and Exact says how many decimal places a float has"),
        ({"x": Annotated[int, Count]}, 'field x has Count without saying of what: write Count("card_id", "1h")'),
        (
            {"x": Annotated[int, Count("card", "1h")]},
            "field x is Count of card, which is no field of the class (did you mean card_id?)",
        ),
        (
            {"x": Annotated[int, Count("cost", "1h")]},
            'field x is Count of cost, which is no Entity: mark it so, such as Annotated[str, Entity("30d")]',
        ),
        (
            {"x": Annotated[int, Count("card_id", "31d")]},
            'field x looks back 31d, and card_id is kept for 30d: give it Entity("31d")',
        ),
        (
            {"shop": Annotated[str, Entity("7d")], "x": Annotated[int, Count(("card_id", "shop"), "30d")]},
            "field x looks back 30d, and shop is kept for 7d",
        ),
        ({"x": Annotated[float, Mean("price", "card_id", "1h")]}, "field x is Mean of price, which is no field"),
        (
            {"price": float, "x": Annotated[float, Mean("price", "card_id", "1h")]},
            "field x is Mean of price, a float: say how many decimal places it has, such as Annotated[float, Exact(2)]",
        ),
        ({"x": Annotated[float, Mean("card_id", "card_id", "1h")]}, "field x is Mean of card_id, which is a str"),
        (
            {"n": IN_HOUR, "x": Annotated[float, Mean("n", "card_id", "1h")]},
            "field x is Mean of n, which is computed from history itself: name a field that is sent",
        ),
        (
            {"x": Annotated[int, Distinct("cost", "card_id", "1h")]},
            "field x is Distinct of cost, which is a float: only texts and whole numbers are told apart",
        ),
        (
            {"x": Annotated[int, Distinct("at", "card_id", "1h")]},
            "field x is Distinct of at, which is an AwareDatetime",
        ),
        (
            {"x": Annotated[int, Seen("card_id", "card_id", "1h")]},
            "field x is Seen of card_id for each card_id, which is always the same: name another field",
        ),
        ({"x": Annotated[str, Count("card_id", "1h")]}, "field x is a str, and Count makes an int or a float of it"),
        ({"x": Annotated[bool, Count("card_id", "1h")]}, "field x is a bool, and Count makes an int or a float of it"),
        ({"x": Annotated[int, Mean("cost", "card_id", "1h")]}, "field x is an int, and Mean makes a float of it"),
        ({"x": Annotated[int, Total("cost", "card_id", "1h")]}, "field x is an int, and Total makes a float of it"),
        ({"x": Annotated[int, SinceLast("card_id", empty=0)]}, "field x is an int, and SinceLast makes a float of it"),
        (
            {"n": int, "x": Annotated[int, Last("n", "card_id", empty=0.5)]},
            "field x is an int, and its empty is 0.5",
        ),
        ({"x": (IN_HOUR, 0)}, "field x is computed from history, so that it needs no default: leave it out"),
        ({"x": (IN_HOUR, Field(ge=0))}, "field x is computed from history by Count, so that it cannot have Ge as well"),
        ({"x": Annotated[int, Count("card_id", "1h"), Entity("1d")]}, "so that it cannot have Entity as well"),
        ({"x": (IN_HOUR, Field(alias="y"))}, "field x has an alias: a column of history has one name"),
        (
            {"x": Annotated[int, Count("card_id", "1h"), Count("card_id", "2h")]},
            "field x is marked as Count: make each a column of its own",
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(fields: dict[str, Any], told: str) -> None:
    found = problem(**fields)

    assert found is not None
    assert told in found


@pytest.mark.filterwarnings("ignore:Field name")
def test_a_column_with_the_name_of_a_method_is_refused() -> None:
    assert problem(features=IN_HOUR) == (
        "field features has the name of a method or an attribute of the class: give it another"
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Count("card_id", "1x"), "'1x' is no length of time: write a whole number and s, min, h or d, such as"),
        (lambda: Count("card_id", "0h"), r"'0h' must be longer than nothing and at most ten years \('3660d'\)"),
        (lambda: Entity("0d"), "must be longer than nothing"),
        (lambda: Entity("1d", ignore="unknown"), "Entity's ignore must be a tuple of values"),  # type: ignore[arg-type]
        (lambda: EventTime("Europe/Pariss"), "EventTime knows no time zone 'Europe/Pariss': write a name such as"),
        (lambda: EventTime("../etc/passwd"), "EventTime knows no time zone"),
        (lambda: Exact(-1), "Exact takes a number of decimal places from 0 to 15, not -1"),
        (lambda: Exact(16), "from 0 to 15, not 16"),
        (lambda: Exact(True), "not True"),
        (lambda: Distinct("a", "b", "1h", up_to=0), "Distinct counts up_to a number from 1 to 1024, not 0"),
        (lambda: Distinct("a", "b", "1h", up_to=1025), "not 1025"),
        (lambda: SinceLast("a", unit="w", empty=0), "SinceLast knows the units s, min, h, d, not 'w'"),
        (lambda: Last("a", "b", empty=float("nan")), "Last needs a finite number for empty, not nan"),
        (lambda: Mean("a", "b", "1h", empty=None), "Mean needs a finite number for empty, not None"),  # type: ignore[arg-type]
        (lambda: Count((), "1h"), "Count needs the name of a field, or a tuple of several, for its entity"),
        (lambda: Count(("a", "a"), "1h"), "Count names a field twice"),
    ],
)
def test_a_marker_that_means_nothing_is_refused_where_it_is_written(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ('Entity needs to know for how long history is kept: write Entity("30d")', "card_id: Annotated[str, Entity]"),
        ("Exact needs to know the number of decimal places: write Exact(2)", "cost: Annotated[float, Exact]"),
        ("'1x' is no length of time", 'card_id: Annotated[str, Entity("1x")]'),
    ],
)
def test_a_class_that_cannot_be_made_is_told_by_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, wrong: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = f"wrong_{abs(hash(wrong))}"
    head = "from typing import Annotated\nfrom riskline import Entity, Exact, TransactionModel\n"
    (tmp_path / f"{module}.py").write_text(f"{head}class Payment(TransactionModel):\n    {wrong}\n")

    with pytest.raises(SettingsError) as refused:
        load_transaction_class(f"{module}:Payment")
    assert told in str(refused.value)


@pytest.mark.parametrize("kind", [Count, Total, Mean, Largest, Smallest, Spread, Distinct, SinceLast, Last, Seen])
def test_each_kind_shows_in_its_docstring_how_it_is_written(kind: type[ColumnMarker]) -> None:
    found = problem(x=Annotated[int, kind])

    assert found is not None
    assert found.startswith(f'field x has {kind.__name__} without saying of what: write {kind.__name__}("')
    assert found.endswith(")")


class Dividing(Purchase):
    @feature
    def ratio(self) -> float:
        return self.cost / self.purchases_1h


class Hiding(Purchase):
    @feature
    def hidden(self) -> float:
        return float(getattr(self, "mean_" + self.channel.replace("web", "30d")))


def test_a_division_by_zero_for_a_new_card_is_found_when_the_class_is_loaded() -> None:
    with pytest.raises(SettingsError) as refused:
        load_transaction_class("tests.unit.domain.test_history_rules:Dividing")

    assert "without a past (purchases_1h=0, spent_24h=0, mean_30d=-1" in str(refused.value)
    assert "ratio: The derived feature raised ZeroDivisionError" in str(refused.value)


def test_a_use_of_history_that_no_code_shows_is_found_when_the_class_is_loaded() -> None:
    with pytest.raises(SettingsError, match=r"it uses mean_30d before history is known.*self\.mean_30d"):
        load_transaction_class("tests.unit.domain.test_history_rules:Hiding")


class Validating(Purchase):
    @model_validator(mode="after")
    def check(self) -> Self:
        if self.times_here > 100:
            raise ValueError("too often")
        return self


def test_a_validator_that_uses_history_is_found_when_the_class_is_loaded() -> None:
    with pytest.raises(SettingsError, match="it uses times_here before history is known"):
        load_transaction_class("tests.unit.domain.test_history_rules:Validating")


def test_a_class_with_history_is_checked_with_examples_of_what_is_sent() -> None:
    assert load_transaction_class("tests.support.histories:Purchase") is Purchase
    check_class(Purchase, [purchase(), purchase(device_id="D")])
    with pytest.raises(SettingsError, match="purchases_1h: Computed from history: leave it out"):
        check_class(Purchase, [purchase(purchases_1h=2)])
