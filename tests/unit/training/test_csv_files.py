"""Files as spreadsheets and exports make them: read right where that is plain, else refused in one line."""

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from riskline.cli.models.training import list_refusals
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.dataset import read_batches
from riskline.worker.training.data.labelled import read_labelled
from riskline.worker.training.data.rows import HEADER_AGAIN
from tests.support.factories import transaction_json

HEADER = ",".join(Transaction.model_fields)


def line(number: int, **changes: Any) -> str:
    return ",".join(str(value) for value in transaction_json(transaction_id=f"T{number}", **changes).values())


FILE = "\n".join([HEADER, line(1), line(2), line(3)])


def read(path: Path) -> tuple[list[int], list[str], list[tuple[int, tuple[str, ...]]]]:
    """The numbers of the rows, their ids, and the rows refused."""
    batches = list(read_batches(path, Transaction))
    ids = [each.transaction_id for batch in batches for each in batch.transactions]
    refused = [(each.row, each.reasons) for batch in batches for each in batch.refused]
    return [row for batch in batches for row in batch.rows], ids, refused


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_other_separators_are_found_in_the_header(tmp_path: Path, separator: str, *, packed: bool) -> None:
    content = FILE.replace(",", separator).encode()
    path = tmp_path / ("rows.csv.gz" if packed else "rows.csv")
    path.write_bytes(gzip.compress(content) if packed else content)

    assert read(path) == ([1, 2, 3], ["T1", "T2", "T3"], [])


def test_a_comma_separates_where_other_columns_have_semicolons_in_their_cells(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'{HEADER},"a;b;c;d;e;f;g;h"\n{line(1)},x;y;z\n')

    assert read(path) == ([1], ["T1"], [])


def test_empty_lines_are_passed_over_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\r\n".join([HEADER, line(1), "", line(2), ",,,,,", "", line(3, amount=-1), ""]) + "\r\n")

    assert read(path) == ([1, 3], ["T1", "T2"], [(6, ("amount: Input should be greater than 0",))])


def test_a_header_in_the_midst_of_a_file_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([HEADER, line(1), HEADER, line(2)]))

    assert read(path) == ([1, 3], ["T1", "T2"], [(2, (HEADER_AGAIN,))])


WRONG: dict[str, tuple[bytes, str]] = {
    "UTF-16": (FILE.encode("utf-16"), "is UTF-16 .*iconv -f UTF-16"),
    "UTF-16 without a mark": (FILE.encode("utf-16-le"), "is UTF-16 .*iconv -f UTF-16"),
    "Latin-1": (f"{FILE}\ncafé,".encode("latin-1"), "line 5 is not UTF-8; .*iconv -f WINDOWS-1252"),
    "too many cells": (f"{HEADER}\n{line(1)}\n{line(2)},9\n".encode(), "row 2 has 7 cells, the header has 6"),
    "too many cells beside a column that is not read": (
        f"note,{HEADER}\nx,{line(1)}\nx,y,{line(2)}\n".encode(),
        "row 2 has 8 cells, the header has 7",
    ),
    "a quote within cells of a column that is not read": (
        f'{HEADER},note\n{line(1)},5" pipe\n{line(2)},x\n{line(3)},6" pipe\n{line(4)},y\n'.encode(),
        'has a quote within a cell.*"5"" pipe"',
    ),
    "a column twice": (f"{HEADER},amount\n{line(1)},9\n".encode(), "has the column amount twice"),
    "a decimal comma": (
        FILE.replace(",", ";").replace("T2;", "T2;1,5;", 1).encode(),
        r"amount has a decimal comma \(1,5\): write numbers with a point",
    ),
    "Excel's first line": (f"sep=;\n{FILE}".encode(), "its first line is sep=;, for Excel: remove that line"),
    "old Macs": (FILE.replace("\n", "\r").encode(), "line ends of old Macs"),
    "Excel": (b"PK\x03\x04" + bytes(50), "is an Excel file or a zip archive"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
    "packed": (gzip.compress(FILE.encode()), r"name it so that it ends in \.csv\.gz"),
    "empty": (b"\n", "cannot be read: it is empty"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_read_right_is_one_line_with_what_to_do(tmp_path: Path, kind: str) -> None:
    content, said = WRONG[kind]
    (tmp_path / "rows.csv").write_bytes(content)

    with pytest.raises(DatasetError, match=said) as refused:
        read(tmp_path / "rows.csv")

    assert "\n" not in str(refused.value)


def test_a_column_that_is_not_read_may_be_there_twice(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"{HEADER},note,note\n{line(1)},a,b\n")

    assert read(tmp_path / "rows.csv")[1] == ["T1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"transaction_id": "a"}]', r"is a JSON array, .*jq -c '\.\[\]'"),
        (b'{\n  "transaction_id": "a"\n}\n', "objects over several lines"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16"),
    ],
)
def test_json_that_is_not_one_object_a_line_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "rows.ndjson").write_bytes(content)

    with pytest.raises(DatasetError, match=said):
        read(tmp_path / "rows.ndjson")


def test_a_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "rows.ndjson").write_bytes(b"\xef\xbb\xbf" + orjson.dumps(transaction_json(transaction_id="T1")))
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf" + FILE.encode())

    assert read(tmp_path / "rows.ndjson")[1] == ["T1"]
    assert read(tmp_path / "rows.csv")[1] == ["T1", "T2", "T3"]


def labelled(path: Path) -> Any:
    return read_labelled(path, Transaction, label="is_fraud", skip_bad_rows=True)


def test_a_file_of_a_header_alone_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"{HEADER},is_fraud\n")

    with pytest.raises(DatasetError, match="has no rows, only the names of its columns"):
        labelled(tmp_path / "rows.csv")


def test_ids_that_are_there_twice_are_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(
        "\n".join([f"{HEADER},is_fraud", *(f"{line(number)},{number % 2}" for number in (1, 2, 1, 3, 2))])
    )

    found = labelled(tmp_path / "rows.csv")

    assert len(found.rows) == 5
    assert (found.refusals.repeated, found.refusals.first_repeated, found.refusals.total) == (2, (3, "T1"), 0)
    list_refusals(found.refusals, Transaction)
    told = capsys.readouterr().err
    assert "2 rows with a transaction_id that an earlier row has (first: row 3, T1)" in told
    assert "left out" not in told
