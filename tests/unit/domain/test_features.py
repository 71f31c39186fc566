"""What a team's own class may say of its columns, and that no door answers with a fault where its code fails."""

import copy
import math
import pickle
import random
import re
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import pytest
from pydantic import AwareDatetime, Field, ValidationError, field_validator
from rq.timeouts import JobTimeoutException
from structlog.testing import capture_logs

from riskline.ingest.openapi.document import build_openapi
from riskline.shared.domain.class_check import check_class, load_transaction_class
from riskline.shared.domain.features import Encoded, InputOnly, Nominal, OneHot, feature
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import SettingsError
from riskline.shared.store.interfaces import Claim
from riskline.shared.store.records import queued_record
from riskline.worker.scoring.drain import outcomes
from riskline.worker.training.data.dataset import ENDINGS, read_batches
from riskline.worker.training.data.labelled import read_labelled
from riskline.worker.training.imports.reference import read_reference
from tests.support.api import Api
from tests.support.factories import AmountModel
from tests.support.files import save

HUGE = 10**400
UNLUCKY = 113


class Payment(TransactionModel):
    """A payment with a field of each kind."""

    amount: float = Field(gt=0, examples=[8.0])
    channel: Annotated[str, Encoded({"pos": 0, "web": 1, "007": 7})] = Field(examples=["web"])
    country: Annotated[str, Encoded({"DE": 10, "1": 11}, other=-1)]
    entry: Annotated[str, OneHot("chip", "keyed")]
    scheme: Annotated[str, OneHot("visa", others_as_zeros=True)]
    at: Annotated[AwareDatetime, InputOnly] = Field(examples=["2026-11-24T03:15:07+01:00"])
    note: Annotated[str | None, InputOnly] = None
    average: float = Field(ge=0, examples=[4.0])
    count: int = Field(examples=[3])
    code: Annotated[int, Nominal] = Field(ge=1, le=99, examples=[5])
    is_new: int = Field(ge=0, le=1, examples=[1])
    trusted: bool = Field(examples=[True])

    @field_validator("count")
    @classmethod
    def _fails(cls, count: int) -> int:
        if count == UNLUCKY:
            raise KeyError("secret")
        return count

    @feature
    def ratio(self) -> float:
        return self.amount / self.average

    @feature
    def is_night(self) -> bool:
        return self.at.hour < 6

    @feature
    def kind(self) -> Annotated[int, Nominal]:
        return self.count % 2


class Refined(Payment):
    """Adds to another team's class."""

    extra: float = 0.0

    def ratio(self) -> float:
        return super().ratio() + self.extra

    @feature
    def double(self) -> float:
        return 2 * self.ratio()


COLUMNS = (
    *("amount", "channel", "country", "entry_chip", "entry_keyed", "scheme_visa", "average", "count", "code"),
    *("is_new", "trusted", "ratio", "is_night", "kind"),
)
VECTOR = (8.0, 1, 10, 0, 1, 1, 4.0, 3, 5, 1, True, 2.0, True, 1)


def body(**changes: Any) -> dict[str, Any]:
    plain = {
        "transaction_id": "P1",
        "amount": 8.0,
        "channel": "web",
        "country": "DE",
        "entry": "keyed",
        "scheme": "visa",
        "at": "2026-11-24T03:15:07+01:00",
        "note": None,
        "average": 4.0,
        "count": 3,
        "code": 5,
        "is_new": 1,
        "trusted": True,
    }
    return {**plain, **changes}


def sent(row: dict[str, Any]) -> bytes:
    """As JSON, also where a number is too large for orjson."""
    return orjson.dumps({**row, "count": 0}).replace(b'"count":0', b'"count":%b' % str(row["count"]).encode())


WAYS: list[Callable[[dict[str, Any]], Payment]] = [
    lambda row: Payment.parse(sent(row)),
    Payment.from_row,
    lambda row: Payment.from_rows([body(), row])[1],
]


