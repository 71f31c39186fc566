"""A real Redis of the history is killed, frozen, emptied and filled: answers go on, marked, and are caught up."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis

from riskline.shared.model.registry import Registry
from tests.integration.apis import RunningApi
from tests.integration.conftest import clean_environment
from tests.integration.running import PATIENCE_SECONDS, OwnRedis, eventually, riskline
from tests.support.histories import Purchase, purchase
from tests.support.models import write_version_with_history

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

TIMEOUT_SECONDS = "0.5"
"""A busy machine is no outage; what hangs is one all the same."""


class Doors(NamedTuple):
    """An API process with a Redis for its store and one for its history."""

    api: RunningApi
    history: OwnRedis
    environment: dict[str, str]
    store_url: str

    def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        status, answer = self._request("POST", path, json.dumps(body))
        return status, json.loads(answer)

    def get(self, path: str) -> tuple[int, bytes]:
        return self._request("GET", path)

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        address = ("127.0.0.1", self.api.port)
        with closing(http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def score(self, number: int, **others: Any) -> dict[str, Any]:
        status, answer = self.post("/score-transaction?explain=true", purchase(number, seconds=number, **others))
        assert status == 200, answer
        return answer

    def metric(self, name: str) -> float:
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def is_back(self) -> bool:
        return self.metric("riskline_history_away ") == 0

    def recorded(self, number: int) -> Any:
        def found() -> Any:
            status, body = self.get(f"/transactions/P-{number}")
            return json.loads(body) if status == 200 else None

        return eventually(found)["history"]


@pytest.fixture
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("h") / "d")
    yield server
    server.stop()


@pytest.fixture
def environment(tmp_path: Path, history: OwnRedis) -> dict[str, str]:
    models = tmp_path / "models"
    made = write_version_with_history(models, Purchase, by_history=("purchases_1h", 2.5), by_twin=("cost", 100))
    Registry(models).activate(made.version)
    return {
        **clean_environment(),
        "RISKLINE_TRANSACTION": "tests.support.histories:Purchase",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "RISKLINE_MODELS": str(models),
        "RISKLINE_DATA": str(tmp_path / "data"),
        "RISKLINE_STOP_DELAY": "0",
        "RISKLINE_HISTORY_URL": history.url,
        "RISKLINE_HISTORY_TIMEOUT": TIMEOUT_SECONDS,
    }


@pytest.fixture
def doors(redis: OwnRedis, history: OwnRedis, environment: dict[str, str]) -> Iterator[Doors]:
    with RunningApi(redis.url, environment=environment) as api:
        found = Doors(api, history, environment, redis.url)
        # warm, so that what follows is about Redis alone
        found.score(1)
        yield found


def test_a_history_that_is_killed_is_done_without_and_caught_up_in_order(doors: Doors) -> None:
    doors.history.stop()

    without = [doors.score(number, cost=200) for number in (2, 3)]
    queued, _ = doors.post("/transactions", purchase(4, seconds=4))
    doors.history.start()
    eventually(doors.is_back)

    assert [answer["history"] for answer in without] == ["away", "away"]
    assert [answer["action"] for answer in without] == ["DECLINE", "DECLINE"]
    assert queued == 202
    assert doors.recorded(4) == "away"
    after = doors.score(5)
    assert "history" not in after
    assert doors.recorded(5) | {"purchases_1h": 4, "minutes_since": 1 / 60} == doors.recorded(5)
    assert doors.api.said.count("the history is away") == doors.api.said.count("the history is back") == 1
    assert doors.metric('riskline_history_observations_total{outcome="late"}') >= 3
    assert doors.metric("riskline_history_away_seconds_total") > 0


def test_a_history_that_is_frozen_costs_its_timeout_once_and_not_a_request_each(doors: Doors) -> None:
    os.kill(doors.history.pid, signal.SIGSTOP)
    try:
        answers = [doors.score(number) for number in range(2, 30)]
        calls = doors.metric("riskline_history_call_duration_seconds_count")
    finally:
        os.kill(doors.history.pid, signal.SIGCONT)
    eventually(doors.is_back)

    assert {answer["history"] for answer in answers} == {"away"}
    assert calls == 1
    assert doors.api.said.count("the history is away") == 1
    doors.score(30)
    assert doors.recorded(30)["purchases_1h"] == 29


def test_a_full_history_is_done_without_until_it_takes_writes_again(doors: Doors) -> None:
    client = doors.history.client()
    client.config_set("maxmemory", 1)

    answers = [doors.score(number) for number in range(2, 5)]
    client.config_set("maxmemory", 0)
    eventually(doors.is_back)

    assert {answer["history"] for answer in answers} == {"away"}
    doors.score(5)
    assert doors.recorded(5)["purchases_1h"] == 4


def test_a_history_that_was_emptied_is_unknown_and_not_zero(doors: Doors) -> None:
    doors.score(2)
    with Redis.from_url(doors.history.url) as client:
        client.flushall()

    answers = [doors.score(number) for number in (3, 4)]

    assert {answer["history"] for answer in answers} == {"away"}
    eventually(lambda: "the history has lost what it had" in doors.api.said)
    assert not doors.is_back()
    accepted = riskline("history", "accept-loss", environment={**doors.environment, "REDIS_URL": doors.store_url})
    assert accepted.returncode == 0, accepted.stderr
    eventually(doors.is_back)
    doors.score(5)
    # what came since
    assert doors.recorded(5)["purchases_1h"] == 2


def test_a_history_that_comes_back_without_its_file_is_unknown_too(doors: Doors) -> None:
    doors.history.stop()
    doors.history.start("--appendonly", "no", "--save", "")
    doors.score(2)

    eventually(lambda: "the history has lost what it had" in doors.api.said)
    assert doors.score(3)["history"] == "away"


def test_a_required_history_that_is_away_is_answered_503_and_another_try_counts_once(
    redis: OwnRedis, history: OwnRedis, environment: dict[str, str]
) -> None:
    with RunningApi(redis.url, environment={**environment, "RISKLINE_HISTORY": "required"}) as api:
        doors = Doors(api, history, environment, redis.url)
        doors.score(1)
        os.kill(history.pid, signal.SIGSTOP)
        refused = [doors.post(path, purchase(2, seconds=2))[0] for path in ("/score-transaction", "/transactions")]
        os.kill(history.pid, signal.SIGCONT)
        eventually(doors.is_back)
        doors.score(2)
        doors.score(3)

        assert refused == [503, 503]
        assert doors.recorded(3)["purchases_1h"] == 2


def test_a_process_that_is_killed_on_the_way_counts_nothing_twice(
    redis: OwnRedis, history: OwnRedis, environment: dict[str, str]
) -> None:
    with RunningApi(redis.url, environment=environment) as api:
        doors = Doors(api, history, environment, redis.url)
        for number in range(1, 6):
            doors.score(number)
        # whatever was answered, or not: its client tries all of them again
        api.process.kill()
    with RunningApi(redis.url, environment=environment) as api:
        doors = Doors(api, history, environment, redis.url)
        for number in range(1, 6):
            doors.score(number)
        doors.score(6)

        assert doors.recorded(6)["purchases_1h"] == 5


def test_a_process_that_ends_while_the_history_is_away_says_what_the_history_will_lack(doors: Doors) -> None:
    doors.history.stop()
    doors.score(2)
    doors.api.process.send_signal(signal.SIGTERM)
    doors.api.process.wait(PATIENCE_SECONDS)

    eventually(lambda: "transactions are missing from the history" in doors.api.said)


def test_a_long_history_is_packed_after_the_answer(doors: Doors) -> None:
    for number in range(2, 60):
        doors.score(number)
    client = doors.history.client()

    def packed() -> bool:
        kept = [client.get(key) for key in client.scan_iter("riskline:{h*}:entity:*")]
        return sum(each.startswith(b"S") for each in kept) >= 3

    eventually(packed)
    doors.score(60)
    assert doors.recorded(60)["purchases_1h"] == 59


def test_a_flood_at_one_merchant_leaves_little_behind_and_is_counted_whole(doors: Doors) -> None:
    count, rows = 20, 1000
    for batch in range(count):
        flood = [purchase(10 + batch * rows + number, seconds=batch, card_id=f"C{number}") for number in range(rows)]
        status, answer = doors.post("/transactions/batch", flood)
        assert (status, answer["accepted"]) == (202, rows)
    client = doors.history.client()

    def longest() -> int:
        # what reads a long tail has it packed
        doors.post("/score-transaction?dry_run=false", purchase(9, seconds=count, card_id="C1"))
        return max(client.strlen(key) for key in client.scan_iter("riskline:{h*}:entity:*"))

    eventually(lambda: longest() < 8_192)
    doors.post("/score-transaction", purchase(8, seconds=count + 1, card_id="C2"))
    assert doors.recorded(8)["items_here"] == count * rows + 2
