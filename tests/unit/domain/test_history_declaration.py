"""A class that declares history: its columns, its plan, and a transaction without and with them."""

from datetime import datetime
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from riskline import Count, Entity, EventTime, Exact, Total, TransactionModel, feature
from riskline.shared.domain.history.declared import all_fields
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import EntityPlan, Kind, Number
from riskline.shared.domain.transaction import Transaction
from riskline.shared.domain.wrong_fields import wrong_fields
from tests.support.histories import Purchase, purchase

COLUMNS = {
    "purchases_1h": 1,
    "spent_24h": 20.5,
    "mean_30d": 10.25,
    "largest_30d": 20.0,
    "smallest_30d": 0.5,
    "spread_30d": 9.75,
    "cards_on_device": 3,
    "times_here": 4,
    "minutes_since": 2.5,
    "last_cost": 20.0,
    "seen_web": 1,
    "items_here": 9,
}


def plan(name: str, cls: type[TransactionModel] = Purchase) -> EntityPlan:
    history = history_of(cls)
    assert history is not None
    return next(each for each in history.entities if each.name == name)


def refusals(row: dict[str, Any]) -> list[dict[str, str]]:
    with pytest.raises(ValidationError) as refused:
        Purchase.from_row(row)
    return wrong_fields(refused.value)


def test_columns_of_history_stand_where_the_class_declares_them_and_features_last() -> None:
    assert Purchase.feature_names()[:5] == ("cost", "purchases_1h", "channel", "items", "spent_24h")
    assert Purchase.feature_names()[-3:] == ("hour", "cost_to_mean", "is_round")
    assert not {"at", "card_id", "merchant_id", "device_id"} & set(Purchase.feature_names())


def test_columns_of_history_are_no_fields_that_a_client_sends() -> None:
    assert not set(COLUMNS) & set(Purchase.model_fields)
    assert not set(COLUMNS) & set(Purchase.model_json_schema()["properties"])


def test_a_column_of_history_that_is_sent_is_refused_by_name_beside_all_that_is_wrong() -> None:
    assert refusals(purchase(purchases_1h=3, cost=1.234, other=1)) == [
        {"pointer": "/cost", "detail": "Input should have at most 2 decimal places"},
        {"pointer": "/purchases_1h", "detail": "Computed from history: leave it out"},
        {"pointer": "/other", "detail": "Unknown field"},
    ]


def test_a_transaction_lacks_history_until_it_is_given_the_columns() -> None:
    bare = Purchase.from_row(purchase(items=3))
    made = bare.with_history(list(COLUMNS.values()))

    assert (bare.lacks_history, made.lacks_history) == (True, False)
    assert (bare.history_values(), made.history_values()) == ({}, COLUMNS)
    assert bare.features() == (48.5, 0, 3, 3, False)
    assert bare.twin_feature_names() == ("cost", "channel", "items", "hour", "is_round")
    values = {**COLUMNS, "cost": 48.5, "channel": 0, "items": 3, "hour": 3, "is_round": False}
    values["cost_to_mean"] = 48.5 / 10.25
    assert made.features() == tuple(values[name] for name in made.feature_names())
    assert made.shown_values()[made.feature_names().index("channel")] == "pos"
    assert made.to_json() == bare.to_json()


def test_a_column_is_an_int_where_the_class_says_so() -> None:
    made = Purchase.from_row(purchase()).with_history([float(each) for each in COLUMNS.values()])

    assert type(made.purchases_1h) is int
    assert type(made.spent_24h) is float


def test_a_wrong_number_of_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Purchase.from_row(purchase()).with_history([1.0])


def test_history_is_replaced_when_it_is_given_again() -> None:
    first = Purchase.from_row(purchase()).with_history([0.0] * len(COLUMNS))
    again = first.with_history(list(COLUMNS.values()))

    assert again.features() == Purchase.from_row(purchase()).with_history(list(COLUMNS.values())).features()


def test_a_copy_with_other_values_has_no_history_of_the_first() -> None:
    made = Purchase.from_row(purchase()).with_history(list(COLUMNS.values()), (1, 2))

    assert made.model_copy().history_values() == COLUMNS
    assert made.model_copy().history_order == (1, 2)
    other = made.model_copy(update={"card_id": "C2"})
    assert other.lacks_history
    assert (other.history_values(), other.history_order) == ({}, ())
    assert other.features() == Purchase.from_row(purchase(card_id="C2")).features()


def test_a_feature_that_makes_no_number_of_history_refuses_it() -> None:
    class Dividing(Purchase):
        @feature
        def ratio(self) -> float:
            return self.cost / self.purchases_1h

    bare = Dividing.from_row(purchase())
    with pytest.raises(ValidationError, match="ratio"):
        bare.with_history([0.0] * len(COLUMNS))


def test_a_class_without_history_has_none_of_it() -> None:
    plain = Transaction.parse(
        b'{"transaction_id":"T","amount":1.5,"merchant_category_code":1,"customer_age":20,"distance_from_home":1,'
        b'"is_online_transaction":0}'
    )

    assert history_of(Transaction) is None
    assert not plain.lacks_history
    assert plain.history_values() == {}
    assert Transaction.twin_feature_names() == Transaction.feature_names()


def test_the_plan_has_each_entity_with_what_its_columns_need() -> None:
    card, device, both = plan("card_id"), plan("device_id"), plan("card_id+merchant_id")

    assert card.numbers == (Number("cost", 2),)
    assert (device.texts, device.ignored) == (("card_id",), (("", "unknown"),))
    assert (both.keep_us, both.event_bytes) == (30 * 86_400 * 1_000_000, 17)
    assert plan("card_id+channel").columns[0].kind is Kind.SEEN
    history = history_of(Purchase)
    assert history is not None
    assert [each.name for each in history.columns] == list(COLUMNS)
    for entity in history.entities:
        assert [history.columns[place] for place in entity.places] == list(entity.columns)


