import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from falcon import testing

from riskline.ingest.problems.problem import HttpProblem
from riskline.ingest.resources.batches import MAX_DESCRIBED_BYTES, ROWS_AT_A_TIME
from riskline.ingest.submission.batch_rows import PART_BYTES, JsonArrayReader, read_row
from riskline.shared.domain.transaction import Transaction
from riskline.shared.domain.wrong_fields import MOST_LISTED
from riskline.shared.errors import OutcomeUnknownError
from riskline.shared.store.interfaces import Stored
from riskline.shared.store.records import Submission
from tests.support.api import MAX_BATCH_ROWS, MAX_BODY_BYTES, Api
from tests.support.factories import transaction_json

NDJSON = {"Content-Type": "application/x-ndjson"}


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [transaction_json(**{"transaction_id": f"b{i}", **changes}) for i in range(count)]


def post(api: Api, body: Any, **options: Any) -> Any:
    if not isinstance(body, bytes):
        body = orjson.dumps(body)
    options.setdefault("headers", {"Content-Type": "application/json"})
    return api.client.simulate_post("/transactions/batch", body=body, **options)


def lines(each: list[dict[str, Any]]) -> bytes:
    return b"\n".join(orjson.dumps(row) for row in each)


def test_an_array_is_accepted_in_its_order() -> None:
    api = Api()

    answer = post(api, rows(1000))

    assert answer.status_code == 202
    assert answer.json == {"accepted": 1000, "known": 0, "refused": 0, "rows": []}
    assert api.store.waiting == [f"b{i}" for i in range(1000)]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n\r\n \n"])
def test_lines_are_accepted_in_their_order(ending: bytes) -> None:
    api = Api()

    answer = post(api, lines(rows(1000)) + ending, headers=NDJSON)

    assert (answer.status_code, answer.json["accepted"]) == (202, 1000)
    assert api.store.waiting == [f"b{i}" for i in range(1000)]


def test_a_batch_is_decided_as_its_rows_would_be_alone() -> None:
    api = Api()
    post(api, rows(3, amount=9214), params={"explain": "true"})

    api.work()

    decision = api.client.simulate_get("/transactions/b1").json["decision"]
    assert decision["fraud_probability"] == 0.9214
    assert decision["reasons"][0]["feature"] == "amount"


@pytest.mark.parametrize("as_lines", [False, True], ids=["array", "lines"])
def test_bad_rows_are_listed_by_index_with_the_problem_they_would_have_alone(*, as_lines: bool) -> None:
    api = Api()
    batch: list[Any] = rows(600)
    batch[3] = transaction_json(amount=-1, foo=1)
    batch[500] = transaction_json(customer_age="24")
    batch[501] = transaction_json(transaction_id="b501", customer_age=24.0)
    batch[599] = 5

    answer = post(api, lines(batch), headers=NDJSON) if as_lines else post(api, batch)

    assert answer.status_code == 202
    assert {name: answer.json[name] for name in ("accepted", "known", "refused")} == {
        "accepted": 597,
        "known": 0,
        "refused": 3,
    }
    for row, index in zip(answer.json["rows"], (3, 500, 599), strict=True):
        alone = api.client.simulate_post("/transactions", json=batch[index]).json
        assert row == {"index": index, **{name: alone[name] for name in alone if name != "instance"}}


def test_a_line_that_is_not_json_is_that_rows_problem_alone() -> None:
    api = Api()
    good = rows(2)

    answer = post(api, orjson.dumps(good[0]) + b"\n{nonsense\n" + orjson.dumps(good[1]), headers=NDJSON)

    assert (answer.status_code, answer.json["accepted"]) == (202, 2)
    assert [(row["index"], row["status"], row["type"]) for row in answer.json["rows"]] == [
        (1, 400, "urn:riskline:problem:not-json")
    ]


def test_a_line_over_the_limit_is_refused_and_the_next_one_is_read() -> None:
    api = Api()
    long = b'{"transaction_id": "' + b"x" * (MAX_BODY_BYTES + 200_000) + b'"}'

    answer = post(api, long + b"\n" + lines(rows(1)), headers=NDJSON)

    assert answer.json["accepted"] == 1
    assert [(row["index"], row["status"]) for row in answer.json["rows"]] == [(0, 413)]


def test_rows_that_are_known_are_not_accepted_twice_and_conflicts_are_listed() -> None:
    api = Api()
    post(api, rows(3))

    again = post(api, [*rows(4), transaction_json(transaction_id="b0", amount=1)])

    assert {name: again.json[name] for name in ("accepted", "known", "refused")} == {
        "accepted": 1,
        "known": 3,
        "refused": 1,
    }
    assert (again.json["rows"][0]["index"], again.json["rows"][0]["status"]) == (4, 409)
    assert len(api.store.waiting) == 4


