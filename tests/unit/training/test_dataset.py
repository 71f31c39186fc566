"""Every kind of file gives the transactions that the HTTP doors would make of it, and says which rows are none."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskline import Count, Entity, EventTime, Exact
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import clock
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.dataset import BATCH_ROWS, ENDINGS, estimated_rows, read_batches
from riskline.worker.training.data.rows import COUNTED_REASONS, Refusal, Refusals
from tests.integration.running import PATIENCE_SECONDS
from tests.support.factories import transaction_json
from tests.support.files import rows_of, save


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


def test_bad_rows_of_every_kind_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    good, bad = orjson.dumps(transaction_json()), orjson.dumps(transaction_json(customer_age=17))
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b"\n".join([bad, b"{", good, b"[1]", b"", bad]))

    transactions, refusals = read(path)

    assert len(transactions) == 1
    assert [refusal.row for refusal in refusals.first] == [1, 2, 4, 6]


def test_a_whole_number_spelled_as_a_float_spoils_no_other_line(tmp_path: Path) -> None:
    ages = [b"24", b"24.0", b"24.5", b"30"]
    line = orjson.dumps(transaction_json(customer_age=0)).replace(b'"customer_age":0', b'"customer_age":%b')
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b"\n".join(line % age for age in ages))

    transactions, refusals = read(path)

    assert [each.customer_age for each in transactions] == [24, 24, 30]
    assert [refusal.row for refusal in refusals.first] == [3]


def test_what_stands_beside_a_transaction_stays_with_its_row(tmp_path: Path) -> None:
    rows = [transaction_json(transaction_id=f"T{i}", customer_age=17 if i == 2 else 40, note=i) for i in range(5)]
    for path in (save(tmp_path / "rows.ndjson", rows), save(tmp_path / "rows.parquet", rows)):
        (batch,) = read_batches(path, Transaction, needed=["note"])

        assert batch.rows == [1, 2, 4, 5]
        assert [each.transaction_id for each in batch.transactions] == ["T0", "T1", "T3", "T4"]
        assert batch.extras == [{"note": 0}, {"note": 1}, {"note": 3}, {"note": 4}]


def test_reasons_that_name_their_values_are_not_all_kept() -> None:
    refusals, later = Refusals(), Refusals()
    refusals.add([Refusal(row, (f"amount: {row} is odd",)) for row in range(1, COUNTED_REASONS + 100)])
    later.add([Refusal(COUNTED_REASONS + 100, ("amount: 1 is odd", "amount: none"))])

    refusals.merge(later)

    assert refusals.total == COUNTED_REASONS + 100
    assert len(refusals.by_reason) == COUNTED_REASONS
    assert refusals.by_reason["amount: 1 is odd"] == 2


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


def test_an_empty_cell_among_numbers_is_told_as_one(tmp_path: Path) -> None:
    rows = pl.DataFrame([transaction_json()] * 3)
    empty = pl.int_range(pl.len()) == 1
    rows.with_columns(pl.when(~empty).then(pl.col("amount", "customer_age"))).write_parquet(tmp_path / "rows.parquet")

    transactions, refusals = read(tmp_path / "rows.parquet")

    assert [each.customer_age for each in transactions] == [24, 24]
    assert refusals.listed() == (
        "  row 2: amount: Input should be a valid number; customer_age: Input should be a valid integer"
    )


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


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".ndjson", ".parquet"])
def test_the_number_of_rows_is_known_about(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"rows{ending}", [transaction_json(transaction_id=f"T{i:06}") for i in range(30_000)])

    rows = estimated_rows(path)

    assert rows is not None
    assert abs(rows - 30_000) <= (0 if ending == ".parquet" else 1_000)


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet"])
def test_the_number_of_rows_of_a_file_that_is_none_is_not_known(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"rows{ending}").write_bytes(b"no such thing")

    assert estimated_rows(tmp_path / f"rows{ending}") is None


@pytest.mark.parametrize("ending", [".csv", ".ndjson", ".parquet"])
def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path, ending: str) -> None:
    frame = pl.DataFrame([transaction_json()] * 1_000)
    peaks = []
    for thousands in (40, 1_000):
        path = tmp_path / f"{thousands}{ending}"
        long = pl.concat([frame] * thousands, rechunk=True)
        with_ids = long.with_columns(transaction_id=pl.lit("T") + pl.int_range(pl.len()).cast(pl.String))
        if ending == ".parquet":
            # one row group, as large as the file
            with_ids.write_parquet(path, row_group_size=10_000_000)
        else:
            {".csv": with_ids.write_csv, ".ndjson": with_ids.write_ndjson}[ending](path)
        found = subprocess.run(
            [sys.executable, "-c", PEAK_MEGABYTES, path],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        peaks.append(int(found.stdout))

    assert peaks[1] - peaks[0] < 40


PEAK_MEGABYTES = """
import sys
from pathlib import Path
from riskline.shared.domain.transaction import Transaction
from riskline.worker.training.data.dataset import read_blocks
from tests.integration.running import PATIENCE_SECONDS

