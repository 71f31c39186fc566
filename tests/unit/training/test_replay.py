"""A file's columns of history are those that its rows would have been given one by one."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskline import Count, Entity, EventTime, Exact, InputOnly, Mean, Total, TransactionModel, feature
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observing
from riskline.shared.errors import DatasetError
from riskline.shared.model.history import Fold
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.worker.training.data.labelled import LabelledRows, read_labelled
from tests.support.files import LABEL, save
from tests.support.histories import Purchase
from tests.support.histories import purchase as purchase_now

START = datetime(2025, 6, 24, 3, 15, 7, tzinfo=UTC)

NEW_YORK = ZoneInfo("America/New_York")


class Taxi(TransactionModel):
    """Times without a zone, and a column that only features use."""

    at: Annotated[datetime, EventTime("America/New_York")]
    driver: Annotated[int, Entity("30d", ignore=(0,))]
    fare: Annotated[float, Exact(2)]
    rides_1h: Annotated[int, Count("driver", "1h")]
    usual: Annotated[float, Mean("fare", "driver", "30d", empty=1), InputOnly]

    @feature
    def fare_to_usual(self) -> float:
        """How many times the driver's usual fare."""
        return self.fare / self.usual


class Plain(TransactionModel):
    """Columns of history that no feature uses."""

    at: Annotated[datetime, EventTime("UTC")]
    card_id: Annotated[str, Entity("30d")]
    cost: Annotated[float, Exact(2)]
    spent: Annotated[float, Total("cost", "card_id", "1d")]
    items: int

    @feature
    def hour(self) -> int:
        """Hour of the day."""
        return self.at.hour


def purchase(number: int = 1, *, seconds: float = 0, **others: Any) -> dict[str, Any]:
    """The JSON of a purchase of a past year: the clock may not be behind a file's times."""
    return purchase_now(number, at=(START + timedelta(seconds=seconds)).isoformat(), **others)


def labelled(path: Path, cls: type[TransactionModel] = Purchase, *, skip_bad_rows: bool = False) -> LabelledRows:
    return read_labelled(path, cls, label=LABEL, skip_bad_rows=skip_bad_rows)


