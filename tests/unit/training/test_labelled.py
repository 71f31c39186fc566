"""A labelled file as arrays: which labels count, and which times."""

from pathlib import Path
from typing import Any

import pytest

from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.labelled import LabelledRows, read_labelled
from tests.support.factories import transaction_json
from tests.support.files import LABEL, rows_of, save


def labelled(path: Path, *, skip_bad_rows: bool = False, label: str = LABEL) -> LabelledRows:
    return read_labelled(path, Transaction, label=label, skip_bad_rows=skip_bad_rows)


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


def test_times_of_several_zones_are_put_in_the_order_in_which_they_were(tmp_path: Path) -> None:
    times = ["2026-11-24T00:30:00+02:00", "2026-11-23T23:00:00Z", "2026-11-23T23:30:00"]

    for ending in (".csv", ".ndjson", ".parquet"):
        rows = [{**row, "timestamp": time} for row, time in zip(rows_of(3), times, strict=True)]
        data = labelled(save(tmp_path / f"rows{ending}", rows))

        assert data.times is not None
        assert [str(time)[:19] for time in data.times] == [
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


def test_the_fingerprint_is_of_the_rows_and_labels(tmp_path: Path) -> None:
    rows = rows_of(24)
    changed = [{**row, "amount": row["amount"] + (i == 5) * 1e-9} for i, row in enumerate(rows)]

    prints = [labelled(save(tmp_path / "rows.csv", each)).described()["sha256"] for each in (rows, rows, changed)]

    assert prints[0] == prints[1] != prints[2]
