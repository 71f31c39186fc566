"""Every kind of file gives the transactions that the HTTP doors would make of it, and says which rows are none."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import DatasetError
from shared.transaction import Transaction, TransactionModel
from tests.factories import transaction_json
from tests.unit.files import rows_of, save
from worker.training.dataset import BATCH_ROWS, ENDINGS, Refusals, read_batches


def read(path: Path, transaction_class: type[TransactionModel] = Transaction) -> tuple[list[Any], Refusals]:
    transactions, refusals = [], Refusals()
    for batch in read_batches(path, transaction_class):
        assert len(batch.rows) == len(batch.transactions) == len(batch.extras)
        transactions += batch.transactions
        refusals.add(batch.refused)
    return transactions, refusals


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_transactions_that_http_would(tmp_path: Path, ending: str) -> None:
    rows = rows_of(30)

    transactions, refusals = read(save(tmp_path / f"rows{ending}", rows))

    bodies = [{name: row[name] for name in Transaction.model_fields} for row in rows]
    assert transactions == [Transaction.parse(orjson.dumps(body)) for body in bodies]
    assert refusals.total == 0


number = st.one_of(
    st.floats(min_value=0, exclude_min=True, allow_infinity=False).map(repr),
    st.decimals(min_value=Decimal("0.01"), max_value=10**9, places=2).map(str),
    st.from_regex(r"[1-9][0-9]{0,8}\.[0-9]{1,40}", fullmatch=True),
    st.from_regex(r"[1-9]\.[0-9]{1,30}e-?[1-9][0-9]?", fullmatch=True),
)


@given(numbers=st.lists(number, min_size=1, max_size=50))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_number_in_csv_has_the_bits_it_has_in_json(tmp_path: Path, numbers: list[str]) -> None:
    body = orjson.dumps(transaction_json(amount=0)).replace(b'"amount":0', b'"amount":%b')
    path = tmp_path / "rows.csv"
    save(path, [transaction_json(amount=text) for text in numbers])

    transactions, refusals = read(path)

    assert transactions == [Transaction.parse(body % text.encode()) for text in numbers]
    assert refusals.total == 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_bad_rows_are_counted_by_reason_and_the_first_are_listed_by_number(tmp_path: Path, ending: str) -> None:
    rows = rows_of(40)
    for i in range(10, 30, 2):
        rows[i]["customer_age"] = 17
    rows[12]["amount"] = -1.0

    transactions, refusals = read(save(tmp_path / f"rows{ending}", rows))

    assert len(transactions) == 30
    assert refusals.total == 10
    assert refusals.by_reason["customer_age: Input should be greater than or equal to 18"] == 10
    assert refusals.by_reason["amount: Input should be greater than 0"] == 1
    assert [refusal.row for refusal in refusals.first] == [11, 13, 15, 17, 19]
    assert refusals.listed().splitlines()[1] == (
        "  row 13: amount: Input should be greater than 0; customer_age: Input should be greater than or equal to 18"
    )
    assert refusals.listed().splitlines()[-1] == "  and 5 more"


@pytest.mark.parametrize("cell", ["", "abc", "nan", "inf", "-inf", "1e999", "1,5", "0x10", "true", " 5"])
def test_a_cell_that_is_no_number_is_a_bad_row_and_spoils_no_other(tmp_path: Path, cell: str) -> None:
    rows = [transaction_json(transaction_id=str(i), amount=text) for i, text in enumerate(["1.5", cell, "2.5"])]

    transactions, refusals = read(save(tmp_path / "rows.csv", rows))

    assert [each.amount for each in transactions] == [1.5, 2.5]
    assert [refusal.row for refusal in refusals.first] == [2]
    assert refusals.first[0].reasons[0].startswith("amount: ")


def test_an_integral_float_is_an_integer_and_another_is_a_bad_row(tmp_path: Path) -> None:
    rows = [transaction_json(transaction_id=age, customer_age=age) for age in ("24", "24.0", "24.5", "2.4e1")]

    transactions, refusals = read(save(tmp_path / "rows.csv", rows))

    assert [each.customer_age for each in transactions] == [24, 24, 24]
    assert [refusal.row for refusal in refusals.first] == [3]


def test_the_types_of_ndjson_are_those_of_each_line_not_of_the_first(tmp_path: Path) -> None:
    amounts = [*[5] * 200, 4.5, "4.5", True, None]

    transactions, refusals = read(
        save(tmp_path / "rows.ndjson", [{**transaction_json(), "amount": amount} for amount in amounts])
    )

    assert [each.amount for each in transactions] == [*[5.0] * 200, 4.5]
    assert [refusal.row for refusal in refusals.first] == [202, 203, 204]


def test_a_line_that_is_no_object_is_a_bad_row_and_an_empty_one_is_none(tmp_path: Path) -> None:
    good = orjson.dumps(transaction_json())
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b"\n".join([good, b"", b"{", b"[1]", b'{"a": NaN}', b"\xff", good]))

    transactions, refusals = read(path)

    assert len(transactions) == 2
    assert [refusal.row for refusal in refusals.first] == [3, 4, 5, 6]


@pytest.mark.parametrize("ending", [".csv", ".ndjson", ".parquet"])
def test_row_numbers_go_on_from_batch_to_batch(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    frame = pl.DataFrame([transaction_json()] * (BATCH_ROWS + 10))
    frame = frame.with_columns(amount=pl.when(pl.int_range(pl.len()) == BATCH_ROWS + 4).then(-1.0).otherwise(1.0))
    {".csv": frame.write_csv, ".ndjson": frame.write_ndjson, ".parquet": frame.write_parquet}[ending](path)

    transactions, refusals = read(path)

    assert len(transactions) == BATCH_ROWS + 9
    assert [refusal.row for refusal in refusals.first] == [BATCH_ROWS + 5]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"rows{ending}", [transaction_json(amount=None, customer_age=None)])

    with pytest.raises(DatasetError, match=r"no column amount, customer_age; it has transaction_id, merchant"):
        read(path)


def test_columns_that_nobody_asked_for_are_let_be(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.csv", rows_of(3, note="whatever"))

    transactions, _ = read(path)

    assert len(transactions) == 3


def test_a_column_of_decimals_or_single_floats_is_read_exactly(tmp_path: Path) -> None:
    decimals = pl.DataFrame([transaction_json(amount=39.08)]).with_columns(pl.col("amount").cast(pl.Decimal(12, 2)))
    singles = decimals.with_columns(pl.col("amount").cast(pl.Float32))
    decimals.write_parquet(tmp_path / "decimals.parquet")
    singles.write_parquet(tmp_path / "singles.parquet")

    assert [each.amount for each in read(tmp_path / "decimals.parquet")[0]] == [39.08]
    assert [each.amount for each in read(tmp_path / "singles.parquet")[0]] == [float(np.float32(39.08))]


class Transfer(TransactionModel):
    fee: float
    is_first: bool


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_transaction_class_has_its_own_columns(tmp_path: Path, ending: str) -> None:
    rows = [{"transaction_id": "a", "fee": 0.1, "is_first": True}, {"transaction_id": "b", "fee": 0, "is_first": False}]

    transactions, refusals = read(save(tmp_path / f"rows{ending}", rows), Transfer)

    assert [each.features() for each in transactions] == [(0.1, True), (0.0, False)]
    assert refusals.total == 0


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("rows.csv", b"", "cannot be read"),
        ("rows.ndjson", b"", "it has none"),
        ("rows.parquet", b"PAR1", "cannot be read"),
        ("rows.csv", b"transaction_id\n\xff\xfe\n", "no column"),
        ("rows.xlsx", b"", r"the name must end in \.csv"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DatasetError, match=f"{name}.*{why}"):
        read(tmp_path / name)


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet"])
def test_a_file_that_was_cut_off_is_never_taken_for_a_shorter_one(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"rows{ending}", rows_of(500))
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DatasetError, match="cannot be read"):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"rows.csv: there is no such file"):
        read(tmp_path / "rows.csv")


def test_a_file_is_read_a_batch_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = io.StringIO()
    pl.DataFrame([transaction_json()] * (2 * BATCH_ROWS + 1)).write_csv(text)
    path.write_text(text.getvalue())

    sizes = [len(batch.rows) for batch in read_batches(path, Transaction)]

    assert sum(sizes) == 2 * BATCH_ROWS + 1
    assert max(sizes) <= BATCH_ROWS