def test_a_batch_of_bad_rows_only_is_422_with_all_of_them() -> None:
    answer = post(Api(), [transaction_json(amount=-1), 7])

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"] == "urn:riskline:problem:no-row-accepted"
    assert [row["index"] for row in answer.json["rows"]] == [0, 1]


@pytest.mark.parametrize(("body", "headers"), [(b" [ ] ", None), (b"", NDJSON), (b"\n\n", NDJSON)])
def test_a_batch_without_rows_is_422(body: bytes, headers: dict[str, str] | None) -> None:
    answer = post(Api(), body, **({"headers": headers} if headers else {}))

    assert (answer.status_code, answer.json["type"]) == (422, "urn:riskline:problem:empty-batch")


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"5", b"[", b"[1", b"[1,]", b"[1]]", b"[1] x", b"x[1]", b"[1 2]", b"[{}{}]", b'[{"a":1}', b"[{]"],
)
def test_a_body_that_is_no_array_is_400(body: bytes) -> None:
    answer = post(Api(), body)

    assert (answer.status_code, answer.json["type"]) == (400, "urn:riskline:problem:not-json")


@pytest.mark.parametrize("tail", [b"", b",", b",]", b"] x", b"]]", b" {}]", b',{"transaction_id": "}'])
def test_an_array_that_breaks_behind_good_rows_is_400(tail: bytes) -> None:
    api = Api()

    answer = post(api, orjson.dumps(rows(1500))[:-1] + tail)

    assert answer.status_code == 400
    assert "safe" in answer.json["detail"]


def test_braces_and_brackets_inside_of_rows_do_not_end_them() -> None:
    tricky = [{"transaction_id": "},{", "x": [{"y": "}]"}, {}], 'q"\\': "{"} for _ in range(3000)]

    answer = post(Api(), [*rows(1), *tricky[: MAX_BATCH_ROWS - 1]])

    assert (answer.json["accepted"], answer.json["refused"]) == (1, MAX_BATCH_ROWS - 1)
    assert answer.json["rows"][0]["errors"][0]["pointer"] == "/transaction_id"


@pytest.mark.parametrize("size", [1, 7, 1000, PART_BYTES - 1, PART_BYTES])
def test_rows_are_the_same_however_the_body_is_cut(size: int) -> None:
    body = b" \n" + orjson.dumps([*rows(700), {"a": {"b": "}"}}, 3, "x", None, []], option=orjson.OPT_INDENT_2) + b"\n "
    reader = JsonArrayReader(Transaction, max_row_bytes=MAX_BODY_BYTES)

    found = [row for start in range(0, len(body), size) for row in reader.feed(body[start : start + size])]
    found += reader.end()

    assert [getattr(row, "transaction_id", None) for row in found] == [*(f"b{i}" for i in range(700)), *[None] * 5]


@pytest.mark.parametrize("blank", [b"\x0b", b"\x0c", b"\xc2\xa0", b"\x1c"])
@pytest.mark.parametrize("body", [b"%b[%b]", b"[%b%b]", b"[%b]%b"])
def test_what_is_no_white_space_in_json_is_none_in_an_array(body: bytes, blank: bytes) -> None:
    row = orjson.dumps(transaction_json())
    before, behind = (blank, row) if body.startswith((b"%b", b"[%b%b")) else (row, blank)

    assert post(Api(), body % (before, behind)).status_code == 400


def test_a_line_of_what_is_no_white_space_in_json_is_a_row_that_is_none() -> None:
    answer = post(Api(), b"\x0b\n" + orjson.dumps(transaction_json()) + b"\n \t\r\n", headers=NDJSON)

    assert (answer.json["accepted"], answer.json["refused"]) == (1, 1)
    assert answer.json["rows"][0]["status"] == 400


