"""An observation has keyed hashes and exact numbers, and nothing else of a transaction."""

import struct
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from riskline import Count, Distinct, Entity, EventTime, Exact, Total, TransactionModel
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.markers import length_us, units
from riskline.shared.domain.history.observation import AHEAD_US, Observation, Observing, Part, too_early
from riskline.shared.domain.history.plan import History
from tests.support.histories import START, Purchase, purchase

SECRET = b"a secret of thirty-two bytes ..."


def history(cls: type[TransactionModel]) -> History:
    found = history_of(cls)
    assert found is not None
    return found


def observed(row: dict[str, Any], secret: bytes = SECRET) -> dict[str, Part | None]:
    plan = history(Purchase)
    observation = Observing(plan, secret).of(Purchase.from_row(row))
    return dict(zip([each.name for each in plan.entities], observation.parts, strict=True))


def part(row: dict[str, Any], entity: str) -> Part:
    found = observed(row)[entity]
    assert found is not None
    return found


def test_an_event_has_the_layout_that_is_kept() -> None:
    moment = (START - datetime.fromisoformat("1970-01-01T00:00:00Z")) // timedelta(microseconds=1)
    tag, name, at_us, cost = struct.unpack("<c8sqq", part(purchase(), "card_id").event)

    assert (tag, at_us, cost) == (b"E", moment, 4850)
    assert name == blake2b(b"P-1", digest_size=8, key=SECRET, person=b"id").digest()


def test_an_id_that_is_also_a_text_has_other_bytes_so_that_it_is_not_taken_for_known() -> None:
    named_like_a_card = {**purchase(), "transaction_id": "C1", "device_id": "D1"}

    event = part(named_like_a_card, "device_id").event

    assert event[-8:] == blake2b(b"C1", digest_size=8, key=SECRET).digest()
    assert event[1:9] != event[-8:]


def test_entities_are_named_by_keyed_hashes() -> None:
    card, merchant = (blake2b(each, digest_size=12, key=SECRET).hexdigest() for each in (b"C1", b"M1"))

    assert part(purchase(), "card_id").entity == card
    assert part(purchase(), "card_id+merchant_id").entity == f"{card}:{merchant}"
    assert Observing(history(Purchase), SECRET).entity(["C1", "M1"]) == f"{card}:{merchant}"
    other = observed(purchase(), b"another secret")["card_id"]
    assert other is not None
    assert other.entity != card


def test_a_secret_of_any_length_will_do() -> None:
    assert observed(purchase(), b"x" * 200)["card_id"] != observed(purchase(), b"x" * 201)["card_id"]


@pytest.mark.parametrize("device", ["", "unknown"])
def test_an_ignored_value_is_no_entity(device: str) -> None:
    assert observed(purchase(device_id=device))["device_id"] is None
    assert observed(purchase(device_id="D1"))["device_id"] is not None


def test_an_ignored_value_is_none_of_the_different_ones() -> None:
    class Devices(TransactionModel):
        at: Annotated[datetime, EventTime("UTC")]
        card_id: Annotated[str, Entity("7d")]
        device_id: Annotated[str, Entity("7d", ignore=("",))]
        devices: Annotated[int, Distinct("device_id", "card_id", "7d")]

    def carried(device: str) -> bytes:
        row = {"transaction_id": "T", "at": "2026-01-01T00:00:00", "card_id": "C", "device_id": device}
        (found,) = Observing(history(Devices), SECRET).of(Devices.from_row(row)).parts
        assert found is not None
        return found.event[-8:]

    assert carried("") == bytes(8)
    assert carried("D1") == blake2b(b"D1", digest_size=8, key=SECRET).digest()


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2018-07-25 00:04:12", 1_532_469_852_000_000),
        ("2018-07-25T00:04:12.5", 1_532_469_852_500_000),
        ("2018-07-25T00:04:12Z", 1_532_477_052_000_000),
        ("2018-10-28T02:30:00", 1_540_686_600_000_000),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_that_the_class_names(text: str, us: int) -> None:
    class Local(TransactionModel):
        at: Annotated[datetime, EventTime("Europe/Paris")]
        card_id: Annotated[str, Entity("7d")]
        in_day: Annotated[int, Count("card_id", "1d")]

    transaction = Local.from_row({"transaction_id": "T", "at": text, "card_id": "C"})
    observing = Observing(history(Local), SECRET)

    assert observing.of(transaction).at_us == us
    assert observing.of(Local.parse(transaction.to_json())).at_us == us


