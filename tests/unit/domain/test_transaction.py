import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import SettingsError
from tests.support.factories import transaction_json


def refusals(body: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as refused:
        Transaction.parse(orjson.dumps(body))
    return {".".join(map(str, error["loc"])): error["type"] for error in refused.value.errors()}


def test_the_feature_vector_has_the_order_of_the_fields() -> None:
    transaction = Transaction.parse(orjson.dumps(transaction_json()))

    assert Transaction.feature_names() == (
        "amount",
        "merchant_category_code",
        "customer_age",
        "distance_from_home",
        "is_online_transaction",
    )
    assert transaction.features() == (4500.0, 5942, 24, 1250.5, 1)


def test_a_number_with_an_integral_value_is_an_integer() -> None:
    transaction = Transaction.parse(orjson.dumps(transaction_json(customer_age=24.0, is_online_transaction=1.0)))

    assert transaction == Transaction.from_row(transaction_json())
    assert b'"customer_age":24,' in transaction.to_json()


def test_an_integral_spelling_does_not_hide_the_other_fields_errors() -> None:
    assert refusals(transaction_json(customer_age=17.0, amount=-1, is_online_transaction=1.0)) == {
        "customer_age": "greater_than_equal",
        "amount": "greater_than",
    }


@pytest.mark.parametrize("name", ["transaction_id", *Transaction.feature_names()])
def test_a_missing_field_is_named(name: str) -> None:
    assert refusals(transaction_json(**{name: None})) == {name: "missing"}


@pytest.mark.parametrize("name", Transaction.feature_names())
@pytest.mark.parametrize("value", ["24", True, False, [], {}, "", "NaN"])
def test_a_string_or_a_boolean_is_never_a_number(name: str, value: Any) -> None:
    assert list(refusals(transaction_json(**{name: value}))) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", 0),
        ("amount", -0.01),
        ("merchant_category_code", 0),
        ("merchant_category_code", 10_000),
        ("merchant_category_code", 5942.5),
        ("customer_age", 17),
        ("customer_age", 131),
        ("distance_from_home", -0.1),
        ("is_online_transaction", 2),
        ("is_online_transaction", -1),
        ("transaction_id", ""),
        ("transaction_id", "x" * 129),
        ("transaction_id", "a b"),
        ("transaction_id", "a/b"),
        ("transaction_id", "a\n"),
        ("transaction_id", "ü"),
        ("transaction_id", 7),
    ],
)
def test_a_value_out_of_its_range_is_refused(name: str, value: Any) -> None:
    assert list(refusals(transaction_json(**{name: value}))) == [name]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 400])
def test_what_is_not_a_finite_number_is_refused(literal: str) -> None:
    body = orjson.dumps(transaction_json()).replace(b"4500.0", literal.encode())

    with pytest.raises(ValidationError) as refused:
        Transaction.parse(body)

    assert [error["loc"] for error in refused.value.errors()] == [("amount",)]


def test_an_unknown_field_is_refused() -> None:
    assert refusals(transaction_json(country="DE")) == {"country": "extra_forbidden"}


@pytest.mark.parametrize("transaction_id", ["A", "a-b_c.d~e:f", "9" * 128])
def test_an_id_of_the_allowed_characters_is_taken(transaction_id: str) -> None:
    assert Transaction.from_row(transaction_json(transaction_id=transaction_id)).transaction_id == transaction_id


def test_a_transaction_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Transaction.from_row(transaction_json()).amount = 1.0  # type: ignore[misc]


class TeamTransaction(TransactionModel):
    """A team's own transaction."""

    basket_value: float


class WordyTransaction(TransactionModel):
    """Has a field that is no number."""

    country: str


def test_a_teams_own_class_brings_its_own_features() -> None:
    found = load_transaction_class("tests.unit.domain.test_transaction:TeamTransaction")

    assert found.feature_names() == ("basket_value",)
    assert found.from_row({"transaction_id": "a", "basket_value": 2.5}).features() == (2.5,)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere:Class", "cannot be imported"),
        ("riskline.shared.domain.transaction:Missing", "cannot be imported"),
        ("riskline.shared.domain.transaction", "cannot be imported"),
        ("riskline.shared.domain.policy:Thresholds", "not a subclass"),
        ("tests.unit.domain.test_transaction:WordyTransaction", "country must be an int, a float or a bool"),
        ("riskline.shared.domain.transaction:TransactionModel", "no field besides"),
    ],
)
def test_a_class_that_cannot_serve_is_refused_with_the_reason(path: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_transaction_class(path)


ROOT = Path(__file__).parents[3]
MAY_NAME_FIELDS = {
    "shared/domain/transaction.py",  # the definition
    "worker/training/data/simulate.py",  # makes rows of the built-in class
    "worker/training/data/simulate_cards.py",  # makes rows of the example class with history
}


def test_no_other_file_names_a_field() -> None:
    field = re.compile(rf"\b(?:{'|'.join(Transaction.feature_names())})\b")
    files = [
        path
        for room in ("shared", "ingest", "worker", "cli")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".lua", ".html", ".js", ".c"} and "__pycache__" not in path.parts
    ]

    naming = {str(path.relative_to(ROOT)) for path in files if field.search(path.read_text())}

    assert len(files) > 100
    assert naming == MAY_NAME_FIELDS