def test_what_is_kept_survives_other_names_and_another_order() -> None:
    class Before(TransactionModel):
        at: Annotated[str, EventTime]
        card_id: Annotated[str, Entity("30d")]
        cost: Annotated[float, Exact(2)]
        in_hour: Annotated[int, Count("card_id", "1h")]
        spent: Annotated[float, Total("cost", "card_id", "1d")]

    class After(TransactionModel):
        at: Annotated[str, EventTime]
        card_id: Annotated[str, Entity("30d")]
        cost: Annotated[float, Exact(2)]
        spent_in_a_day: Annotated[float, Total("cost", "card_id", "24h")]
        in_hour: Annotated[int, Count("card_id", "60min")]

    class Longer(After):
        in_hour: Annotated[int, Count("card_id", "2h")]

    assert plan("card_id", Before).fingerprint == plan("card_id", After).fingerprint
    assert plan("card_id", Before).fingerprint != plan("card_id", Longer).fingerprint
    first, second = history_of(Before), history_of(After)
    assert first is not None
    assert second is not None
    assert first.fingerprint != second.fingerprint


def test_a_subclass_keeps_the_columns_of_its_base_with_their_descriptions() -> None:
    class Base(TransactionModel):
        at: Annotated[str, EventTime]
        card_id: Annotated[str, Entity("30d")]
        in_hour: Annotated[int, Count("card_id", "1h")] = Field(description="Payments in an hour.")

    class More(Base):
        kind: int
        in_day: Annotated[int, Count("card_id", "1d")]

    assert More.feature_names() == ("in_hour", "kind", "in_day")
    assert all_fields(More)["in_hour"].description == "Payments in an hour."
    assert all_fields(More)["in_hour"].description == all_fields(Base)["in_hour"].description


def test_features_that_use_history_are_found_through_what_they_call() -> None:
    class Calling(Purchase):
        @property
        def usual(self) -> float:
            return self.mean_30d

        @feature
        def by_property(self) -> float:
            return self.usual

        @feature
        def by_method(self) -> float:
            return self._usual() + 1

        @feature
        def by_name(self) -> float:
            return float(getattr(self, "mean_30d"))  # noqa: B009  # as a team may write it

        @feature
        def by_function(self) -> float:
            return beside(self)

        @feature
        def in_a_loop(self) -> float:
            return sum(each.times_here for each in [self])

        @feature
        def all_of_it(self) -> float:
            return sum(self.history_values().values())

        @feature
        def without(self) -> float:
            return self.cost

        @feature
        def hour(self) -> int:
            return super().hour() + self.purchases_1h

    late = set(Calling.feature_names()) - set(Calling.twin_feature_names()) - set(COLUMNS)
    assert late == {
        "by_property",
        "by_method",
        "by_name",
        "by_function",
        "in_a_loop",
        "cost_to_mean",
        "hour",
        "all_of_it",
    }


def beside(transaction: Purchase) -> float:
    return transaction.mean_30d


class Ahead(TransactionModel):
    """Names what is defined below it."""

    at: Annotated[str, EventTime]
    card_id: Annotated[str, Entity("30d")]
    cost: "Annotated[Money, Exact(2)]"
    spent: "Annotated[Money, Total('cost', 'card_id', '1d')]"


Money = float


def test_a_class_that_is_complete_later_has_its_columns_then() -> None:
    Ahead.model_rebuild()

    assert Ahead.feature_names() == ("cost", "spent")
    assert set(Ahead.model_fields) == {"transaction_id", "at", "card_id", "cost"}
    assert Ahead.lacks_history


def test_a_class_can_be_built_anew() -> None:
    names = Purchase.feature_names()

    Purchase.model_rebuild(force=True)

    assert Purchase.feature_names() == names
    assert Purchase.from_row(purchase()).with_history(list(COLUMNS.values())).history_values() == COLUMNS


def test_a_field_of_a_subclass_may_stand_for_a_column() -> None:
    class Base(TransactionModel):
        at: Annotated[str, EventTime]
        card_id: Annotated[str, Entity("30d")]
        kind: int
        in_hour: Annotated[int, Count("card_id", "1h")]

    class Sent(Base):
        in_hour: int

    class Again(Sent):
        other: int

    for sent in (Sent, Again):
        assert history_of(sent) is None
        assert not sent.lacks_history
        assert "in_hour" in sent.model_fields
    assert Base.lacks_history


def test_fingerprints_do_not_change_with_a_release() -> None:
    history = history_of(Purchase)

    assert history is not None
    assert history.fingerprint == "297e7afa"
    assert [each.fingerprint for each in history.entities] == [
        "6aaaa0a4",
        "4c723f00",
        "8f0dd082",
        "f2f268e6",
        "2cc115b1",
    ]


def test_openapi_says_what_a_client_must_know_of_a_field() -> None:
    class Told(TransactionModel):
        at: Annotated[datetime, EventTime("Europe/Paris")] = Field(description="When it was.")
        card_id: Annotated[str, Entity("30d")]
        cost: Annotated[float, Exact(2)]
        points: Annotated[float, Exact(0)]
        in_hour: Annotated[int, Count("card_id", "1h")]

    told = Told.model_json_schema()["properties"]

    assert told["at"]["description"] == "When it was. Without a zone it is a time in Europe/Paris."
    assert told["cost"]["description"] == "At most 2 decimal places."
    assert told["points"]["description"] == "A whole number."
    assert told["card_id"]["maxLength"] == 1000
    assert "description" not in told["card_id"]