def told(read: Callable[[dict[str, Any]], Any], **changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as refused:
        read(body(**changes))
    return {".".join(map(str, error["loc"][-1:])): error["msg"] for error in refused.value.errors()}


@pytest.mark.parametrize("read", WAYS)
def test_fields_become_columns_in_their_order_and_derived_features_come_last(read: Any) -> None:
    payment = read(body())

    assert Payment.feature_names() == COLUMNS
    assert payment.features() == VECTOR
    assert payment.shown_values() == (8.0, "web", "DE", *VECTOR[3:])


def test_a_subclass_has_its_fields_before_all_derived_features_and_may_override_one() -> None:
    refined = Refined.from_row(body(extra=1.0))

    assert Refined.feature_names() == (*COLUMNS[:11], "extra", *COLUMNS[11:], "double")
    assert refined.features() == (*VECTOR[:11], 1.0, 3.0, *VECTOR[12:], 6.0)


def test_flags_codes_and_categories_are_nominal() -> None:
    assert Payment.nominal_features() == {
        *("channel", "country", "entry_chip", "entry_keyed", "scheme_visa"),
        *("code", "is_new", "trusted", "is_night", "kind"),
    }
    assert Transaction.nominal_features() == {"merchant_category_code", "is_online_transaction"}


@pytest.mark.parametrize("read", WAYS)
def test_a_category_that_is_not_named_is_refused_or_gets_the_number_for_others(read: Any) -> None:
    other = read(body(country="FR", scheme="jcb"))

    assert (other.features()[2], other.features()[5]) == (-1, 0)
    assert other.shown_values()[2] == "FR"
    assert told(read, channel="fax") == {"channel": "Input should be 'pos', 'web' or '007'"}
    assert told(read, entry="fax", country=7).keys() == {"entry", "country"}


def test_a_date_is_read_by_the_same_rules_from_json_and_from_a_row() -> None:
    moment = Payment.from_row(body()).at

    assert Payment.from_row(body(at=moment)) == Payment.parse(orjson.dumps(body(at=moment)))
    for wrong in (1_700_000_000, "yesterday", True, None):
        assert [told(read, at=wrong).keys() for read in WAYS] == [{"at"}] * 3


def test_an_integral_float_is_an_integer_beside_a_date_too() -> None:
    assert Payment.from_row(body(count=3.0)) == Payment.parse(orjson.dumps(body(count=3.0))) == Payment.from_row(body())


def test_what_was_computed_is_seen_by_nobody() -> None:
    payment = Payment.from_row(body())
    fresh = Payment.model_construct(**dict(payment))

    assert fresh == payment
    assert hash(fresh) == hash(payment)
    assert fresh.features() == payment.features()
    assert payment.model_dump().keys() == dict(payment).keys() == Payment.model_fields.keys()
    assert orjson.loads(payment.to_json()) == body()
    assert "_columns" not in repr(payment)


def test_a_copy_computes_its_own_columns() -> None:
    payment = Payment.from_row(body())

    assert payment.model_copy(update={"amount": 40.0}).features()[11] == 10.0
    for copied in (pickle.loads(pickle.dumps(payment)), copy.copy(payment), copy.deepcopy(payment)):  # noqa: S301  # our own
        assert (copied, copied.features()) == (payment, payment.features())


def test_a_derived_feature_is_computed_once_a_transaction() -> None:
    calls = []

    class Counted(TransactionModel):
        amount: float

        @feature
        def derived(self) -> float:
            calls.append(self)
            return 1.0

    transaction = Counted.parse(b'{"transaction_id":"a","amount":1.0}')
    assert transaction.features() == transaction.features() == transaction.shown_values() == (1.0, 1.0)
    assert len(calls) == 1


@pytest.mark.parametrize("read", WAYS)
def test_a_column_that_turns_out_to_be_none_is_told_by_its_name(read: Any) -> None:
    assert told(read, average=0) == {"ratio": "The derived feature raised ZeroDivisionError"}
    assert told(read, amount=1e308, average=1e-308) == {"ratio": "The derived feature is not finite"}
    assert told(read, count=HUGE) == {"count": "Input is too large a number"}
    # beyond it a reader of the stored JSON may make another integer of it
    assert told(read, count=2**63) == {"count": "Input is too large a number"}


@pytest.mark.parametrize("read", [Payment.from_row, lambda row: Payment.parse(sent(row))])
def test_what_a_teams_validator_raises_is_a_refusal(read: Any) -> None:
    assert told(read, count=UNLUCKY) == {"": "The transaction class raised KeyError"}
    assert told(read, count=float(UNLUCKY)) == {"": "The transaction class raised KeyError"}


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (math.nan, "is not finite"),
        (-math.inf, "is not finite"),
        (HUGE, "is too large a number"),
        ("1", "is not a number but a str"),
        (None, "is not a number but a NoneType"),
        (1j, "is not a number but a complex"),
        (Decimal(1), "is not a number but a Decimal"),
        (np.float64("nan"), "is not finite"),
    ],
)
def test_a_derived_feature_must_be_a_finite_number(result: Any, problem: str) -> None:
    class Derived(TransactionModel):
        amount: float

        @feature
        def derived(self) -> float:
            return result

    with pytest.raises(ValidationError, match=f"derived\n  The derived feature {problem}"):
        Derived.parse(b'{"transaction_id":"a","amount":1.0}')


