"""What a field that is no column may carry: every door, file and worker takes the same of it, or refuses it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import from_json

from riskline.ingest.submission.submissions import own_record
from riskline.shared.domain.features import InputOnly, feature
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import ConflictError
from riskline.shared.store.records import Submission, queued_record
from riskline.worker.training.data.dataset import ENDINGS, read_batches
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.files import save

MANY_DIGITS = "1" + "0" * 400
LARGEST = 2**63 - 1


class Device(BaseModel):
    """What a payment was made with."""

    serial: int = 0


class Order(TransactionModel):
    """An order with whatever a shop knows of it."""

    amount: float
    meta: Annotated[dict[str, Any], InputOnly] = Field(default_factory=dict)
    hops: Annotated[int | None, InputOnly] = None
    serial: Annotated[int, InputOnly] = 0
    list_: Annotated[list[int], InputOnly] = Field(default_factory=list)
    device: Annotated[Device, InputOnly] = Device()


CHANGES = {
    "deep inside": ('"meta":{"a":[{"b":%s}]}', "/meta/a/0/b"),
    "a number or none": ('"hops":%s', "/hops"),
    "a number": ('"serial":%s', "/serial"),
    "a list": ('"list_":[1,%s]', "/list_/1"),
    "an object": ('"device":{"serial":%s}', "/device/serial"),
}


def sent(change: str, transaction_id: str = "a") -> bytes:
    return f'{{"transaction_id":"{transaction_id}","amount":1.5,{change}}}'.encode()


@pytest.mark.parametrize("number", [MANY_DIGITS, str(LARGEST + 1), str(-LARGEST - 1), str(2**64)])
@pytest.mark.parametrize(("change", "pointer"), CHANGES.values(), ids=list(CHANGES))
def test_an_integer_that_a_reader_of_json_may_not_keep_is_refused_at_every_door(
    change: str, pointer: str, number: str
) -> None:
    assert refusals(sent(change % number)) == {pointer}
    assert Order.parse(sent(change % LARGEST)) == Order.from_row(from_json(sent(change % LARGEST)))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_refused_at_every_door(number: str) -> None:
    assert refusals(sent(CHANGES["deep inside"][0] % number)) == {"/meta/a/0/b"}


def refusals(bad: bytes) -> set[str]:
    """Where each door, and each way of reading rows, says that something is wrong."""
    api, json = Api(transaction_class=Order), {"Content-Type": "application/json"}
    with_callback = bad[:-1] + b',"callback_url":null}'
    answers = [
        api.client.simulate_post(path, body=body, headers=json)
        for path, body in (("/score-transaction", bad), ("/transactions", bad), ("/transactions", with_callback))
    ]
    assert [each.status_code for each in answers] == [422] * 3
    problems = [each.json for each in answers]
    for good in (sent('"hops":1', "good"), sent('"callback_url":null', "good")):
        array = api.client.simulate_post("/transactions/batch", body=b"[" + good + b"," + bad + b"]", headers=json)
        problems += [row for row in array.json["rows"] if row["index"] == 1]
    with pytest.raises(ValidationError):
        Order.from_rows([from_json(bad)])
    assert len(problems) == 5
    assert api.work() == 1
    return {error["pointer"] for problem in problems for error in problem["errors"]}


@pytest.mark.parametrize("kept", [b"\xff", b"[1]", b'{"status":"queued","transaction":{"opt":%s}}', b"{}"])
def test_a_record_that_cannot_be_read_fails_and_is_never_a_fault(kept: bytes) -> None:
    api = Api()
    api.client.simulate_post("/transactions", json=transaction_json())
    transaction_id = transaction_json()["transaction_id"]
    api.store.records[transaction_id] = kept.replace(b"%s", MANY_DIGITS.encode())

    assert api.work() == 1

    state = api.client.simulate_get(f"/transactions/{transaction_id}").json
    assert state["status"] == "failed"
    assert state["error"].startswith("its record cannot be read (")
    assert state["error"].endswith("): submit the transaction by another id")
    assert not api.store.undecided
    assert api.client.simulate_post("/transactions", json=transaction_json()).status_code == 409


def test_a_submission_that_cannot_be_compared_is_a_conflict() -> None:
    good = queued_record(Order(transaction_id="a", amount=1.5), submitted_at="now")
    bad = Submission("a", b'{"a":' + MANY_DIGITS.encode() + b"}", "now")

    for submission, answer in ((bad, orjson.loads(good.record)), (good, {"transaction": None})):
        with pytest.raises(ConflictError):
            own_record(submission, answer)


class Positional(TransactionModel):
    """Takes a list of its values, too."""

    amount: int = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, dict) and "cents" in given:
            return {"transaction_id": given["transaction_id"], "amount": given["cents"]}
        return dict(zip(("transaction_id", "amount"), given, strict=True)) if isinstance(given, list) else given


@pytest.mark.parametrize("body", [["a", 2.0], {"transaction_id": "a", "cents": 2.0}])
def test_a_whole_number_as_a_float_in_what_a_team_makes_fields_of_is_a_refusal(body: Any) -> None:
    api = Api(transaction_class=Positional)

    answer = api.client.simulate_post("/score-transaction", json=body)

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/amount")


class Visit(TransactionModel):
    """Has fields that a file need not fill."""

    amount: float
    count: int
    level: float = 0.5
    channel: Annotated[str, InputOnly] = "web"
    hops: Annotated[int | None, InputOnly] = 7
    tier: Annotated[Literal[1, 2, "gold"], InputOnly] = 2
    tags: Annotated[list[str], InputOnly] = Field(default_factory=list)
    flag: bool = False

    @feature
    def odd(self) -> bool:
        return bool(self.count % 2)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_need_not_have_the_columns_that_have_a_default(tmp_path: Path, ending: str) -> None:
    rows = [{"transaction_id": "a", "amount": 1.5, "count": 3}]

    (batch,) = read_batches(save(tmp_path / f"rows{ending}", rows), Visit)

    assert batch.transactions == [Visit.from_row(rows[0])]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_empty_cell_is_the_default_of_its_field(tmp_path: Path, ending: str) -> None:
    first = {"transaction_id": "a", "amount": 1.5, "count": 3}
    second = {**first, "transaction_id": "b", "level": 2.5, "channel": "pos", "hops": 1, "flag": True}
    empty = dict.fromkeys(second)

    (batch,) = read_batches(save(tmp_path / f"rows{ending}", [{**empty, **first}, second]), Visit)

    assert batch.transactions == [Visit.from_row(first), Visit.from_row(second)]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ('1,"[""a"",""b""]",3', {"tier": 1, "tags": ["a", "b"], "hops": 3}),
        ('gold,[],"9007199254740993"', {"tier": "gold", "tags": [], "hops": 9007199254740993}),
    ],
)
def test_a_cell_of_a_field_that_is_no_column_is_read_as_json_would_have_it(
    tmp_path: Path, cells: str, values: dict[str, Any]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"transaction_id,amount,count,tier,tags,hops\na,1.5,3,{cells}\n")

    (batch,) = read_batches(path, Visit)

    assert batch.transactions == [Visit.from_row({"transaction_id": "a", "amount": 1.5, "count": 3, **values})]


def test_an_integer_in_csv_is_the_one_that_is_written_also_beside_one_written_as_a_float(tmp_path: Path) -> None:
    counts = ["9007199254740993", "9007199254740992", "24.0", "2.4e1", "9223372036854775807"]
    path = tmp_path / "rows.csv"
    path.write_text("transaction_id,amount,count\n" + "".join(f"a,1.5,{each}\n" for each in counts))

    (batch,) = read_batches(path, Visit)

    columns = [each.features() for each in batch.transactions]
    exact = [9007199254740993, 9007199254740992, 24, 24, LARGEST]
    assert [(each[1], each[-1]) for each in columns] == [(count, bool(count % 2)) for count in exact]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("flags", [(0, 1), (0.0, 1.0), ("0", "TRUE"), (False, True)])
def test_a_flag_may_be_a_number_in_csv_and_in_parquet(tmp_path: Path, ending: str, flags: tuple[Any, Any]) -> None:
    if ending == ".csv" and isinstance(flags[0], float):
        flags = (0, 1)
    rows = [{"transaction_id": "a", "amount": 1.5, "count": 3, "flag": flag} for flag in flags]

    (batch,) = read_batches(save(tmp_path / f"rows{ending}", rows), Visit)

    assert [each.features()[3] for each in batch.transactions] == [False, True]
