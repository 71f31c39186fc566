"""A labelled file as arrays: which labels count, which rows are for training and which for the test."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.labelled import LabelledRows, read_labelled, split
from tests.support.factories import transaction_json
from tests.support.files import LABEL, rows_of, save


def labelled(path: Path, *, skip_bad_rows: bool = False, label: str = LABEL) -> LabelledRows:
    return read_labelled(path, Transaction, label=label, skip_bad_rows=skip_bad_rows, progress=lambda _rows: None)


@pytest.mark.parametrize("spelling", [(0, 1), (0.0, 1.0), (False, True), ("false", "TRUE"), ("0", " 1")])
def test_labels_are_taken_in_any_usual_spelling(tmp_path: Path, spelling: tuple[Any, Any]) -> None:
    rows = [{**transaction_json(transaction_id=str(i)), LABEL: label} for i, label in enumerate(spelling)]

    for ending in (".csv", ".ndjson", ".parquet"):
        assert labelled(save(tmp_path / f"rows{ending}", rows)).labels.tolist() == [0, 1]


def test_a_row_without_a_label_is_a_bad_row(tmp_path: Path) -> None:
    rows = [*rows_of(4), {**rows_of(5)[4], LABEL: 7}]
    path = save(tmp_path / "rows.csv", rows)

    with pytest.raises(
        DatasetError,
        match=r"has 1 row that is no transaction; (?s:.*)row 5: is_fraud: must be 0 or 1",
    ):
        labelled(path)
    assert len(labelled(path, skip_bad_rows=True).labels) == 4


def test_a_missing_label_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no column chargeback"):
        labelled(save(tmp_path / "rows.csv", rows_of(3)), label="chargeback")


def test_a_file_of_bad_rows_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no rows that are transactions"):
        labelled(save(tmp_path / "rows.csv", rows_of(3, customer_age=17)), skip_bad_rows=True)


def test_the_split_is_at_the_day_that_was_named(tmp_path: Path) -> None:
    data = labelled(save(tmp_path / "rows.csv", rows_of(96)))

    training, test = split(data, test_from=date(2025, 4, 4), seed=0)

    assert (len(training.labels), len(test.labels)) == (72, 24)
    assert training.described()["window"] == ["2025-04-01T00:00:00", "2025-04-03T23:00:00"]
    assert test.rows[:, 0].min() > training.rows[:, 0].max()


def test_without_a_day_the_last_quarter_is_the_test(tmp_path: Path) -> None:
    training, test = split(labelled(save(tmp_path / "rows.csv", rows_of(96))), test_from=None, seed=0)

    assert (len(training.labels), len(test.labels)) == (72, 24)


def test_times_of_several_zones_are_put_in_the_order_in_which_they_were(tmp_path: Path) -> None:
    times = ["2026-11-24T00:30:00+02:00", "2026-11-23T23:00:00Z", "2026-11-23T23:30:00"]

    for ending in (".csv", ".ndjson", ".parquet"):
        rows = [{**row, "timestamp": time} for row, time in zip(rows_of(3), times, strict=True)]
        data = labelled(save(tmp_path / f"rows{ending}", rows))

        assert data.times is not None
        assert [time.isoformat() for time in data.times] == [
            "2026-11-23T22:30:00",
            "2026-11-23T23:00:00",
            "2026-11-23T23:30:00",
        ]


def test_times_that_are_not_read_are_counted(tmp_path: Path) -> None:
    for ending in (".csv", ".ndjson", ".parquet"):
        rows = [{**row, "timestamp": 1_700_000_000 + i} for i, row in enumerate(rows_of(4))]
        data = labelled(save(tmp_path / f"rows{ending}", rows))

        assert (data.times, data.untimed) == (None, 4)
    assert labelled(save(tmp_path / "rows.csv", rows_of(4))).untimed == 0


def test_without_times_the_split_is_by_the_seed(tmp_path: Path) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "timestamp"} for row in rows_of(200)]
    data = labelled(save(tmp_path / "rows.csv", rows))

    first, again, other = (split(data, test_from=None, seed=seed)[1].rows.tolist() for seed in (0, 0, 1))

    assert first == again != other
    with pytest.raises(DatasetError, match="--test-from needs a column timestamp"):
        split(data, test_from=date(2025, 4, 4), seed=0)


@pytest.mark.parametrize("day", [date(2020, 1, 1), date(2030, 1, 1)])
def test_a_part_without_rows_is_refused(tmp_path: Path, day: date) -> None:
    with pytest.raises(DatasetError, match="has 0 rows, 0 of them fraud: it needs both kinds"):
        split(labelled(save(tmp_path / "rows.csv", rows_of(24))), test_from=day, seed=0)


def test_the_fingerprint_is_of_the_rows_and_labels(tmp_path: Path) -> None:
    rows = rows_of(24)
    changed = [{**row, "amount": row["amount"] + (i == 5) * 1e-9} for i, row in enumerate(rows)]

    prints = [labelled(save(tmp_path / "rows.csv", each)).described()["sha256"] for each in (rows, rows, changed)]

    assert prints[0] == prints[1] != prints[2]