@pytest.mark.parametrize("at", ["1899-12-31T23:59:59Z", "2200-01-02T00:00:00Z"])
def test_a_time_outside_of_three_centuries_is_refused(at: str) -> None:
    with pytest.raises(ValidationError, match="from 1900 to 2200"):
        Purchase.from_row(purchase(at=at))


def test_a_time_of_1970_is_one() -> None:
    assert Observing(history(Purchase), SECRET).of(Purchase.from_row(purchase(at="1970-01-01T00:00:00Z"))).at_us == 0


def test_five_minutes_ahead_is_not_too_early() -> None:
    observation = Observation("T", 1_000_000_000, ())

    assert not too_early(observation, 1_000_000_000 - AHEAD_US)
    assert too_early(observation, 1_000_000_000 - AHEAD_US - 1)


def test_an_entity_of_ten_thousand_characters_is_refused() -> None:
    assert Purchase.from_row(purchase(card_id="x" * 1000))
    with pytest.raises(ValidationError, match="at most 1000 characters"):
        Purchase.from_row(purchase(card_id="x" * 10_000))


@pytest.mark.parametrize(
    ("cost", "cents"), [(0.1 + 0.2, 30), (32.269999999999996, 3227), (1e9 + 0.01, 100_000_000_001)]
)
def test_the_noise_of_float_arithmetic_is_no_further_place(cost: float, cents: int) -> None:
    assert struct.unpack("<c8sqq", part(purchase(cost=cost), "card_id").event)[3] == cents


def test_whole_numbers_may_have_noise_too() -> None:
    assert units(2.9999999999999996, 0) == 3
    assert [units(each, 0) for each in (True, 2**53, -7)] == [1, 2**53, -7]


@pytest.mark.parametrize("cost", [0.001, 1.005, 12345678.123])
def test_a_number_with_more_places_than_declared_is_refused(cost: float) -> None:
    with pytest.raises(ValidationError, match="at most 2 decimal places"):
        Purchase.from_row(purchase(cost=cost))


def test_a_number_of_more_units_than_a_float_counts_is_refused() -> None:
    class Counting(TransactionModel):
        at: Annotated[datetime, EventTime("UTC")]
        card_id: Annotated[int, Entity("7d")]
        points: int
        cost: Annotated[float, Exact(2)] = 0.0
        points_1d: Annotated[int, Total("points", "card_id", "1d")]

    row = {"transaction_id": "T", "at": "2026-01-01T00:00:00", "card_id": 7, "points": 2**53}
    assert Counting.from_row(row)
    with pytest.raises(ValidationError, match="at most 9007199254740992"):
        Counting.from_row({**row, "points": -(2**53) - 1})
    for cost in (1e15, 1.7e308, -1.7e308):
        with pytest.raises(ValidationError, match="too large to be exact"):
            Counting.from_row({**row, "cost": cost})
    with pytest.raises(ValidationError, match="card_id"):
        Counting.from_row({**row, "card_id": 2**63})


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15min", 900), ("1h", 3600), ("7d", 604_800)])
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert length_us(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text", ["", "0h", "1", "h", "1.5h", "-1h", "1 h", "90m", "1w", "3661d", "1h30min", 3600, None]
)
def test_another_text_is_no_length_of_time(text: Any) -> None:
    with pytest.raises(ValueError, match=r"longer than nothing|no length of time"):
        length_us(text)


def test_a_text_of_one_step_is_bounded_together_with_what_the_class_says() -> None:
    class Short(TransactionModel):
        at: Annotated[datetime, EventTime("UTC")]
        card_id: Annotated[str, Entity("7d")] = Field(max_length=4, pattern="^C")
        in_day: Annotated[int, Count("card_id", "1d")]

    row = {"transaction_id": "T", "at": "2026-01-01T00:00:00", "card_id": "C123"}
    assert Short.from_row(row)
    for wrong in ("C1234", "D1"):
        with pytest.raises(ValidationError, match="card_id"):
            Short.from_row({**row, "card_id": wrong})
