"""The console shows the history of a transaction, and tries one with a history that is typed in or looked up."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import pytest

from riskline.ingest.console.try_one.form_fields import form_fields_of
from riskline.ingest.console.try_one.typed_history import Known, history_inputs_of, with_history, wrong_numbers
from riskline.ingest.console.try_one.variation import Variation
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import HistoryRequiredError, HistoryUnavailableError
from riskline.shared.model.registry import Registry
from tests.support.console_pages import Open
from tests.support.faulty_history import FaultyHistory
from tests.support.histories import Purchase, purchase
from tests.support.models import write_version_with_history
from tests.unit.console.test_console_try_one import Made

HISTORY = history_of(Purchase)
assert HISTORY is not None
COLUMNS = [column.name for column in HISTORY.columns]
INPUTS = history_inputs_of(Purchase)
NOTHING_TYPED = dict.fromkeys(COLUMNS, "")
ALL_TYPED = {name: str(number) for number, name in enumerate(COLUMNS)}


async def looked_up(transaction: TransactionModel) -> TransactionModel:
    return transaction.with_history([7.0] * len(COLUMNS))


async def away(transaction: TransactionModel) -> TransactionModel:
    return transaction


async def required(transaction: TransactionModel) -> TransactionModel:
    raise HistoryRequiredError("the history is away")


async def known(typed: dict[str, str], look: Any = looked_up) -> Known:
    return await with_history(Purchase.from_row(purchase()), INPUTS, {**NOTHING_TYPED, **typed}, look)


async def test_a_column_that_is_left_empty_is_looked_up() -> None:
    found = await known({"purchases_1h": "3"})

    values = {each.name: (each.value, each.source) for each in found.columns}
    assert values["purchases_1h"] == ("3", "typed in")
    assert values["spent_24h"] == ("7.0", "looked up")
    assert found.transaction.history_values() == {**dict.fromkeys(COLUMNS, 7), "purchases_1h": 3}


async def test_nothing_is_looked_up_where_all_is_typed_in() -> None:
    found = await known(ALL_TYPED, look=None)

    assert list(found.transaction.history_values().values()) == list(range(len(COLUMNS)))
    assert {each.source for each in found.columns} == {"typed in"}


@pytest.mark.parametrize("look", [away, required])
async def test_while_the_history_is_away_it_lacks_it_or_has_what_is_typed_in(look: Any) -> None:
    assert (await known({}, look)).transaction.lacks_history
    found = await known({"minutes_since": "2.5"}, look)
    values = {each.name: (each.value, each.source) for each in found.columns}
    assert values["minutes_since"] == ("2.5", "typed in")
    assert values["mean_30d"] == ("-1.0", "as for a first one")


async def test_a_class_without_history_has_no_such_fields() -> None:
    assert history_inputs_of(Transaction) == []


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ({"purchases_1h": "many"}, [("purchases_1h", "Input should be a whole number")]),
        ({"purchases_1h": "2.5"}, [("purchases_1h", "Input should be a whole number")]),
        ({"mean_30d": "x"}, [("mean_30d", "Input should be a number")]),
        ({"mean_30d": "9" * 400}, [("mean_30d", "Input should be a number")]),
        ({"mean_30d": "2.5", "purchases_1h": "3.0"}, []),
    ],
)
def test_what_is_no_number_of_a_column_is_told(typed: dict[str, str], wrong: list[tuple[str, str]]) -> None:
    assert wrong_numbers(INPUTS, {**NOTHING_TYPED, **typed}) == wrong


async def test_columns_of_history_are_varied_and_entities_are_not() -> None:
    model: Any = Made(lambda row: min(1.0, row["purchases_1h"] / 10), Purchase, usual={"purchases_1h": (0, 10)})
    transaction = (await known({"purchases_1h": "3"})).transaction

    variation = Variation(transaction, [*form_fields_of(Purchase), *INPUTS], model)

    varied = {each.field.name: each for each in variation.fields}
    scores = [each.fraud_probability for each in varied["purchases_1h"].outcomes if each is not None]
    assert (min(scores), max(scores)) == (0, 1)
    assert varied["times_here"].values[0] == 0
    assert "card_id" not in varied
    assert ("card_id", "another one has another history") in variation.left_out


def page_of(typed: dict[str, str]) -> str:
    model = Made(lambda row: 0.9 if row["purchases_1h"] > 3 else 0.1, Purchase)
    twin: Any = Made(lambda row: 0.2, Purchase)
    twin.feature_names = Purchase.twin_feature_names()
    model.twin = twin
    sent = {name: str(value) for name, value in purchase().items() if name != "transaction_id"}
    open_console = Open(model=model, transaction_class=Purchase)
    return unescape(open_console.post("/try", **sent, **typed).text)


def test_the_page_shows_the_columns_that_it_decided_by() -> None:
    page = page_of({**ALL_TYPED, "purchases_1h": "5"})

    assert re.search(r'purchases_1h</td><td class="n">5</td><td>typed in', page)
    assert "badge DECLINE" in page


def test_the_page_names_a_column_that_is_no_number() -> None:
    page = page_of({"purchases_1h": "many"})

    assert "<strong>purchases_1h</strong>: Input should be a whole number" in page


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_of_a_transaction_shows_its_history_with_its_values(shown: bool) -> None:
    page = stored({"purchases_1h": 5, "mean_30d": 41.27}, shown=shown)

    assert ('purchases_1h</td><td class="mono">5<' in page) is shown
    assert ('name="mean_30d" value="41.27"' in page) is shown


def test_the_page_of_a_transaction_that_was_decided_without_history_says_so() -> None:
    assert "The history was away" in stored("away", shown=False)


def stored(history: Any, *, shown: bool) -> str:
    console = Open(model=Made(lambda row: 0.1, Purchase), transaction_class=Purchase)
    record = {
        "v": 1,
        "status": "queued",
        "submitted_at": "2026-11-24T03:15:07.123Z",
        "transaction": purchase(),
        "history": history,
        "history_of": "12345678",
    }
    console.api.store.records["P-1"] = orjson.dumps(record)
    return unescape((console.post if shown else console.get)("/transactions/P-1").text)


def test_a_column_that_is_left_empty_is_what_the_history_has_and_is_not_added_to() -> None:
    model = Made(lambda row: min(1.0, row["purchases_1h"] / 10), Purchase)
    console = Open(model=model, transaction_class=Purchase)
    for number in range(3):
        body = orjson.dumps(purchase(number, seconds=number))
        answer = console.api.client.simulate_post("/score-transaction", body=body, content_type="application/json")
        assert answer.json["fraud_probability"] == number / 10

    sent = {name: str(value) for name, value in purchase(seconds=9).items() if name != "transaction_id"}
    pages = [unescape(console.post("/try", **sent).text) for _ in range(2)]

    for page in pages:
        assert re.search(r'purchases_1h</td><td class="n">3</td><td>looked up', page)


def version_of(models_dir: Path, *, day: int) -> str:
    made = write_version_with_history(
        models_dir,
        Purchase,
        by_history=("purchases_1h", 4),
        by_twin=("items", 4),
        created_at=f"2026-11-{day}T03:15:00.000Z",
    )
    return made.version


def test_another_version_is_not_activated_on_a_cold_history_but_one_can_go_back(tmp_path: Path) -> None:
    first, second, third = (version_of(tmp_path, day=day) for day in (24, 25, 26))
    registry = Registry(tmp_path)
    console = Open(models_dir=tmp_path, transaction_class=Purchase)

    assert console.post("/models/switch", version=first, replaces="").status_code == 303
    refused = console.post("/models/switch", version=second, replaces=first)

    assert refused.status_code == 409
    assert "the history is cold: of card_id it has nothing of 30d" in unescape(refused.text)
    assert f"riskline models activate {second} --cold" in unescape(refused.text)
    assert registry.active_version() == first

    registry.activate(third)
    assert console.post("/models/switch", version=first, replaces=third).status_code == 303
    assert registry.active_version() == first


def test_a_history_that_is_away_keeps_no_version_from_being_activated(tmp_path: Path) -> None:
    first, second = (version_of(tmp_path, day=day) for day in (24, 25))
    Registry(tmp_path).activate(first)
    history = FaultyHistory(None)
    console = Open(models_dir=tmp_path, transaction_class=Purchase, history=history)

    async def fails() -> None:
        raise HistoryUnavailableError("away")

    history.marks = fails  # type: ignore[method-assign]

    assert console.post("/models/switch", version=second, replaces=first).status_code == 303


@pytest.mark.parametrize("twin", [True, False])
def test_the_page_of_models_says_what_decides_without_history(tmp_path: Path, *, twin: bool) -> None:
    write_version_with_history(
        tmp_path, Purchase, by_history=("purchases_1h", 4), by_twin=("items", 4) if twin else None
    )

    page = Open(models_dir=tmp_path, transaction_class=Purchase).get("/models").text

    words = dict(re.findall(r"<div><dt>([^<]*)</dt><dd>([^<]*)</dd></div>", page))
    assert words["Columns of history"] == "12"
    assert words.get("Without history declines above") == ("0.7" if twin else None)
    assert words.get("Average precision without history") == ("0.5000" if twin else None)
    assert ("decides nothing: no twin" in page) is not twin
