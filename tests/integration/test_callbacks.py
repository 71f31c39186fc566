"""Callbacks from the submission to the receiver, through `riskline up`, its Redis and its delivery worker."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from riskline.shared.webhooks.signing import new_secret
from tests.integration.receivers import Receiver, Reply, Unaccepting, make_certificate
from tests.integration.running import RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

SECRETS = new_secret(), new_secret()
"""What one attempt may take."""


@pytest.fixture(scope="module")
def environment(demo_environment: dict[str, str]) -> dict[str, str]:
    return {
        **demo_environment,
        "RISKLINE_CALLBACK_SECRET": ",".join(SECRETS),
        "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32",
        "RISKLINE_CALLBACK_SCHEDULE": "0,1,60",
    }


@pytest.fixture(scope="module")
def up(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    with RunningUp(tmp_path_factory.mktemp("up"), environment=environment) as running:
        yield running


def submit(up: RunningUp, transaction_id: str, url: str, **changes: Any) -> int:
    transaction = transaction_json(transaction_id=transaction_id, callback_url=url, **changes)
    status, _ = up.request("POST", "/transactions", json.dumps(transaction).encode())
    return status


def callback(up: RunningUp, transaction_id: str) -> dict[str, Any]:
    status, state = up.request("GET", f"/transactions/{transaction_id}")
    assert status == 200
    return state["callback"]


def attempted(up: RunningUp, transaction_id: str) -> dict[str, Any]:
    """The callback once an attempt is kept."""
    eventually(lambda: callback(up, transaction_id)["attempts"])
    return callback(up, transaction_id)


def over(up: RunningUp, transaction_id: str) -> dict[str, Any]:
    """The callback once it is delivered or given up."""
    eventually(lambda: callback(up, transaction_id)["status"] in {"delivered", "dead"})
    return callback(up, transaction_id)


def test_the_decision_comes_signed_by_both_secrets_and_is_the_one_that_is_polled(up: RunningUp) -> None:
    with Receiver("204") as receiver:
        assert submit(up, "a", receiver.url) == 202
        state = over(up, "a")

    [request] = receiver.requests
    for secret in SECRETS:
        event = Webhook(secret).verify(request.body, request.headers)
        assert event["type"] == "transaction.scored"
        _, polled = up.request("GET", "/transactions/a")
        assert event["data"] == {name: value for name, value in polled.items() if name != "callback"}
        assert event["timestamp"] == polled["decision"]["scored_at"]
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert request.headers["webhook-id"] == state["webhook_id"]
    assert (state["url"], state["event"], state["next_attempt_at"]) == (receiver.url, "transaction.scored", None)
    [attempt] = state["attempts"]
    assert (attempt["status"], attempt["error"], attempt["latency_ms"] > 0) == (204, None, True)


def test_a_repeated_submission_is_not_called_back_again_and_another_url_is_another_body(up: RunningUp) -> None:
    with Receiver("200") as receiver:
        submit(up, "b", receiver.url)
        over(up, "b")

        assert submit(up, "b", receiver.url) == 200
        assert submit(up, "b", receiver.url + "&other") == 409
        time.sleep(0.3)

    assert len(receiver.requests) == 1


def test_each_row_of_a_batch_has_a_callback_of_its_own(up: RunningUp) -> None:
    with Receiver("200") as one, Receiver("200") as other:
        rows = [
            transaction_json(transaction_id="r1", callback_url=one.url),
            transaction_json(transaction_id="r2"),
            transaction_json(transaction_id="r3", callback_url=other.url),
            transaction_json(transaction_id="r4", callback_url="https://10.0.0.1/"),
        ]
        _, answer = up.request("POST", "/transactions/batch", json.dumps(rows).encode())
        assert (over(up, "r1")["status"], callback(up, "r2"), over(up, "r3")["status"]) == (
            "delivered",
            None,
            "delivered",
        )

    assert (answer["accepted"], [row["index"] for row in answer["rows"]]) == (3, [3])
    assert [row["errors"][0]["pointer"] for row in answer["rows"]] == ["/callback_url"]
    assert (len(one.requests), len(other.requests)) == (1, 1)


NEXT = {
    # behaviour: status, and whether it is over, has a next attempt, or is given up
    "200": (200, "delivered"),
    "204": (204, "delivered"),
    "301": (301, "pending"),
    "400": (400, "pending"),
    "410": (410, "dead"),
    "429": (429, "pending"),
    "500": (500, "pending"),
    "502": (502, "pending"),
    "slow-headers": (None, "pending"),
    "slow-body": (200, "delivered"),
    "endless-body": (200, "delivered"),
    "closes-at-once": (None, "pending"),
    "closes": (None, "pending"),
    "resets": (None, "pending"),
    "garbage": (None, "pending"),
    "silent": (None, "pending"),
}


def test_whatever_a_receiver_does_it_has_its_next_state_and_holds_up_no_other(up: RunningUp, tmp_path: Path) -> None:
    with ExitStack() as stack:
        receivers = {behaviour: stack.enter_context(Receiver(behaviour)) for behaviour in NEXT}
        insecure = stack.enter_context(Receiver("200", ssl_context=make_certificate(tmp_path).server_context()))
        urls = {behaviour: receiver.url for behaviour, receiver in receivers.items()}
        urls |= {"wrong-tls": insecure.url, "never-accepts": stack.enter_context(Unaccepting()).url}
        expected = {**NEXT, "wrong-tls": (None, "pending"), "never-accepts": (None, "pending")}
        for behaviour, url in urls.items():
            assert submit(up, f"next-{behaviour}", url) == 202
        for behaviour, (status, next_state) in expected.items():
            state = attempted(up, f"next-{behaviour}")
            first = state["attempts"][0]
            assert (first["status"], first["status"] is None) == (status, first["error"] is not None), behaviour
            seen = "pending" if state["status"] == "dead" and len(state["attempts"]) == 3 else state["status"]
            assert seen == next_state, (behaviour, state)

    assert not insecure.requests
    first, second = (datetime.fromisoformat(each["at"]) for each in callback(up, "next-429")["attempts"])
    # its Retry-After is 7 s, the schedule's next attempt would be 1 s later
    assert (second - first).total_seconds() >= 7


def test_a_receiver_that_is_back_is_tried_again_under_the_same_id_with_a_new_signature(up: RunningUp) -> None:
    with Receiver(lambda _: Reply(503 if len(receiver.requests) == 1 else 200)) as receiver:
        submit(up, "again", receiver.url)
        state = over(up, "again")

    first, second = receiver.requests
    assert [each["status"] for each in state["attempts"]] == [503, 200]
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.at - first.at > 0.7
    Webhook(SECRETS[0]).verify(second.body, second.headers)


def test_an_operator_lists_shows_and_replays(up: RunningUp, environment: dict[str, str]) -> None:
    own = {**environment, "RISKLINE_DATA": str(up.data)}
    with Receiver("410") as receiver:
        submit(up, "gone", receiver.url)
        assert over(up, "gone")["error"] == "the receiver wants no more of it (410)"

        listed = riskline("callbacks", "list", "--dead", "--json", environment=own)
        assert "gone" in [json.loads(line)["transaction_id"] for line in listed.stdout.splitlines()]
        shown = riskline("callbacks", "show", "gone", environment=own).stdout
        assert "status 410" in shown
        assert "the receiver wants no more of it (410)" in shown

        receiver.behaviour = "200"
        assert riskline("callbacks", "replay", "gone", environment=own).returncode == 0
        assert over(up, "gone")["status"] == "delivered"
        assert len({each.headers["webhook-id"] for each in receiver.requests}) == 1

        tried = riskline("callbacks", "test", receiver.url, environment=own)
        assert tried.stdout.startswith("received: status 200")
        assert json.loads(receiver.requests[-1].body)["type"] == "riskline.test"
        receiver.behaviour = "500"
        assert riskline("callbacks", "test", receiver.url, environment=own).returncode == 1
    unknown = riskline("callbacks", "replay", "nobody", environment=own)
    assert (unknown.returncode, "has no callback" in unknown.stderr) == (1, True)
    assert riskline("doctor", "--audit", environment=own).returncode == 0


def test_a_worker_that_is_told_to_stop_ends_in_time_and_loses_nothing(up: RunningUp) -> None:
    with Receiver("200", delay_seconds=6) as receiver:
        submit(up, "stopped", receiver.url)
        eventually(lambda: receiver.requests)
        pid = up.state["children"]["callbacks worker 1"]
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: up.state["children"]["callbacks worker 1"] not in {0, pid})
        assert not up.said("is killed")
        receiver.delay_seconds = 0
        assert over(up, "stopped")["status"] == "delivered"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example/",
        "http://shop.example/hook",
        "https://user:password@shop.example/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x0a000001/",
        "https://shop.example:22/",
        "https://shop.example/#@127.0.0.1",
        "//shop.example/",
        "",
    ],
)
def test_a_url_that_must_not_be_called_is_refused_at_the_door(url: str, strict_up: RunningUp) -> None:
    status, problem = strict_up.request(
        "POST", "/transactions", json.dumps(transaction_json(callback_url=url, amount=-1)).encode()
    )

    assert status == 422
    assert [each["pointer"] for each in problem["errors"]] == ["/amount", "/callback_url"]


@pytest.fixture(scope="module")
def strict_up(demo_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """One that allows nothing."""
    settings = {"RISKLINE_CALLBACK_SECRET": SECRETS[0], "RISKLINE_CALLBACK_SCHEDULE": "0,1"}
    data = tmp_path_factory.mktemp("up")
    with RunningUp(data, environment={**demo_environment, **settings}) as running:
        yield running
