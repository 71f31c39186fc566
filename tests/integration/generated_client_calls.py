"""Calls each operation through a client that was generated from the OpenAPI document, and looks at what it gives.

Run in the generated client's own environment, with the API's address, a key for everything, and a name for the ids; it
prints the operations that it called. It imports nothing of this project.
"""

import json
import sys
from datetime import datetime
from typing import Any, TypeVar

from riskline_client import AuthenticatedClient, Client
from riskline_client.api.feed import list_decisions
from riskline_client.api.operations import (
    erase_entity,
    get_health,
    get_liveness,
    get_metrics,
    get_open_api,
    get_readiness,
)
from riskline_client.api.queue import erase_transaction, get_transaction, submit_batch, submit_transaction
from riskline_client.api.scoring import score_transaction
from riskline_client.models import (
    Accepted,
    Action,
    BatchResult,
    Decision,
    DecisionPage,
    EraseEntityBody,
    GetOpenApiResponse200,
    Health,
    HealthStatus,
    Liveness,
    Problem,
    Readiness,
    ReadinessStatus,
    Transaction,
    TransactionState,
    TransactionStateStatus,
    TransactionSubmission,
)
from riskline_client.types import Unset

T = TypeVar("T")
called: set[str] = set()


def call(operation: Any, expected: type[T], status: int, **arguments: Any) -> T:
    """What the operation answers, of the type and status that it should be."""
    called.add(operation.__name__.rpartition(".")[2])
    answer = operation.sync_detailed(**arguments)
    assert answer.status_code == status, (operation, answer)
    assert isinstance(answer.parsed, expected), (operation, answer.parsed)
    return answer.parsed


def refused(operation: Any, status: int, name: str, **arguments: Any) -> Problem:
    """A problem of this status and name."""
    problem = call(operation, Problem, status, **arguments)
    assert (problem.type_, problem.status) == (f"urn:riskline:problem:{name}", status)
    assert problem.title
    assert problem.detail
    return problem


def transaction(transaction_id: str, *, customer_age: int = 24) -> Transaction:
    return Transaction(
        transaction_id=transaction_id,
        amount=4500.0,
        merchant_category_code=5942,
        customer_age=customer_age,
        distance_from_home=1250.5,
        is_online_transaction=1,
    )


def to_submit(transaction_id: str, *, amount: float = 4500.0) -> TransactionSubmission:
    return TransactionSubmission(
        transaction_id=transaction_id,
        amount=amount,
        merchant_category_code=5942,
        customer_age=24,
        distance_from_home=1250.5,
        is_online_transaction=1,
    )


def main(url: str, key: str, prefix: str) -> None:
    client = AuthenticatedClient(base_url=url, token=key)
    nobody = Client(base_url=url)

    decision = call(score_transaction, Decision, 200, client=client, body=transaction(f"{prefix}-1"))
    assert decision.action is Action.DECLINE
    assert isinstance(decision.scored_at, datetime)
    assert not isinstance(decision.reasons, Unset)
    assert {type(reason.contribution) for reason in decision.reasons} == {float}
    minor = transaction(f"{prefix}-1", customer_age=3)
    problem = refused(score_transaction, 422, "invalid-transaction", client=client, body=minor)
    assert not isinstance(problem.errors, Unset)
    assert [error.pointer for error in problem.errors] == ["/customer_age"]
    refused(score_transaction, 401, "key-needed", client=nobody, body=minor)

    submission = to_submit(f"{prefix}-2")
    accepted = call(submit_transaction, Accepted, 202, client=client, body=submission)
    assert isinstance(accepted.submitted_at, datetime)
    state = call(get_transaction, TransactionState, 200, client=client, transaction_id=f"{prefix}-2", wait=10)
    assert state.status is TransactionStateStatus.SCORED
    assert state.decision is not None
    assert state.decision.action is Action.DECLINE
    assert state.callback is None
    again = call(submit_transaction, TransactionState, 200, client=client, body=submission, prefer="wait=10")
    assert again.decision == state.decision
    other = to_submit(f"{prefix}-2", amount=1.0)
    refused(submit_transaction, 409, "conflict", client=client, body=other)
    refused(get_transaction, 404, "unknown-transaction", client=client, transaction_id=f"{prefix}-nobody")

    rows = [to_submit(f"{prefix}-3"), submission, other]
    batch = call(submit_batch, BatchResult, 202, client=client, body=rows)
    assert (batch.accepted, batch.known, [row.index for row in batch.rows]) == (1, 1, [2])

    page = call(list_decisions, DecisionPage, 200, client=client, after="0", limit=2, wait=10)
    assert all(isinstance(each, Decision) for each in page.decisions)
    assert 0 < len(page.decisions) <= 2
    refused(list_decisions, 422, "invalid-parameter", client=client, after="yesterday")
    call(list_decisions, DecisionPage, 200, client=client, after=page.next_)

    call(erase_transaction, type(None), 204, client=client, transaction_id=f"{prefix}-2")
    refused(get_transaction, 410, "transaction-erased", client=client, transaction_id=f"{prefix}-2")

    entity = EraseEntityBody(value="C-7731")
    refused(erase_entity, 404, "unknown-entity", client=client, entity="card_id", body=entity)

    assert call(get_health, Health, 200, client=nobody).status is HealthStatus.HEALTHY
    call(get_liveness, Liveness, 200, client=nobody)
    ready = call(get_readiness, Readiness, 200, client=nobody)
    assert (ready.status, ready.missing) == (ReadinessStatus.READY, [])
    assert "riskline_http_requests_total" in call(get_metrics, str, 200, client=client)
    assert "paths" in call(get_open_api, GetOpenApiResponse200, 200, client=nobody).to_dict()
    print(json.dumps(sorted(called)))


if __name__ == "__main__":
    main(*sys.argv[1:])
