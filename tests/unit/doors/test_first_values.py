"""A repeated transaction gets the columns of the first from its record."""

from typing import Any

import orjson
import pytest

from riskline import feature
from riskline.ingest.history.first_values import FirstValues
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.store.kept_history import history_members
from tests.support.histories import Purchase, purchase


class Dividing(Purchase):
    @feature
    def ratio(self) -> float:
        return self.cost / self.purchases_1h


class Records:
    """Records by id."""

    def __init__(self, records: dict[str, Any]) -> None:
        self.records = records

    async def get(self, ids: list[str]) -> list[Any]:
        return [self.records.get(each) for each in ids]


def recorded(transaction: TransactionModel) -> dict[str, Any]:
    head = b'{"v":1,"transaction":' + transaction.to_json()
    members: dict[str, Any] = orjson.loads(head + history_members(transaction) + b"}")
    return members


async def first(cls: type[TransactionModel], record: dict[str, Any] | None) -> TransactionModel | None:
    history = history_of(cls)
    assert history is not None
    records: Any = Records({} if record is None else {"P-1": record})
    (found,) = await FirstValues(records, history, timeout_seconds=1).of([cls.from_row(purchase())])
    return found


async def test_they_are_those_of_the_record() -> None:
    decided = Purchase.from_row(purchase()).with_history(list(range(12)))

    found = await first(Purchase, recorded(decided))

    assert found is not None
    assert found.features() == decided.features()


async def test_one_that_was_decided_without_history_is_so_again() -> None:
    found = await first(Purchase, recorded(Purchase.from_row(purchase())))

    assert found is not None
    assert found.lacks_history


@pytest.mark.parametrize("record", [None, {"v": 1}, {"v": 1, "history": {}, "history_of": "other"}])
async def test_a_record_that_tells_nothing_gives_none(record: dict[str, Any] | None) -> None:
    assert await first(Purchase, record) is None


@pytest.mark.parametrize("of_it", [{"history_of": "other"}, {"transaction": None}, {"transaction": {"cost": 1.0}}])
async def test_a_record_of_other_windows_or_values_gives_none(of_it: dict[str, Any]) -> None:
    decided = Purchase.from_row(purchase()).with_history(list(range(12)))

    assert await first(Purchase, recorded(decided) | of_it) is None


async def test_values_with_which_the_class_fails_are_not_used() -> None:
    decided = Dividing.from_row(purchase()).with_history([1.0] * 12)
    record = recorded(decided)
    record["history"]["purchases_1h"] = 0

    assert await first(Dividing, record) is None
