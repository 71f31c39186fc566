"""A first transaction class from the headers that teams' files have."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from typer.testing import CliRunner

from riskline.cli.main import app, run
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.errors import DatasetError, SettingsError
from riskline.worker.training.data.dataset import read_batches, write_frame
from riskline.worker.training.data.first_class import from_names, from_rows
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.imports.reference import Reference
from tests.support.foreign_models import dumped, imported

RANDOM = np.random.default_rng(0)
COUNT = 400
FRAUD = (RANDOM.random(COUNT) < 0.05).astype(int)


def some(*values: Any) -> list[Any]:
    return [values[each] for each in RANDOM.integers(0, len(values), COUNT)]


def amounts() -> Any:
    return RANDOM.lognormal(3, 1, COUNT).round(2)


FILES: dict[str, tuple[str, Callable[[], dict[str, Any]], list[str]]] = {
    "creditcard": (
        "Class",
        lambda: {
            "Time": RANDOM.integers(0, 172_792, COUNT),
            **{f"V{each}": RANDOM.normal(size=COUNT) for each in range(1, 29)},
            "Amount": amounts(),
            "Class": FRAUD,
        },
        [],
    ),
    "PaySim": (
        "isFraud",
        lambda: {
            "step": RANDOM.integers(1, 743, COUNT),
            "type": some("PAYMENT", "TRANSFER", "CASH_OUT", "DEBIT", "CASH_IN"),
            "amount": amounts(),
            "nameOrig": [f"C{each}" for each in range(COUNT)],
            "oldbalanceOrg": amounts(),
            "isFraud": FRAUD,
            "isFlaggedFraud": np.zeros(COUNT, int),
        },
        ["nameOrig is left out: it is a text of 400 values"],
    ),
    "Sparkov": (
        "is_fraud",
        lambda: {
            "Unnamed: 0": range(COUNT),
            "cc_num": some(2_703_186_189_652_095, 630_423_337_322),
            "amt": amounts(),
            "category": some(*(f"kind {each}" for each in range(14))),
            "zip": RANDOM.integers(1_000, 99_999, COUNT),
            "lat": RANDOM.normal(40, 5, COUNT),
            "trans_num": [f"{each:032x}" for each in range(COUNT)],
            "is_fraud": FRAUD,
        },
        ["Unnamed: 0 is left out: it tells rows", "trans_num is left out"],
    ),
    "BAF": (
        "fraud_bool",
        lambda: {
            "fraud_bool": FRAUD,
            "income": RANDOM.random(COUNT).round(1),
            "velocity_6h": RANDOM.normal(5_000, 3_000, COUNT),
            "payment_type": some("AA", "AB", "AC", "AD", "AE"),
            "email_is_free": some(0, 1),
            "foreign_request": some(True, False),
            "Amount (USD)": amounts(),
            "class": some(1, 2, 3),
        },
        [],
    ),
}


def loaded(source: str, monkeypatch: pytest.MonkeyPatch, name: str = "Payment") -> Any:
    module = ModuleType("first_class_of_a_team")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "first_class_of_a_team.py", "exec"), vars(module))  # noqa: S102  # what the command wrote
    return load_transaction_class(f"{module.__name__}:{name}")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".ndjson", ".parquet"])
@pytest.mark.parametrize("kind", FILES)
def test_the_class_takes_every_row_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, ending: str
) -> None:
    label, columns, told = FILES[kind]
    frame = pl.DataFrame(columns())
    file = tmp_path / f"rows{ending}"
    write_frame(frame, file)

    written = from_rows(file, label=label, name="Payment")

    transaction_class = loaded(written.source, monkeypatch)
    assert label not in transaction_class.model_fields
    batches = list(read_batches(file, transaction_class))
    assert [refusal for batch in batches for refusal in batch.refused] == []
    ids = [each.transaction_id for batch in batches for each in batch.transactions]
    assert ids == [str(row) for row in range(1, COUNT + 1)]
    for each in told:
        assert any(each in note for note in written.notes), written.notes


def test_fields_have_the_types_bounds_and_categories_of_the_rows_and_the_example_of_a_fraud(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "transaction_id,amount,change,is_new,mcc,channel,city,is_fraud\n"
        + "".join(f"T{i},{i}.5,{i - 3},{i % 2},{5411 + i},{'wp'[i % 2]},c{i},{i == 5:d}\n" for i in range(9))
    )

    written = from_rows(file, label=None, name="CardPayment")

    assert (
        written.source
        == '''"""The transaction class, as `riskline class` wrote it: a beginning, to be edited."""

from typing import Annotated

from pydantic import Field

from riskline import Encoded, Nominal, OneHot, TransactionModel


class CardPayment(TransactionModel):
    """A row of rows.csv."""

    amount: float = Field(ge=0, examples=[5.5])
    change: int = Field(examples=[2])
    is_new: int = Field(ge=0, le=1, examples=[1])
    mcc: Annotated[int, Nominal] = Field(ge=0, examples=[5416])
    channel: Annotated[str, OneHot("p", "w", others_as_zeros=True)] = Field(examples=["p"])
    city: Annotated[str, Encoded({CITIES}, other=9)] = Field(examples=["c5"])
'''.replace("CITIES", ", ".join(f'"c{i}": {i}' for i in range(9)))
    )
    assert written.notes == []


def test_what_rows_lack_and_what_is_no_label_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("amount,age\n1.5,\n2.5,30\n")

    assert from_rows(file, label=None, name="Payment").notes == [
        "no --label was named: take the field of the label out",
        "age is missing in 1 of 2 rows, which are refused: fill it",
    ]
    with pytest.raises(DatasetError, match="has no column Class; it has amount, age"):
        from_rows(file, label="Class", name="Payment")


@pytest.mark.parametrize("column", ['"""', "a\nb", "\\", "import os", "features", "é", "2nd", "callback_url"])
def test_a_columns_name_is_no_code(monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    written = from_names(["amount", column], of=f'{column}"""', name="Payment")

    assert len(loaded(written.source, monkeypatch).feature_names()) == 2


@pytest.mark.parametrize("text", ['"""', "a'b", 'a"b', "{x}", "\\", "\n"])
def test_a_cell_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "rows.parquet"
    pl.DataFrame({"text": [text, "plain"]}).write_parquet(file)

    transaction_class = loaded(from_rows(file, label=None, name="Payment").source, monkeypatch)

    assert sum(len(batch.transactions) for batch in read_batches(file, transaction_class)) == 2


def test_a_model_that_knows_its_columns_gives_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomForestClassifier(2).fit(np.stack([amounts(), amounts()], axis=1), FRAUD)
    model.feature_names_in_ = np.array(["Amount (USD)", "hour"], dtype=object)
    file = dumped(model, tmp_path / "fraud_model.joblib")

    done = CliRunner().invoke(app, ["class", str(file), "--name", "Card"])

    assert done.exit_code == 0
    transaction_class = loaded(done.stdout, monkeypatch, "Card")
    assert transaction_class.feature_names() == ("amount_usd", "hour")
    assert "note: give each field its type" in done.stderr
    rows = Reference(np.stack([amounts(), amounts()], axis=1), None, Refusals())
    options = {"features": ("amount_usd", "hour"), "named": None, "rows": rows}
    assert imported(file, **options, renamed=transaction_class.FILE_COLUMNS).training["columns"] == [
        "amount_usd",
        "hour",
    ]


def test_a_model_without_names_is_refused_with_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = RandomForestClassifier(2).fit(np.stack([amounts(), amounts()], axis=1), FRAUD)

    assert run(["class", str(dumped(model, tmp_path / "fraud_model.joblib"))]) != 0

    assert "write the class from the rows" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("ending", "ids"), [(".csv", int), (".parquet", int), (".ndjson", str)])
