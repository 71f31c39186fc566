"""Which rows of a file are trained on, which test, and which are left out."""

from pathlib import Path

import pytest

from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.labelled import LabelledRows, read_labelled
from riskline.worker.training.data.periods import LeftOut, Moment, TrainingPeriods, between, split
from tests.support.files import LABEL, rows_of, save


def hours(tmp_path: Path, count: int = 96) -> LabelledRows:
    """Rows of the first days of April 2025, one an hour."""
    path = save(tmp_path / "rows.csv", rows_of(count))
    return read_labelled(path, Transaction, label=LABEL, skip_bad_rows=False)


def periods(**moments: str) -> TrainingPeriods:
    return TrainingPeriods(**{name: Moment.parse(text) for name, text in moments.items()})


def window(data: LabelledRows) -> list[str]:
    return [text[5:13] for text in data.described()["window"]]


def test_the_split_is_at_the_day_that_was_named(tmp_path: Path) -> None:
    training, test, left_out = split(hours(tmp_path), periods(test_from="2025-04-04"), seed=0)

    assert (len(training.labels), len(test.labels), left_out) == (72, 24, ())
    assert training.described()["window"] == ["2025-04-01T00:00:00", "2025-04-03T23:00:00"]
    assert test.rows[:, 0].min() > training.rows[:, 0].max()


def test_without_a_day_the_last_quarter_is_the_test(tmp_path: Path) -> None:
    training, test, left_out = split(hours(tmp_path), seed=0)

    assert (len(training.labels), len(test.labels), left_out) == (72, 24, ())


def test_a_day_counts_whole_and_a_time_is_a_moment(tmp_path: Path) -> None:
    days = split(hours(tmp_path), periods(train_from="2025-04-02", train_to="2025-04-02"), seed=0)
    times = split(hours(tmp_path), periods(train_from="2025-04-01T12:00", train_to="2025-04-02T18:00"), seed=0)

    assert window(days.training) == ["04-02T00", "04-02T23"]
    assert window(days.test) == ["04-03T00", "04-04T23"]
    assert window(times.training) == ["04-01T12", "04-02T17"]
    assert window(times.test) == ["04-02T18", "04-04T23"]


def test_the_days_for_late_labels_are_neither_trained_on_nor_tested(tmp_path: Path) -> None:
    named = periods(train_from="2025-04-02", train_to="2025-04-02", test_from="2025-04-04")

    training, test, left_out = split(hours(tmp_path), named, seed=0)

    assert (window(training), window(test)) == (["04-02T00", "04-02T23"], ["04-04T00", "04-04T23"])
    assert left_out == (
        LeftOut(24, "from before 2025-04-02"),
        LeftOut(24, "between those to train on and those that test"),
    )


def test_the_last_quarter_is_of_the_rows_from_the_first_day_on(tmp_path: Path) -> None:
    training, test, _ = split(hours(tmp_path), periods(train_from="2025-04-03"), seed=0)

    assert (window(training), window(test)) == (["04-03T00", "04-04T11"], ["04-04T12", "04-04T23"])


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"train_from": "2025-04-03", "train_to": "2025-04-02"}, "--train-to 2025-04-02 is before --train-from"),
        ({"train_to": "2025-04-03", "test_from": "2025-04-03"}, "would be trained on and tested"),
        ({"train_from": "2025-04-03", "test_from": "2025-04-03"}, "no row is left to train on"),
        ({"train_from": "2025-04-03", "train_to": "2025-04-03", "test_from": "2025-04-04"}, None),
        ({"train_to": "2025-04-03T12:00", "test_from": "2025-04-03T12:00"}, None),
    ],
)
def test_periods_that_contradict_each_other_are_told(named: dict[str, str], sentence: str | None) -> None:
    told = periods(**named).contradiction()

    assert told is None if sentence is None else sentence in (told or "")


@pytest.mark.parametrize("text", ["June", "2025-13-01", "2025-04-01T00:00:00+02:00", "2025-04-01T00:00Z", ""])
def test_what_names_no_moment_of_the_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Moment.parse(text)


@pytest.mark.parametrize("day", ["2020-01-01", "2030-01-01"])
def test_a_part_without_rows_is_refused(tmp_path: Path, day: str) -> None:
    with pytest.raises(DatasetError, match="has 0 rows, 0 of them fraud: it needs both kinds"):
        split(hours(tmp_path, 24), periods(test_from=day), seed=0)
    with pytest.raises(DatasetError, match="no row of the file is left to train on: choose an earlier --train-from"):
        split(hours(tmp_path, 24), periods(train_from="2030-01-01"), seed=0)


def test_without_times_the_split_is_by_the_seed(tmp_path: Path) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "timestamp"} for row in rows_of(200)]
    path = save(tmp_path / "rows.csv", rows)
    data = read_labelled(path, Transaction, label=LABEL, skip_bad_rows=False)

    first, again, other = (split(data, seed=seed).test.rows.tolist() for seed in (0, 0, 1))

    assert first == again != other
    for option in ("train_from", "train_to", "test_from"):
        with pytest.raises(DatasetError, match=f"--{option.replace('_', '-')} needs a column timestamp"):
            split(data, periods(**{option: "2025-04-04"}), seed=0)
    with pytest.raises(DatasetError, match="--from and --to need a column timestamp"):
        between(data, Moment.parse("2025-04-04"), None)


def test_measured_are_the_rows_between_two_moments_of_which_either_may_be_open(tmp_path: Path) -> None:
    data = hours(tmp_path)
    second, third = Moment.parse("2025-04-02"), Moment.parse("2025-04-03T06:00")

    assert window(between(data, second, third).rows) == ["04-02T00", "04-03T05"]
    assert window(between(data, second, None).rows) == ["04-02T00", "04-04T23"]
    assert window(between(data, None, second).rows) == ["04-01T00", "04-02T23"]
    assert between(data, None, None).rows is data
    with pytest.raises(DatasetError, match="the file has those from 2025-04-01T00:00:00 to 2025-04-04T23:00:00"):
        between(data, Moment.parse("2026-01-01"), None)