@pytest.mark.parametrize("result", [True, 3, 2.5, np.float32(2.5), np.int64(3), np.float64(2.5)])
def test_a_derived_feature_may_be_any_real_number(result: Any) -> None:
    class Derived(TransactionModel):
        amount: float

        @feature
        def derived(self) -> float:
            return result

    (_, value) = Derived.parse(b'{"transaction_id":"a","amount":1.0}').features()

    assert value == result
    assert type(value) in (bool, int, float)


BAD = {
    "one that is not finite": ({"amount": 1e308, "average": 1e-308}, "/ratio"),
    "a number too large for a float": ({"count": HUGE}, "/count"),
    "a category that is not named": ({"channel": "fax"}, "/channel"),
    "a date that is none": ({"at": 5}, "/at"),
}


@pytest.mark.parametrize(("changes", "pointer"), BAD.values(), ids=list(BAD))
def test_every_http_door_refuses_it_with_422_and_no_value(changes: dict[str, Any], pointer: str) -> None:
    api = Api(transaction_class=Payment)
    bad, good = sent(body(**changes)), orjson.dumps(body(transaction_id="good"))
    with_callback = bad[:-1] + b',"callback_url":null}'
    json = {"Content-Type": "application/json"}

    answers = [
        api.client.simulate_post("/score-transaction", body=bad, headers=json),
        api.client.simulate_post("/transactions", body=bad, headers=json),
        api.client.simulate_post("/transactions", body=with_callback, headers=json),
    ]
    array = api.client.simulate_post("/transactions/batch", body=b"[" + good + b"," + bad + b"]", headers=json)
    lines = api.client.simulate_post(
        "/transactions/batch", body=good + b"\n" + bad, headers={"Content-Type": "application/x-ndjson"}
    )

    assert [each.status_code for each in answers] == [422] * 3
    problems = [each.json for each in answers] + [each.json["rows"][0] for each in (array, lines)]
    assert [array.json["refused"], lines.json["refused"]] == [1, 1]
    assert {error["pointer"] for problem in problems for error in problem["errors"]} == {pointer}
    assert not any("secret" in str(problem) or "1e+308" in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("changes", "raised"), [({"average": 0}, "ZeroDivisionError"), ({"count": UNLUCKY}, "KeyError")]
)
def test_a_mistake_in_the_class_is_a_500_of_its_own_at_every_http_door(changes: dict[str, Any], raised: str) -> None:
    """Counted, and logged as an error with its line, not with what it said: a value may be in that."""
    api = Api(transaction_class=Payment)
    bad, good = sent(body(**changes)), orjson.dumps(body(transaction_id="good"))
    with_callback = bad[:-1] + b',"callback_url":null}'
    json = {"Content-Type": "application/json", "X-Request-ID": "req-1"}
    before = counted_class_errors(api)

    with capture_logs() as logs:
        answers = [
            api.client.simulate_post("/score-transaction", body=bad, headers=json),
            api.client.simulate_post("/transactions", body=bad, headers=json),
            api.client.simulate_post("/transactions", body=with_callback, headers=json),
        ]
        alone = list(logs)
        array = api.client.simulate_post("/transactions/batch", body=b"[" + good + b"," + bad + b"]", headers=json)
        lines = api.client.simulate_post(
            "/transactions/batch", body=good + b"\n" + bad, headers={"Content-Type": "application/x-ndjson"}
        )

    problems = [each.json for each in answers] + [each.json["rows"][0] for each in (array, lines)]
    assert {(each["status"], each["type"]) for each in problems} == {(500, "urn:riskline:problem:class-raised")}
    assert [each.status_code for each in answers] == [500] * 3
    assert [each.json["accepted"] for each in (array, lines)] == [1, 0]
    assert counted_class_errors(api) - before == 5
    said = [each for each in logs if each["event"] == "the transaction class raised"]
    assert {(each["log_level"], each["error"]) for each in said} == {("error", raised)}
    assert all(re.fullmatch(r".*test_features\.py:\d+", each["at"]) for each in said)
    assert {each["request_id"] for each in alone} == {"req-1"}
    assert not any("secret" in str(each) for each in [*problems, *logs])


