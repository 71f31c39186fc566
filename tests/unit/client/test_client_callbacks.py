"""A callback that Riskline signed is verified and typed by its own client; any other is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from riskline.shared.webhooks.signing import Signer, new_secret
from riskline_client import CallbackNotVerified, verify_callback

OLD, NEW, OTHER = new_secret(), new_secret(), new_secret()
DECISION = {
    "transaction_id": "tx-1",
    "fraud_probability": 0.9985,
    "action": "DECLINE",
    "model_version": "20261124T064642-2347b5e2",
    "scored_at": "2026-11-24T06:46:44.903Z",
    "reasons": [],
}
STATE = {"transaction_id": "tx-1", "status": "scored", "submitted_at": "2026-11-24T06:46:44.880Z", "decision": DECISION}
SCORED = {"type": "transaction.scored", "timestamp": "2026-11-24T06:46:44.903Z", "data": STATE}


def signed(event: Any, *secrets: str, age: float = 0.0) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    headers = Signer(secrets).headers("msg_1", sent_at=datetime.now(UTC) - timedelta(seconds=age), body=body)
    return body, {name.title(): value for name, value in headers.items()}


def test_the_event_has_the_state_and_the_id_by_which_a_second_delivery_is_known() -> None:
    event = verify_callback(*signed(SCORED, NEW), NEW)

    assert (event.id, event.type) == ("msg_1", "transaction.scored")
    assert event.state is not None
    assert event.state.decision is not None
    assert event.state.decision.action == "DECLINE"
    assert event.timestamp == event.state.decision.scored_at


def test_while_a_secret_is_replaced_either_side_may_have_the_other_one() -> None:
    for signing, verifying in (((NEW, OLD), [OLD]), ((OLD,), [NEW, OLD]), ((NEW,), (OLD, NEW))):
        assert verify_callback(*signed(SCORED, *signing), verifying).id == "msg_1"


def test_a_failed_transaction_has_a_state_and_a_type_that_is_not_known_has_none() -> None:
    failed = {**STATE, "status": "failed", "decision": None, "error": "amount"}

    event = verify_callback(*signed({**SCORED, "type": "transaction.failed", "data": failed}, NEW), NEW)
    unknown = verify_callback(*signed({"type": "riskline.test", "data": {"message": "hello"}}, NEW), NEW)

    assert event.state is not None
    assert (event.state.status, event.state.error) == ("failed", "amount")
    assert (unknown.state, unknown.document["data"]) == (None, {"message": "hello"})


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"Webhook-Id": "msg_2"},
        {"Webhook-Timestamp": "soon"},
        *({"Webhook-Signature": each} for each in ("", "v1", "v1,", "v1,a,b", "v1,!", "v1,ä", "v2,AAAA")),
    ],
)
def test_what_is_not_signed_is_refused(changed: dict[str, str]) -> None:
    body, headers = signed(SCORED, NEW)

    with pytest.raises(CallbackNotVerified):
        verify_callback(body, {**headers, **changed} if changed else {}, [OLD, NEW])


@pytest.mark.parametrize("age", [400, -400])
def test_what_is_of_another_time_is_refused_with_the_reason(age: float) -> None:
    with pytest.raises(CallbackNotVerified, match=r"too (old|new)"):
        verify_callback(*signed(SCORED, NEW, age=age), NEW)


def test_a_body_that_was_changed_is_refused() -> None:
    body, headers = signed(SCORED, NEW)

    for other in (body.replace(b"DECLINE", b"APPROVE"), b"", b"\xff", body + b" "):
        with pytest.raises(CallbackNotVerified):
            verify_callback(other, headers, NEW)


@pytest.mark.parametrize("event", [[], 1, {"type": 1}, {"type": "transaction.scored", "data": {"decision": {}}}])
def test_a_signed_body_that_is_no_event_is_refused(event: Any) -> None:
    if event == {"type": 1}:
        assert verify_callback(*signed(event, NEW), NEW).state is None
        return
    with pytest.raises(CallbackNotVerified):
        verify_callback(*signed(event, NEW), NEW)


@pytest.mark.parametrize("secrets", [[], "", "whsec_", "whsec_!", ["whsec_a"]])
def test_a_secret_that_is_none_is_no_callbacks_fault(secrets: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        verify_callback(*signed(SCORED, NEW), secrets)
