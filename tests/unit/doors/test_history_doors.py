"""Both doors give a transaction its history before it is decided, and decide without it where it is away."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import orjson
import pytest
from falcon.testing import Result

from riskline.ingest.history import observer as observers
from riskline.shared.domain.history.derive import history_of
from riskline.shared.settings import load_settings
from riskline.shared.store.history.interface import LARGEST_CALL
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.shared.telemetry.metrics import exposition
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import Api
from tests.support.factories import AmountModel, transaction_json
from tests.support.faulty_history import FaultyHistory
from tests.support.histories import Purchase, purchase
from tests.support.wire import Answer, request, serving

PLAN = history_of(Purchase)
AT = Purchase.feature_names().index("purchases_1h")
DAY_SECONDS = 86_400


class CountModel(AmountModel):
    """A tenth of the purchases of the card in an hour; its twin says a ten thousandth of the cost."""

    def __init__(self, *, has_twin: bool = True) -> None:
        super().__init__(transaction_class=Purchase)
        if has_twin:
            self.twin = AmountModel(transaction_class=Purchase)
            self.twin.feature_names = Purchase.twin_feature_names()

    def score_one(self, features: Sequence[float]) -> float:
        return min(features[AT] / 10, 1.0)


class HistoryApi(Api):
    """The app over a history that can fail."""

    def __init__(self, *, has_twin: bool = True, required: bool = False, kept: Any = None, **options: Any) -> None:
        assert PLAN is not None
        faulty = FaultyHistory(MemoryHistory(PLAN) if kept is None else kept)
        settings = load_settings().model_copy(
            update={"history": "required" if required else "preferred", "history_timeout": 60.0}
        )
        super().__init__(
            CountModel(has_twin=has_twin), transaction_class=Purchase, history=faulty, settings=settings, **options
        )

    @classmethod
    def away(cls, **options: Any) -> Self:
        api = cls(**options)
        api.history.away = True
        return api

    def score(self, body: dict[str, Any], parameters: str = "") -> Result:
        return self.post("/score-transaction" + parameters, body)

    def post(self, path: str, body: Any, **headers: str) -> Result:
        given = {"Content-Type": "application/json", **headers}
        return self.client.simulate_post(path, body=orjson.dumps(body), headers=given)

    def recorded(self, transaction_id: str) -> Any:
        self.record()
        return orjson.loads(self.store.records[transaction_id])


def probabilities(answers: Sequence[Result]) -> list[float]:
    return [answer.json["fraud_probability"] for answer in answers]


def entities(api: Api) -> int:
    return len(api.history.inner.kept)


def test_a_purchase_is_decided_by_those_that_came_before_it_and_not_by_itself() -> None:
    api = HistoryApi()

    answers = [api.score(purchase(number, seconds=number)) for number in range(4)]

    assert probabilities(answers) == [0.0, 0.1, 0.2, 0.3]
    assert api.recorded("P-3")["history"]["purchases_1h"] == 3
    assert api.client.simulate_get("/transactions/P-3").json["history"]["purchases_1h"] == 3


def test_the_doors_share_a_history() -> None:
    api = HistoryApi()
    api.score(purchase(1))
    api.post("/transactions", purchase(2, seconds=1))
    api.post("/transactions/batch", [purchase(3, seconds=2), purchase(4, seconds=3)])
    api.work()

    states = [api.client.simulate_get(f"/transactions/P-{number}").json for number in (2, 3, 4)]

    assert [state["history"]["purchases_1h"] for state in states] == [1, 2, 3]
    assert [state["decision"]["fraud_probability"] for state in states] == [0.1, 0.2, 0.3]


def test_a_purchase_that_is_repeated_counts_once_and_is_decided_as_it_was_first() -> None:
    api = HistoryApi()
    first = [api.score(purchase(number, seconds=number)) for number in range(3)]

    again = [api.score(purchase(number, seconds=number)) for number in range(3)]

    assert probabilities(again) == probabilities(first)
    assert probabilities([api.score(purchase(9, seconds=9))]) == [0.3]


def test_a_purchase_whose_first_event_is_forgotten_is_decided_by_the_values_of_its_record() -> None:
    api = HistoryApi()
    first = [api.score(purchase(number, seconds=number)) for number in range(8)]
    api.record()
    api.post("/transactions/batch", [purchase(100 + number, seconds=10) for number in range(LARGEST_CALL)])
    asyncio.run(packed(api))

    again = [api.score(purchase(number, seconds=number)) for number in range(8)]

    assert any(kept.content.startswith(b"S") for kept in api.history.inner.kept.values())
    assert probabilities(again) == probabilities(first)


def test_a_purchase_with_the_id_of_another_is_not_decided_by_the_values_of_that_ones_card() -> None:
    api = HistoryApi()
    answers = [api.score(purchase(number, seconds=number)) for number in range(3)]
    api.record()

    other = api.score(purchase(2, seconds=2, card_id="another"))

    assert probabilities([*answers, other]) == [0.0, 0.1, 0.2, 0.0]


async def packed(api: Api) -> None:
    """Has the long tails packed, as the task beside the requests does."""
    running = asyncio.create_task(api.observer.run())
    await asyncio.sleep(0.05)
    running.cancel()


def test_a_purchase_that_was_decided_without_history_is_so_again() -> None:
    api = HistoryApi.away()
    first = api.score(purchase(1))
    api.record()
    api.history.away = False
    asyncio.run(packed(api))

    again = api.score(purchase(1))

    assert (first.json["history"], first.json["fraud_probability"]) == ("away", 0.0049)
    assert (again.json["history"], again.json["fraud_probability"]) == ("away", 0.0049)


@pytest.mark.parametrize("again", [0, 1])
def test_a_purchase_that_is_in_a_batch_twice_counts_once(again: int) -> None:
    api = HistoryApi()

    answer = api.post("/transactions/batch", [purchase(1), purchase(2), purchase(2 - again), purchase(3)])

    assert answer.json | {"rows": []} == {"accepted": 3, "known": 1, "refused": 0, "rows": []}
    assert [api.recorded(f"P-{number}")["history"]["purchases_1h"] for number in (1, 2, 3)] == [0, 1, 2]


def test_a_batch_shares_few_calls_and_keeps_the_order_of_its_rows() -> None:
    api = HistoryApi(queue_limit=5000)

    answer = api.post("/transactions/batch", [purchase(number, seconds=number / 100) for number in range(2000)])

    assert answer.json["accepted"] == 2000
    assert len(api.history.observed) <= 2000 / LARGEST_CALL + 5
    seen = [api.recorded(f"P-{number}")["history"]["purchases_1h"] for number in range(2000)]
    assert seen == list(range(2000))


def test_a_row_from_the_future_is_refused_alone() -> None:
    api = HistoryApi()

    answer = api.post("/transactions/batch", [purchase(1), purchase(2, at=from_now(minutes=6)), purchase(3)])

    assert answer.json["accepted"] == 2
    assert [(row["index"], row["errors"][0]["pointer"]) for row in answer.json["rows"]] == [(1, "/at")]


@pytest.mark.parametrize("parameters", ["?dry_run=true", "?dry_run=true&explain=true"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_dry_run_is_decided_by_the_history_and_leaves_nothing(parameters: str, *, strict: bool) -> None:
    api = HistoryApi(strict=strict)
    api.score(purchase(1))
    before = {name: kept.content for name, kept in api.history.inner.kept.items()}
    counted = decisions()

    answers = [api.score(purchase(9, seconds=5), parameters) for _ in range(2)]

    assert probabilities(answers) == [0.1, 0.1]
    assert {name: kept.content for name, kept in api.history.inner.kept.items()} == before
    api.record()
    assert "P-9" not in api.store.records
    assert decisions() == counted


def decisions() -> list[str]:
    return [line for line in exposition().decode().splitlines() if line.startswith("riskline_decisions_total")]


def test_a_dry_run_of_a_class_without_history_leaves_nothing_either() -> None:
    api = Api()
    body = orjson.dumps(transaction_json())
    headers = {"Content-Type": "application/json"}

    dry = api.client.simulate_post("/score-transaction?dry_run=true", body=body, headers=headers)
    api.record()
    assert not api.store.records
    wet = api.client.simulate_post("/score-transaction?dry_run=false", body=body, headers=headers)
    api.record()

    assert {**dry.json, "scored_at": ""} == {**wet.json, "scored_at": ""}
    assert list(api.store.records) == ["TXN-99827364"]


def test_a_dry_run_is_true_or_false() -> None:
    answer = HistoryApi().score(purchase(1), "?dry_run=yes")

    assert (answer.status_code, answer.json["type"]) == (422, "urn:riskline:problem:invalid-parameter")


def test_without_its_history_a_purchase_is_decided_by_the_twin_and_marked() -> None:
    api = HistoryApi.away()

    at_once = api.score(purchase(1, cost=4500))
    queued = api.post("/transactions", purchase(2, cost=4500, seconds=1))
    batch = api.post("/transactions/batch", [purchase(3, cost=4500, seconds=2)])
    api.work()

    assert (queued.status_code, batch.status_code) == (202, 202)
    assert (at_once.json["fraud_probability"], at_once.json["history"]) == (0.45, "away")
    for number in (2, 3):
        state = api.client.simulate_get(f"/transactions/P-{number}").json
        assert state["history"] == state["decision"]["history"] == "away"
        assert state["decision"]["fraud_probability"] == 0.45
    assert len(api.history.observed) == 1


def test_what_came_while_the_history_was_away_is_there_afterwards() -> None:
    api = HistoryApi.away()
    api.score(purchase(1))
    api.post("/transactions", purchase(2, seconds=1))
    api.post("/transactions/batch", [purchase(3, seconds=2), purchase(1)])
    api.history.away = False
    asyncio.run(packed(api))

    assert probabilities([api.score(purchase(4, seconds=3))]) == [0.3]


@pytest.mark.parametrize("options", [{"required": True}, {"has_twin": False}], ids=["required", "no twin"])
@pytest.mark.parametrize("path", ["/score-transaction", "/transactions", "/transactions/batch"])
def test_where_no_purchase_may_lack_its_history_it_is_answered_503_and_nothing_is_kept(
    path: str, options: dict[str, bool]
) -> None:
    api = HistoryApi.away(**options)

    answer = api.post(path, [purchase(1)] if path.endswith("batch") else purchase(1))

    assert (answer.status_code, answer.json["type"]) == (503, "urn:riskline:problem:history-unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert ("required" in answer.json["detail"]) == ("required" in options)
    api.record()
    assert not api.store.records
    assert api.observer.late == 0


def test_a_process_says_whether_it_has_the_history() -> None:
    def ready(api: Api) -> Any:
        answer = api.client.simulate_get("/health/ready").json
        return answer["status"], "history" in answer["missing"], "history" in answer["degraded"]

    api, away, required = HistoryApi(), HistoryApi.away(), HistoryApi.away(required=True)
    for each in (api, away, required):
        each.score(purchase(1))

    assert ready(api) == ("ready", False, False)
    assert api.client.simulate_get("/health/ready").json["checks"]["history"] == "ok"
    assert ready(away) == ("ready", False, True)
    assert ready(required) == ("unready", True, False)


def from_now(**change: float) -> str:
    return (datetime.now(UTC) + timedelta(**change)).isoformat()


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions", "/score-transaction?dry_run=true"])
@pytest.mark.parametrize(
    ("at", "status"),
    [
        (4, 2),
        (6, 4),
        ("2026-11-24T03:15:07", 4),
        (None, 4),
        ("yesterday", 4),
        ("1970-01-01T00:00:00Z", 2),
    ],
    # names of their own: that of a time would differ between pytest's processes
    ids=["4 min ahead", "6 min ahead", "without a zone", "none", "no time", "1970"],
)
def test_an_event_time_has_a_zone_and_is_not_of_the_future(path: str, at: str | int | None, status: int) -> None:
    """A number is of minutes from now."""
    given = from_now(minutes=at) if isinstance(at, int) else at
    body = {name: value for name, value in purchase(1, at=given).items() if value is not None}

    answer = HistoryApi().post(path, body)

    assert answer.status_code // 100 == status
    if status == 4:
        assert [error["pointer"] for error in answer.json["errors"]] == ["/at"]


def test_a_purchase_of_forty_days_ago_is_decided_and_not_kept() -> None:
    api, before = HistoryApi(), too_old()
    api.score(purchase(1))
    kept = {name: each.content for name, each in api.history.inner.kept.items()}

    answer = api.score(purchase(2, seconds=-40 * DAY_SECONDS))

    assert answer.json["fraud_probability"] == 0.0
    assert kept
    assert probabilities([api.score(purchase(3, seconds=1))]) == [0.1]
    assert too_old() == before + 1
    api.score(purchase(2, seconds=-40 * DAY_SECONDS))
    assert too_old() == before + 1


def too_old() -> float:
    [said] = re.findall(r'riskline_history_observations_total\{outcome="too_old"\} (\S+)', exposition().decode())
    return float(said)


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
def test_an_entity_of_ten_kilobytes_is_refused(path: str) -> None:
    api = HistoryApi(max_body_bytes=65_536)

    answer = api.post(path, purchase(1, card_id="C" * 10_000))

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/card_id")
    assert entities(api) == 0


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
def test_a_column_of_history_that_a_client_sends_is_refused(path: str) -> None:
    answer = HistoryApi().post(path, purchase(1, purchases_1h=3))

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/purchases_1h")


def test_what_is_kept_of_one_entity_and_cannot_be_read_takes_history_from_no_other() -> None:
    api = HistoryApi()
    api.score(purchase(1))
    for kept in api.history.inner.kept.values():
        kept.content = b"S\xff\xff\xff\xff" + kept.content

    broken = api.score(purchase(2, seconds=1))
    other = api.score(purchase(3, seconds=1, card_id="C2", merchant_id="M2"))

    assert broken.json["history"] == "away"
    assert "history" not in other.json


def test_strict_recording_keeps_the_values_and_gives_the_first_decision_again() -> None:
    api = HistoryApi(strict=True)
    answers = [api.score(purchase(number, seconds=number)) for number in range(3)]

    again = [api.score(purchase(number, seconds=number)) for number in range(3)]

    assert probabilities(again) == probabilities(answers) == [0.0, 0.1, 0.2]
    assert orjson.loads(api.store.records["P-2"])["history"]["purchases_1h"] == 2


def test_what_is_tried_in_the_console_leaves_nothing() -> None:
    api = HistoryApi()
    api.score(purchase(1))
    before = {name: kept.content for name, kept in api.history.inner.kept.items()}

    page = api.client.simulate_get("/console/try")

    assert page.status_code == 200
    assert api.history.looked
    assert {name: kept.content for name, kept in api.history.inner.kept.items()} == before


def test_a_wait_for_a_decision_is_one_with_history() -> None:
    api = HistoryApi()
    api.score(purchase(1))

    waited = api.post("/transactions", purchase(2, seconds=1), Prefer="wait=0")
    api.work()
    again = api.post("/transactions", purchase(2, seconds=1), Prefer="wait=0")

    assert (waited.status_code, again.status_code) == (202, 200)
    assert again.json["history"]["purchases_1h"] == 1
    assert again.json["decision"]["fraud_probability"] == 0.1


def comparable(answer: Answer) -> tuple[Any, ...]:
    body = orjson.loads(answer.body)
    for name in ("scored_at", "submitted_at"):
        body.pop(name, None)
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status, headers, body


BODIES = {
    "good": purchase(3, seconds=3),
    "known": purchase(2, seconds=2),
    "another body": purchase(2, seconds=2, cost=1),
    "late": purchase(3, seconds=-3 * DAY_SECONDS),
    "early": purchase(3, at=from_now(days=1)),
    "of no card": {"transaction_id": "P-3"},
    "with a column": purchase(3, mean_30d=1.0),
}


@pytest.mark.parametrize("path", ["/score-transaction?explain=true", "/score-transaction", "/transactions"])
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("state", ["there", "away", "required", "no twin"])
async def test_both_ways_give_the_same_answer(path: str, name: str, state: str) -> None:
    found = []
    for fast in (True, False):
        api = HistoryApi(required=state == "required", has_twin=state != "no twin")
        async with serving(api.app) as server:
            wire = server.connect(fast=fast)
            for number in range(3):
                await wire.send(request(path, orjson.dumps(purchase(number, seconds=number)))).answers(number + 1)
            api.history.away = state != "there"
            answer = (await wire.send(request(path, orjson.dumps(BODIES[name]))).answers(4))[-1]
            found.append([comparable(answer), sorted(api.store.records), api.recorder.pending, entities(api)])

    assert found[0] == found[1]


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
async def test_requests_of_one_turn_share_a_round_trip(path: str) -> None:
    api = HistoryApi()
    async with serving(api.app) as server:
        wires = [server.connect(fast=True) for _ in range(20)]
        for number, wire in enumerate(wires):
            wire.send(request(path, orjson.dumps(purchase(number, seconds=1))))
        for wire in wires:
            await wire.answers()

    assert len(api.history.observed) == 1
    assert sorted(api.history.observed[0]) == sorted(f"P-{number}" for number in range(20))


@pytest.mark.parametrize("at_once", [1, 2])
async def test_a_request_that_comes_as_the_last_call_ends_is_answered(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "CALLS_AT_ONCE", at_once)
    api, count = HistoryApi(), 50
    found: list[Any] = []
    done = asyncio.get_running_loop().create_future()

    def observe() -> None:
        api.observer.observe(Purchase.from_row(purchase(len(found), seconds=len(found))), observed)

    def observed(transaction: Any) -> None:
        found.append(transaction.purchases_1h)
        if len(found) == count:
            done.set_result(None)
        elif len(found) % 2:
            observe()
        else:
            # in the turn after, in which the call before has just ended
            asyncio.get_running_loop().call_soon(observe)

    observe()
    await asyncio.wait_for(done, PATIENCE_SECONDS)

    assert found == list(range(count))


async def test_an_id_that_is_sent_a_thousand_times_at_once_counts_once() -> None:
    api = HistoryApi(record_capacity=2000)
    async with serving(api.app) as server:
        await server.connect(fast=True).send(request("/score-transaction", orjson.dumps(purchase(1)))).answers()
        wires = [server.connect(fast=True) for _ in range(500)]
        for number, wire in enumerate(wires):
            path = "/transactions" if number % 2 else "/score-transaction"
            wire.send(request(path, orjson.dumps(purchase(2, seconds=1))))
        found = [(await wire.answers())[0].status for wire in wires]
        for wire in wires:
            wire.send(request("/score-transaction", orjson.dumps(purchase(2, seconds=1))))
        said = {orjson.loads((await wire.answers(2))[1].body)["fraud_probability"] for wire in wires}
        (after,) = (
            await server.connect(fast=True)
            .send(request("/score-transaction", orjson.dumps(purchase(3, seconds=2))))
            .answers()
        )

    assert set(found) == {200, 202}
    assert said == {0.1}
    assert orjson.loads(after.body)["fraud_probability"] == 0.2


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
async def test_requests_behind_one_that_is_observed_are_answered_after_it(path: str) -> None:
    api = HistoryApi()
    bodies = [orjson.dumps(purchase(number, seconds=number)) for number in range(5)]
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        await wire.send(request(path, bodies[0])).answers(1)
        wire.send(b"".join(request(path, body) for body in bodies[1:]))
        answers = await wire.answers(5)

    assert [orjson.loads(answer.body)["transaction_id"] for answer in answers] == [f"P-{n}" for n in range(5)]
    assert [each for call in api.history.observed for each in call] == [f"P-{number}" for number in range(5)]


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
async def test_a_server_that_stops_answers_what_is_observed_before_it_closes_the_connection(path: str) -> None:
    api = HistoryApi()
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        api.history.hangs.clear()
        wire.send(request(path, orjson.dumps(purchase(1))))
        await asyncio.sleep(0.01)
        wire.protocol.shutdown()
        assert not wire.transport.closed
        api.history.hangs.set()
        (answer,) = await wire.answers()

    assert answer.status in (200, 202)
    assert answer.headers["connection"] == "close"
    assert wire.transport.over


async def test_a_client_that_left_while_it_was_observed_gets_no_decision_and_disturbs_nobody() -> None:
    api = HistoryApi()
    async with serving(api.app) as server:
        gone, stays = server.connect(fast=True), server.connect(fast=True)
        api.history.hangs.clear()
        for number, wire in enumerate((gone, stays)):
            wire.send(request("/score-transaction", orjson.dumps(purchase(number))))
        await asyncio.sleep(0.01)
        gone.transport.close()
        api.history.hangs.set()
        (answer,) = await stays.answers()

    assert answer.status == 200
    assert not gone.transport.written


async def test_requests_that_are_observed_count_as_unanswered() -> None:
    api = HistoryApi()
    async with serving(api.app) as server:
        api.history.hangs.clear()
        wires = [server.connect(fast=True) for _ in range(3)]
        for number, wire in enumerate(wires):
            wire.send(request("/score-transaction", orjson.dumps(purchase(number, seconds=number))))
        turns = wires[0].protocol._edge.turns
        assert turns._scoring == 3
        api.history.hangs.set()
        for wire in wires:
            await wire.answers()

    assert turns._scoring == 0


def test_a_team_learns_of_the_first_purchase_that_it_was_the_first() -> None:
    api = HistoryApi()
    api.score(purchase(1))

    history = api.recorded("P-1")["history"]

    assert (history["purchases_1h"], history["minutes_since"], history["mean_30d"]) == (0, 43200, -1)