def counted_class_errors(api: Api) -> float:
    text = api.client.simulate_get("/metrics").text
    return float(re.search(r"^riskline_transaction_class_errors_total (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]


def test_a_default_that_is_no_number_is_a_refusal() -> None:
    class Careless(TransactionModel):
        amount: float = None  # type: ignore[assignment]

    api = Api(transaction_class=Careless)

    answer = api.client.simulate_post("/score-transaction", json={"transaction_id": "a"})

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/amount")


def test_a_good_one_is_decided_alike_at_once_and_from_the_queue() -> None:
    api = Api(transaction_class=Payment)
    at_once = api.client.simulate_post("/score-transaction?explain=true", json=body())
    api.client.simulate_post("/transactions?explain=true", json=body(transaction_id="P2"))

    api.work()

    decision = api.client.simulate_get("/transactions/P2").json["decision"]
    same = ("fraud_probability", "action", "reasons")
    assert [decision[name] for name in same] == [at_once.json[name] for name in same]


class Narrowed(Payment):
    """The same class after its team has changed it."""

    @feature
    def ratio(self) -> float:
        raise LookupError("secret")


class Mistaken(Payment):
    """After another change."""

    @field_validator("count")
    @classmethod
    def _breaks(cls, count: int) -> int:
        raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            Narrowed,
            "the record does not fit the transaction class in: ratio; the transaction class raised LookupError at X",
        ),
        (Mistaken, "the transaction class raised RuntimeError at X"),
    ],
)
def test_a_worker_fails_it_with_the_reason(changed: type[Payment], reason: str) -> None:
    api = Api(transaction_class=Payment)
    api.client.simulate_post("/transactions", json=body())
    api.transaction_class = changed

    assert api.work() == 1

    state = api.client.simulate_get("/transactions/P1").json
    assert state["status"] == "failed"
    assert re.sub(r"test_features\.py:[0-9]+", "X", state["error"]) == reason


def test_a_signal_to_a_worker_is_no_verdict_on_the_transaction() -> None:
    class Interrupted(Payment):
        @feature
        def ratio(self) -> float:
            raise JobTimeoutException

    record = orjson.loads(queued_record(Payment.from_row(body()), submitted_at="2026-11-24T03:15:07Z").record)

    with pytest.raises(JobTimeoutException):
        outcomes(Claim([("P1", record)]), model=AmountModel(transaction_class=Payment), transaction_class=Interrupted)