for _ in read_blocks(Path(sys.argv[1]), Transaction):
    pass
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak) // 1024)
"""


class Local(TransactionModel):
    """Times without a zone, and a card that may be missing."""

    at: Annotated[datetime, EventTime("Europe/Paris")]
    card: Annotated[str, Entity("7d", ignore=("",))] = ""
    shop: Annotated[int, Entity("7d")]
    cost: Annotated[float, Exact(2)]
    in_hour: Annotated[int, Count("card", "1h")]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("text", "hours"), [("2018-07-25 00:04:12", -2), ("2018-07-25T00:04:12", -2), ("2018-07-25T00:04:12Z", 0)]
)
def test_a_file_of_a_class_with_history_has_what_a_client_sends(
    tmp_path: Path, ending: str, text: str, hours: int
) -> None:
    row = {"transaction_id": "T", "at": text, "card": "", "shop": 7, "cost": 1.5}
    history = history_of(Local)
    assert history is not None

    (read_one,), refusals = read(save(tmp_path / f"rows{ending}", [row]), Local)

    assert refusals.total == 0
    assert (read_one.card, read_one.shop, read_one.features()) == ("", 7, (1.5,))
    midnight = datetime(2018, 7, 25, 0, 4, 12, tzinfo=UTC)
    assert clock(history)(read_one) == (midnight + timedelta(hours=hours)).timestamp() * 1_000_000


def test_a_column_of_history_in_a_file_is_not_read(tmp_path: Path) -> None:
    row = {"transaction_id": "T", "at": "2018-07-25 00:04:12", "shop": 7, "cost": 1.5, "in_hour": 99}

    (read_one,), _ = read(save(tmp_path / "rows.csv", [row]), Local)

    assert read_one.lacks_history


def test_a_number_with_more_places_than_its_field_is_a_bad_row(tmp_path: Path) -> None:
    row = {"transaction_id": "T", "at": "2018-07-25 00:04:12", "shop": 7, "cost": 1.555}

    _, refusals = read(save(tmp_path / "rows.csv", [row]), Local)

    assert refusals.listed() == "  row 1: cost: Input should have at most 2 decimal places"


@pytest.mark.parametrize("ending", [".csv", ".ndjson", ".parquet"])
def test_rows_without_ids_are_known_by_their_numbers_where_no_id_is_asked_for(tmp_path: Path, ending: str) -> None:
    rows = [transaction_json(amount=10.5 + each) for each in range(3)]
    path = save(tmp_path / f"rows{ending}", [{n: v for n, v in row.items() if n != "transaction_id"} for row in rows])

    [batch] = read_batches(path, Transaction)

    assert [each.transaction_id for each in batch.transactions] == ["1", "2", "3"]
    with pytest.raises(DatasetError, match="has no column transaction_id"):
        list(read_batches(path, Transaction, needed=("transaction_id",)))


def test_whole_numbers_of_a_parquet_file_are_ids(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.parquet", [transaction_json(transaction_id=each) for each in (7, 2_987_000)])

    [batch] = read_batches(path, Transaction)

    assert [each.transaction_id for each in batch.transactions] == ["7", "2987000"]