def test_columns_with_other_names_and_ids_of_a_teams_own_are_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, ids: Callable[[int], Any]
) -> None:
    file = tmp_path / f"rows{ending}"
    write_frame(pl.DataFrame({"TransactionID": [ids(2_987_000), ids(2_987_001)], "Amount (USD)": [1.5, 2.5]}), file)
    written = from_rows(file, label=None, name="Payment", id_column="TransactionID")

    [batch] = read_batches(file, loaded(written.source, monkeypatch))

    assert [(each.transaction_id, each.features()) for each in batch.transactions] == [
        ("2987000", (1.5,)),
        ("2987001", (2.5,)),
    ]


def test_two_columns_for_one_field_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("Amount (USD)\n1.5\n")
    transaction_class = loaded(from_rows(file, label=None, name="Payment").source, monkeypatch)
    file.write_text("Amount (USD),amount_usd\n1.5,2.5\n")

    with pytest.raises(DatasetError, match=r"has two columns for amount_usd, of which one is Amount \(USD\)"):
        list(read_batches(file, transaction_class))


def test_a_name_for_a_field_that_there_is_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("Amount (USD)\n1.5\n")
    source = from_rows(file, label=None, name="Payment").source.replace('"amount_usd"', '"sum"')

    with pytest.raises(SettingsError, match=r"has no field sum, which FILE_COLUMNS names for the column 'Amount"):
        loaded(source, monkeypatch)
