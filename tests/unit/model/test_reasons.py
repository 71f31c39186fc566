"""Reasons in words: how usual a value is, by the quantiles that a bundle keeps."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from riskline.shared.domain.assessment import decide, decide_all
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.bundle import quantiles
from riskline.shared.model.reasons import ValueWording, quantiles_problem
from riskline.shared.model.registry import Registry
from tests.support.factories import a_transaction
from tests.support.foreign_models import dumped, forest, imported

AMOUNTS = quantiles(np.arange(0, 1_001, 1.0))
CODES = quantiles(np.repeat([5411.0, 5942.0, 7995.0], [60, 39, 2]))

WORDS = ValueWording({"amount": AMOUNTS, "age": AMOUNTS, "code": CODES})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (4500.0, "amount 4,500.00 is far above usual"),
        (990.5, "amount 990.50 is far above usual"),
        (990.0, "amount 990.00 is above usual"),
        (900.01, "amount 900.01 is above usual"),
        (900.0, "amount 900.00 is usual"),
        (100.0, "amount 100.00 is usual"),
        (99.99, "amount 99.99 is below usual"),
        (9.9, "amount 9.90 is far below usual"),
        (0.0, "amount 0.00 is far below usual"),
        (0.00123, "amount 0.00123 is far below usual"),
        (1.5e300, "amount 1.5e+300 is far above usual"),
    ],
)
def test_a_number_is_told_by_how_high_it_is_among_those_of_the_reference(value: float, said: str) -> None:
    assert WORDS.of("amount", value, value, nominal=False) == said


def test_a_whole_number_has_no_cents() -> None:
    assert WORDS.of("age", 12_345, 12_345, nominal=False) == "age 12,345 is far above usual"


@pytest.mark.parametrize(
    ("value", "shown", "said"),
    [
        (5411, 5411, "code 5411 is common (about 59 of 100)"),
        (7995, "casino", "code casino is uncommon (about 2 of 100)"),
        (6000, 6000, "code 6000 is rare (fewer than 1 of 100)"),
        (9999, 9999, "code 9999 is new (none in the rows that the model was made with)"),
        (5411, True, "code true is common (about 59 of 100)"),
    ],
)
def test_a_code_is_neither_high_nor_low_but_frequent_or_not(value: float, shown: float | str, said: str) -> None:
    assert WORDS.of("code", value, shown, nominal=True) == said


def test_what_several_of_a_hundred_rows_have_is_common_the_most_frequent_first() -> None:
    assert WORDS.common("code") == (5411, 5942, 7995)
    assert WORDS.common("amount") == ()
    assert WORDS.common("nothing") == ()


def test_without_quantiles_only_the_value_is_told() -> None:
    assert WORDS.of("distance", 3.0, 3.0, nominal=False) == "distance 3.00"
    assert WORDS.of("channel", 2, "web", nominal=True) == "channel web"


def test_a_models_decisions_have_words_from_its_own_reference(tmp_path: Path) -> None:
    manifest = imported(dumped(forest(), tmp_path / "team.joblib"))
    model = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))
    kept = orjson.loads((tmp_path / "models" / manifest.version / "reference.json").read_bytes())["features"]
    amount = kept["amount"][99] + 1

    decision = decide(a_transaction(amount=amount), model, scored_at="", explain=True)

    said = {reason.feature: reason.text for reason in decision.reasons or ()}
    assert said["amount"].startswith(f"amount {amount:,.2f} is far above usual: ")
    assert "of 100): " in said.get("merchant_category_code", "of 100): ")


def test_each_reason_says_whether_it_raises_the_risk_or_speaks_for_the_customer(tmp_path: Path) -> None:
    manifest = imported(dumped(forest(), tmp_path / "team.joblib"))
    model = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))
    rows = [a_transaction(amount=amount, customer_age=age) for amount in (3.5, 4500.0) for age in (20, 47, 80)]

    batch = decide_all(rows, model, scored_at="", explain=range(len(rows)))
    reasons = [reason for decision in batch for reason in decision.reasons or ()]

    assert {each.contribution > 0 for each in reasons} == {True, False}
    for each in reasons:
        assert each.text.endswith(": raises the risk" if each.contribution > 0 else ": speaks for the customer")
    assert [decide(row, model, scored_at="", explain=True) for row in rows] == batch


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ([], "does not say quantiles by feature"),
        ({"features": []}, "does not say quantiles by feature"),
        ({"features": {"amount": [1.0]}}, "has not the 101 percentiles of amount"),
        ({"features": {"amount": [*AMOUNTS[1:], "9"]}}, "has not the 101 percentiles of amount"),
        ({"features": {"amount": [*AMOUNTS[1:], True]}}, "has not the 101 percentiles of amount"),
        ({"features": {"amount": AMOUNTS[::-1]}}, "has percentiles of amount that fall"),
        ({"features": {"amount": AMOUNTS}, "score": []}, None),
        ({"score": []}, None),
    ],
)
def test_a_reference_that_is_none_is_told(reference: object, said: str | None) -> None:
    assert quantiles_problem(reference) == said


@pytest.mark.parametrize(
    ("feature", "shown", "nominal", "said"),
    [
        ("age", 1_200, False, "1,200 payments in the last hour, far above usual (10 to 990)"),
        ("age", 500, False, "500 payments in the last hour, usual (10 to 990)"),
        ("amount", 950.5, False, "950.50 payments in the last hour, above usual (10.00 to 990.00)"),
        ("code", 5411, True, "5411 payments in the last hour, common (about 59 of 100)"),
        ("unknown", 5, False, "5 payments in the last hour"),
        ("unknown", 5, True, "5 payments in the last hour"),
    ],
)
def test_a_phrase_says_what_a_value_is_and_the_range_of_what_is_usual(
    feature: str, shown: float, nominal: bool, said: str
) -> None:
    assert WORDS.of(feature, shown, shown, nominal=nominal, phrase="{} payments in the last hour") == said