@pytest.mark.parametrize("headers", [None, NDJSON])
async def test_others_have_their_turn_while_bad_rows_are_read(
    headers: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, between = 0, [0]

    def counted(*args: Any) -> Any:
        nonlocal read
        read += 1
        return read_row(*args)

    async def others() -> None:
        while True:
            before = read
            await asyncio.sleep(0)
            between.append(read - before)

    monkeypatch.setattr("riskline.ingest.submission.batch_rows.read_row", counted)
    body = b"[" + b",".join([b"{}"] * 20_000) + b"]" if headers is None else b"{}\n" * 20_000
    async with testing.ASGIConductor(Api().app) as client:
        task = asyncio.create_task(others())
        answer = await client.simulate_post(
            "/transactions/batch", body=body, headers=headers or {"Content-Type": "application/json"}
        )
        task.cancel()

    assert answer.status_code == 413
    assert max(between) <= ROWS_AT_A_TIME
    assert read <= MAX_BATCH_ROWS + ROWS_AT_A_TIME


def test_a_row_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    reader = JsonArrayReader(Transaction, max_row_bytes=MAX_BODY_BYTES)
    reader.feed(b'[{"a": "')
    pieces = iter([b"x" * 10_000] * 1000)

    with pytest.raises(HttpProblem):
        deque(map(reader.feed, pieces))

    assert len(list(pieces)) > 980


def test_more_rows_than_a_batch_may_have_are_413_with_what_was_taken() -> None:
    api = Api(queue_limit=5000)

    answer = post(api, rows(MAX_BATCH_ROWS + 1))

    assert answer.status_code == 413
    assert answer.json["type"] == "urn:riskline:problem:too-many-rows"
    assert answer.json["accepted"] == len(api.store.waiting) == MAX_BATCH_ROWS


def test_rows_beyond_the_queue_limit_are_listed_to_come_again() -> None:
    answer = post(Api(queue_limit=2), rows(3))

    assert (answer.status_code, answer.json["accepted"]) == (202, 2)
    assert (answer.json["rows"][0]["index"], answer.json["rows"][0]["status"]) == (2, 503)


def test_a_full_queue_is_503() -> None:
    api = Api(queue_limit=1)
    post(api, rows(1))

    answer = post(api, rows(3, amount=7)[1:])

    assert (answer.status_code, answer.json["type"]) == (503, "urn:riskline:problem:queue-full")
    assert int(answer.headers["retry-after"]) > 0


def test_without_redis_a_batch_is_refused_and_can_be_repeated() -> None:
    api = Api()
    api.store.away = True

    refused = post(api, rows(3))
    api.store.away = False

    assert (refused.status_code, refused.json["accepted"]) == (503, 0)
    assert post(api, rows(3)).json["accepted"] == 3


def test_of_rows_that_redis_did_not_answer_for_it_is_said_that_nobody_knows() -> None:
    api = Api()
    accept = api.store.accept

    async def answers_for_the_first_part(submissions: Sequence[Submission]) -> list[Stored]:
        if api.store.records:
            raise OutcomeUnknownError("Redis: Timeout reading from socket")
        return await accept(submissions)

    with patch.object(api.store, "accept", answers_for_the_first_part):
        answer = post(api, rows(1500))

    told = answer.json
    assert answer.status_code == 503
    assert told["accepted"] == len(api.store.records) > 0
    assert told["unknown"] > 0
    assert told["accepted"] + told["unknown"] <= 1500
    assert "Nothing was accepted" not in told["detail"]
    assert "not known" in told["detail"]


@pytest.mark.parametrize("content_type", ["text/csv", "application/xml", None])
def test_another_content_type_is_415_and_says_which_there_are(content_type: str | None) -> None:
    answer = post(Api(), b"[]", headers={"Content-Type": content_type} if content_type else {"X-None": "1"})

    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json["detail"]


def test_a_transaction_named_batch_has_its_state() -> None:
    api = Api()
    api.client.simulate_post("/transactions", json=transaction_json(transaction_id="batch"))

    assert api.client.simulate_get("/transactions/batch").json["transaction_id"] == "batch"


async def test_batches_and_single_submissions_share_the_commits() -> None:
    api = Api(queue_limit=20_000)
    batch = orjson.dumps(rows(1500))
    async with testing.ASGIConductor(api.app) as client:
        answers = await asyncio.gather(
            *[
                client.simulate_post("/transactions/batch", body=batch, headers={"Content-Type": "application/json"})
                for _ in range(20)
            ],
            *[client.simulate_post("/transactions", json=transaction_json(transaction_id=f"s{i}")) for i in range(20)],
        )

    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json["accepted"] for answer in answers[:20]) == 1500
    assert len(api.store.waiting) == 1520


def test_bad_rows_with_braces_of_their_own_are_listed_and_the_good_ones_among_them_accepted() -> None:
    nested = {"meta": {"country": "DE", "city": "B"}}
    batch = [{**nested, **row} if i % 2 else row for i, row in enumerate(rows(MAX_BATCH_ROWS))]

    answer = post(Api(queue_limit=5000), batch)

    assert answer.status_code == 202
    assert (answer.json["accepted"], answer.json["refused"]) == (MAX_BATCH_ROWS // 2, MAX_BATCH_ROWS // 2)
    assert answer.json["rows"][0]["errors"][0]["pointer"] == "/meta"


def test_what_is_said_of_very_bad_rows_is_bounded_and_each_is_still_named() -> None:
    bad = {str(i): 1 for i in range(500)}

    answer = post(Api(), [*rows(1), *[bad] * 1000])

    assert (answer.json["accepted"], answer.json["refused"]) == (1, 1000)
    assert len(answer.content) < 8 * MAX_DESCRIBED_BYTES
    assert len(answer.json["rows"][0]["errors"]) == MOST_LISTED + 1
    assert "errors" not in answer.json["rows"][-1]
    assert answer.json["rows"][-1]["type"] == "urn:riskline:problem:invalid-transaction"