def rows(count: int) -> list[dict[str, Any]]:
    channels, countries = ("pos", "web", "007"), ("DE", "1", "FR", "", "NA")
    return [
        body(
            transaction_id=f"P{i}",
            amount=i + 0.5,
            channel=channels[i % 3],
            country=countries[i % 5],
            note=None if i % 2 else "1",
            is_fraud=int(i % 4 == 0),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_gives_the_transactions_that_http_would(tmp_path: Path, ending: str) -> None:
    given = rows(30)

    batches = list(read_batches(save(tmp_path / f"rows{ending}", given), Payment))

    bodies = [{name: row[name] for name in Payment.model_fields} for row in given]
    assert [each for batch in batches for each in batch.transactions] == [Payment.from_row(each) for each in bodies]


def test_an_empty_cell_of_a_text_field_is_an_empty_text_and_of_one_that_may_be_missing_none(tmp_path: Path) -> None:
    class Texts(TransactionModel):
        country: Annotated[str, Encoded({"": 5, "DE": 10})]
        note: Annotated[str | None, InputOnly]
        hops: Annotated[int | None, InputOnly]

    path = tmp_path / "rows.csv"
    path.write_text("transaction_id,country,note,hops\na,,,\nb,DE,007,2\n")

    (batch,) = read_batches(path, Texts)

    assert [orjson.loads(each.to_json()) for each in batch.transactions] == [
        {"transaction_id": "a", "country": "", "note": None, "hops": None},
        {"transaction_id": "b", "country": "DE", "note": "007", "hops": 2},
    ]


def test_a_parquet_column_of_times_is_one_of_times(tmp_path: Path) -> None:
    moment = datetime.fromisoformat(body()["at"])
    path = save(tmp_path / "rows.parquet", [body(at=moment)])

    (batch,) = read_batches(path, Payment)

    assert batch.transactions[0].at == moment  # type: ignore[attr-defined]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_row_whose_feature_cannot_be_computed_is_a_bad_row(tmp_path: Path, ending: str) -> None:
    given = rows(9)
    given[3]["average"] = 0.0
    given[5]["count"] = UNLUCKY

    (batch,) = read_batches(save(tmp_path / f"rows{ending}", given), Payment)

    assert [refused.row for refused in batch.refused] == [4, 6]
    assert str(batch.refused[0]).startswith("row 4: ratio: The derived feature raised ZeroDivisionError at ")
    assert str(batch.refused[1]).startswith("row 6: row: The transaction class raised KeyError at ")
    assert "secret" not in str(batch.refused)


def test_a_field_named_timestamp_may_also_split_the_file_by_time(tmp_path: Path) -> None:
    class Timed(TransactionModel):
        amount: float
        timestamp: Annotated[AwareDatetime, InputOnly]

        @feature
        def hour(self) -> int:
            return self.timestamp.hour

    given = [
        {"transaction_id": f"T{i}", "amount": 1.5, "timestamp": f"2026-11-24T{i:02}:00:00Z", "is_fraud": i % 2}
        for i in range(20)
    ]

    for ending in ENDINGS:
        data = read_labelled(
            save(tmp_path / f"rows{ending}", given),
            Timed,
            label="is_fraud",
            skip_bad_rows=False,
        )
        assert data.rows[:, 1].tolist() == list(range(20))
        assert data.times is not None
        assert data.times.tolist() == [datetime(2026, 11, 24, hour) for hour in range(20)]  # noqa: DTZ001  # as in files: no zone


class Drawing(TransactionModel):
    """Draws lots."""

    amount: float

    @feature
    def lot(self) -> float:
        return random.random()


class Ticking(TransactionModel):
    """Looks at the clock."""

    amount: float

    @feature
    def age_ns(self) -> float:
        return time.time_ns() - self.amount


class Counting(TransactionModel):
    """Has a memory."""

    amount: float
    seen: Annotated[str | None, InputOnly] = None

    @feature
    def rank(self) -> float:
        SEEN.setdefault(self.transaction_id, len(SEEN))
        SEEN[self.transaction_id] += 1
        return SEEN[self.transaction_id]


SEEN: dict[str, int] = {}


@pytest.mark.parametrize(("impure", "name"), [(Drawing, "lot"), (Ticking, "age_ns"), (Counting, "rank")])
def test_a_feature_that_depends_on_something_else_is_found(
    impure: type[TransactionModel], name: str, tmp_path: Path
) -> None:
    given = [{"transaction_id": str(i), "amount": 1.5, "is_fraud": i % 2} for i in range(10)]
    path = save(tmp_path / "rows.csv", [{**row, "seen": ""} if impure is Counting else row for row in given])
    options: dict[str, Any] = {"label": "is_fraud", "skip_bad_rows": False}

    for find in (
        lambda: read_labelled(path, impure, **options),
        lambda: read_reference(path, impure, **options),
        lambda: check_class(impure, [{"transaction_id": "a", "amount": 1.5}]),
    ):
        with pytest.raises(SettingsError, match=f"the feature {name} depends on something else than the transaction"):
            find()


def test_a_class_that_keeps_its_promise_passes_the_check() -> None:
    check_class(Payment, [body(), body(amount=1e-9)])

    with pytest.raises(SettingsError, match="Payment refuses example 2: ratio: The derived feature raised"):
        check_class(Payment, [body(), body(average=0)])


class WithArgument(TransactionModel):
    amount: float

    @feature
    def scaled(self, by: float = 2.0) -> float:
        return self.amount * by


class Dated(TransactionModel):
    amount: float
    opened: Annotated[AwareDatetime, InputOnly]

    @feature
    def days_open(self) -> int:
        return (datetime.now(self.opened.tzinfo) - self.opened).days


class Awaited(TransactionModel):
    amount: float

    @feature
    async def later(self) -> float:
        return self.amount


class Twice(TransactionModel):
    entry: Annotated[str, OneHot("chip")]
    entry_chip: float


class CodedNumber(TransactionModel):
    amount: Annotated[int, Encoded({"1": 1})]


class Nothing(TransactionModel):
    at: Annotated[AwareDatetime, InputOnly]


class Undecided(TransactionModel):
    channel: Annotated[str, Encoded({"pos": 1}), InputOnly]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("WithArgument", "feature scaled must be a method that takes self and nothing else"),
        ("Dated", r"feature days_open asks now\(\), but must follow from the transaction alone"),
        ("Awaited", "feature later must return a number; it is a coroutine"),
        ("Twice", "has two columns of the name entry_chip"),
        ("CodedNumber", "field amount has an encoding, so it must be a str"),
        ("Nothing", "no field besides transaction_id that is a column"),
        ("Undecided", "field channel is InputOnly and has an encoding: choose one"),
    ],
)
def test_a_class_that_cannot_serve_is_refused_when_it_is_loaded(name: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_transaction_class(f"tests.unit.domain.test_features:{name}")


def test_openapi_names_the_categories_and_has_no_derived_feature() -> None:
    document = build_openapi(Payment, version="1")

    properties = document["components"]["schemas"]["Payment"]["properties"]
    assert properties["channel"]["enum"] == ["pos", "web", "007"]
    assert properties["country"]["anyOf"] == [{"type": "string", "enum": ["DE", "1"]}, {"type": "string"}]
    assert properties["at"]["format"] == "date-time"
    assert properties.keys() == Payment.model_fields.keys()
    request = document["paths"]["/score-transaction"]["post"]["requestBody"]["content"]["application/json"]
    (example,) = (each["value"] for each in request["examples"].values())
    assert {**example, "transaction_id": "P1"} == body(entry="chip")