def purchases(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Labelled rows, each with all fields, as in a CSV."""
    return [{"device_id": "", "channel": "pos", "items": 1, LABEL: at % 2, **row} for at, row in enumerate(rows)]


def one_by_one(cls: type[TransactionModel], rows: list[dict[str, Any]]) -> np.ndarray:
    """The rows' features as doors give them, which get the rows in the order of their times."""
    history = history_of(cls)
    assert history is not None
    observing, fold, store = Observing(history, b"secret"), Fold(history), MemoryHistory(history)
    fields = [{name: cell for name, cell in row.items() if name in cls.model_fields} for row in rows]
    transactions = [cls.from_row(row) for row in fields]
    observations = [observing.of(transaction) for transaction in transactions]
    vectors: dict[int, tuple[float, ...]] = {}
    for at in sorted(range(len(rows)), key=lambda at: observations[at].at_us):
        (seen,) = asyncio.run(store.observe([observations[at]]))
        vectors[at] = transactions[at].with_history(fold.columns(observations[at], seen).values).features()
    return np.array([vectors[at] for at in range(len(rows))])


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and found.tobytes() == expected.tobytes()


EVENTS = st.lists(
    st.builds(
        purchase,
        number=st.integers(1, 30),
        seconds=st.sampled_from([0, 1, 60, 61, 3_600, 3_600.5, 86_399, 86_400, 200_000, 2_592_000, 3_000_000]),
        card_id=st.sampled_from(["C1", "C2", "é"]),
        merchant_id=st.sampled_from(["M1", "M2"]),
        device_id=st.sampled_from(["", "unknown", "D1", "D2"]),
        cost=st.sampled_from([0.01, 0.1, 0.29, 1.1, 19.99, 1e9]),
        channel=st.sampled_from(["pos", "web"]),
        items=st.integers(0, 1000),
    ),
    min_size=2,
    max_size=40,
    unique_by=lambda row: row["transaction_id"],
)


@given(rows=EVENTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_gives_each_row_the_bits_that_a_door_gives_it(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    rows = purchases(*rows)

    for ending in (".csv", ".ndjson"):
        assert same_bits(labelled(save(tmp_path / f"rows{ending}", rows)).rows, one_by_one(Purchase, rows))


def test_many_events_of_one_entity_make_the_same_bits_as_well(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    rows = [
        purchase(number, seconds=float(seconds), cost=float(cents) / 100, device_id=f"D{device}")
        for number, (seconds, cents, device) in enumerate(
            zip(draw.integers(0, 90_000, 900), draw.integers(1, 90_000, 900), draw.integers(0, 40, 900), strict=True)
        )
    ]
    rows = purchases(*rows)

    assert same_bits(labelled(save(tmp_path / "rows.csv", rows)).rows, one_by_one(Purchase, rows))


def test_rows_are_replayed_by_time_then_line_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    rows = purchases(purchase(1, seconds=30), purchase(2, seconds=10), purchase(3, seconds=20), purchase(4, seconds=10))

    count = Purchase.feature_names().index("purchases_1h")

    assert labelled(save(tmp_path / "rows.csv", rows)).rows[:, count].tolist() == [3, 0, 2, 1]


def test_a_repeated_id_counts_once_and_has_its_first_values_again(tmp_path: Path) -> None:
    first, again = purchase(1), {**purchase(1), "at": purchase(seconds=600)["at"]}
    rows = purchases(purchase(2, seconds=900), again, first, purchase(3, seconds=300), purchase(4, seconds=-60))
    count = Purchase.feature_names().index("purchases_1h")

    data = labelled(save(tmp_path / "rows.csv", rows))

    assert data.rows[:, count].tolist() == [3, 1, 1, 2, 0]
    assert data.refusals.repeated == 1


def test_times_of_several_zones_are_the_moments_that_they_name(tmp_path: Path) -> None:
    zones = (UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-7)))
    rows = purchases(
        *(
            {**purchase(n), "at": (START + timedelta(seconds=n)).astimezone(zone).isoformat()}
            for n, zone in enumerate(zones)
        )
    )

    data = labelled(save(tmp_path / "rows.csv", rows))

    assert same_bits(data.rows, one_by_one(Purchase, rows))
    assert data.times is not None
    assert data.times.tolist() == [(START + timedelta(seconds=n)).replace(tzinfo=None) for n in range(3)]


def rides(*times: str, **others: Any) -> list[dict[str, Any]]:
    return [
        {"transaction_id": f"R{n}", "at": time, "driver": 7, "fare": 12.5, LABEL: n % 2, **others}
        for n, time in enumerate(times)
    ]


def both(number: int, at: str, **others: Any) -> dict[str, Any]:
    """A labelled row with the fields of both classes."""
    fields = {"card_id": "c", "driver": 1, "cost": 1.0, "fare": 1.0, "items": 1}
    return {"transaction_id": f"T{number}", "at": at, **fields, LABEL: number % 2, **others}


def test_times_without_a_zone_are_of_the_zone_of_the_class_and_shown_in_it(tmp_path: Path) -> None:
    rows = rides("2025-03-09T01:59:00", "2025-03-09T03:01:00", "2025-07-01T00:10:00", "2025-07-01T04:20:00Z")

    for ending in (".csv", ".ndjson"):
        data = labelled(save(tmp_path / f"rows{ending}", rows), Taxi)

        # clocks were put forward: two minutes lie between the first two
        assert data.rows[:, Taxi.feature_names().index("rides_1h")].tolist() == [0, 1, 0, 1]
        assert same_bits(data.rows, one_by_one(Taxi, rows))
        assert data.times is not None
        assert data.times[3].item() == datetime(2025, 7, 1, 0, 20)  # noqa: DTZ001  # as its clocks show it


def test_a_column_that_only_features_use_is_no_column_of_the_model(tmp_path: Path) -> None:
    data = labelled(save(tmp_path / "rows.csv", rides("2025-07-01T00:00:00", "2025-07-02T00:00:00")), Taxi)

    assert Taxi.feature_names() == ("fare", "rides_1h", "fare_to_usual")
    assert data.rows.tolist() == [[12.5, 0, 12.5], [12.5, 0, 1]]


def test_what_names_no_entity_has_the_columns_of_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.csv", rides("2025-07-01T00:00:00", "2025-07-01T00:01:00", driver=0))

    assert labelled(path, Taxi).rows.tolist() == [[12.5, 0, 12.5]] * 2


def test_columns_stand_at_their_places_where_no_feature_uses_them(tmp_path: Path) -> None:
    rows = [
        {
            "transaction_id": f"T{n}",
            "at": f"2025-07-01T0{n}:00:00",
            "card_id": "c",
            "cost": 1.5,
            "items": n,
            LABEL: n % 2,
        }
        for n in range(3)
    ]

    assert Plain.feature_names() == ("cost", "spent", "items", "hour")
    assert labelled(save(tmp_path / "rows.csv", rows), Plain).rows.tolist() == [
        [1.5, 0, 0, 0],
        [1.5, 1.5, 1, 1],
        [1.5, 3, 2, 2],
    ]


@pytest.mark.parametrize("cls", [Plain, Taxi])
def test_a_row_without_a_label_is_in_the_history_of_later_ones_and_a_bad_row_is_not(
    tmp_path: Path, cls: type[TransactionModel]
) -> None:
    times = [f"2025-07-01T00:0{n}:00" for n in range(5)]
    rows = [
        {
            "transaction_id": f"T{n}",
            "at": at,
            "card_id": "c",
            "driver": 1,
            "cost": 1,
            "fare": 1,
            "items": 1,
            LABEL: n % 2,
        }
        for n, at in enumerate(times)
    ]
    rows[1][LABEL] = 7
    rows[2] |= {"cost": 1.234, "fare": 1.234}
    path = save(tmp_path / "rows.csv", rows)

    with pytest.raises(DatasetError, match="2 rows that are no transactions"):
        labelled(path, cls)
    data = labelled(path, cls, skip_bad_rows=True)

    # the count of the card's, and the sum of 1 each
    assert data.rows[:, 1].tolist() == [0, 2, 3]
    assert data.times is not None
    assert [time.minute for time in data.times.tolist()] == [0, 3, 4]


@pytest.mark.parametrize("cls", [Plain, Taxi])
def test_a_time_ahead_of_the_clock_is_refused_as_at_a_door(tmp_path: Path, cls: type[TransactionModel]) -> None:
    now = datetime.now(NEW_YORK)
    times = [now - timedelta(hours=1), now + timedelta(hours=1), now - timedelta(minutes=30)]
    rows = [both(n, at.isoformat()) for n, at in enumerate(times)]
    path = save(tmp_path / "rows.csv", rows)

    with pytest.raises(DatasetError, match="row 2: at: Input should be at most five minutes ahead"):
        labelled(path, cls)
    assert labelled(path, cls, skip_bad_rows=True).rows[:, 1].tolist() == [0, 1]


def test_a_feature_that_fails_on_its_history_refuses_its_row_with_the_reason(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.csv", rides("2025-07-01T00:00:00", "2025-07-01T01:00:00", fare=0.0))

    with pytest.raises(DatasetError, match="row 2: fare_to_usual: The derived feature raised ZeroDivisionError at"):
        labelled(path, Taxi)
