"""What a record says of its transaction's history is read back to the bit, or not at all."""

import math
import random
import struct
from typing import Any

import orjson
import pytest

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import Transaction
from riskline.shared.store.kept_history import history_in, history_members, order_in
from riskline.shared.store.records import erased, failed, flaw, queued_record, replayed, state_of
from tests.support.factories import a_transaction
from tests.support.histories import Purchase, purchase

NOW = "2026-11-24T03:15:07.123Z"
ROUNDS = 300


@pytest.fixture
def history() -> History:
    found = history_of(Purchase)
    assert found is not None
    return found


def lacking(**others: Any) -> Purchase:
    return Purchase.from_row(purchase(**others))


def record_of(transaction: Purchase | Transaction) -> dict[str, Any]:
    record: dict[str, Any] = orjson.loads(queued_record(transaction, submitted_at=NOW, request_id="r").record)
    return record


def any_values(chance: random.Random, history: History) -> list[float]:
    """Numbers of any size, whole where the class says int."""

    def number() -> float:
        while not math.isfinite(found := struct.unpack("d", chance.randbytes(8))[0]):
            pass
        return float(found)

    return [float(round(chance.uniform(0, 2**53))) if each.whole else number() for each in history.columns]


def test_any_values_come_back_bit_for_bit(history: History) -> None:
    chance = random.Random(1)
    for _ in range(ROUNDS):
        try:
            known = lacking().with_history(any_values(chance, history))
        except ValueError:
            continue  # a feature made no number of them
        read = history_in(record_of(known), history)

        assert read is not None
        assert struct.pack("12d", *read) == struct.pack("12d", *known.history_values().values())
        assert lacking().with_history(read).features() == known.features()


def test_a_sum_beyond_64_bits_comes_back_as_it_was(history: History) -> None:
    known = lacking().with_history([2.0**80 if each.whole else 0.0 for each in history.columns])

    read = history_in(record_of(known), history)

    assert read is not None
    assert lacking().with_history(read).history_values() == known.history_values()


def test_when_its_entities_observed_it_comes_back(history: History) -> None:
    order = (7, *[None] * (len(history.entities) - 1))
    record = record_of(lacking().with_history([0.0] * len(history.columns), order))

    assert order_in(record, history) == order
    for damaged in ([], [7], [0] * len(order), ["7"] * len(order), [True] * len(order), {}):
        assert order_in({**record, "history_order": damaged}, history) is None
    assert order_in(record_of(lacking().with_history([0.0] * len(history.columns))), history) is None


def test_what_was_away_is_not_there(history: History) -> None:
    record = record_of(lacking())

    assert record["history"] == "away"
    assert record["history_of"] == history.fingerprint
    assert history_in(record, history) is None
    assert record["request_id"] == "r"


def test_a_class_without_history_keeps_nothing_of_it() -> None:
    assert history_members(a_transaction()) == b""
    assert not {"history", "history_of"} & record_of(a_transaction()).keys()


def known_record(history: History) -> dict[str, Any]:
    return record_of(lacking().with_history([1.0] * len(history.columns)))


@pytest.mark.parametrize(
    "damage",
    [
        {"history_of": "00000000"},
        {"history_of": None},
        {"history": None},
        {"history": {}},
        {"history": "here"},
        {"history": [1.0] * 12},
    ],
)
def test_values_of_other_columns_are_not_used(history: History, damage: dict[str, Any]) -> None:
    assert history_in({**known_record(history), **damage}, history) is None


@pytest.mark.parametrize("value", [None, "3", True, [], math.nan, math.inf, 1.5])
def test_one_damaged_value_is_not_replaced_by_a_zero(history: History, value: Any) -> None:
    record = known_record(history)
    record["history"]["purchases_1h"] = value

    assert history_in(record, history) is None


def test_one_missing_value_is_not_replaced_by_a_zero(history: History) -> None:
    record = known_record(history)
    del record["history"]["mean_30d"]

    assert history_in(record, history) is None


@pytest.mark.parametrize(("member", "value"), [("history", 5), ("history", None), ("history_of", 5)])
def test_a_record_with_something_else_in_its_place_is_malformed(history: History, member: str, value: Any) -> None:
    assert flaw({**known_record(history), member: value}) == member


def test_a_failed_one_that_is_tried_again_has_its_history_and_an_erased_one_has_none(history: History) -> None:
    record = known_record(history)

    after = orjson.loads(failed("P-1", record, "a reason").record)
    again = orjson.loads(replayed(after))
    gone = orjson.loads(erased(after, erased_at=NOW))

    assert history_in(again, history) == history_in(record, history)
    assert not {"history", "history_of"} & gone.keys()


@pytest.mark.parametrize("away", [True, False])
def test_a_client_is_shown_the_columns_or_that_they_were_away(history: History, *, away: bool) -> None:
    record = record_of(lacking()) if away else known_record(history)

    state = state_of("P-1", record)

    assert state["history"] == ("away" if away else record["history"])
    assert "history_of" not in state
    assert "history" not in state_of("TXN", record_of(a_transaction()))
