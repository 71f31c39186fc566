"""What a client is told that finds the queue full: when there will be room, from the rate at which it is worked on."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from ingest.backlog import LONGEST_SECONDS, UNKNOWN_SECONDS, Backlog
from shared.errors import StoreUnavailableError
from shared.store.memory import MemoryStore
from shared.store.records import Outcome, queued_record
from tests.factories import a_transaction, transaction_json
from tests.unit.api import Api


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def looked_at(*, decided_per_second: int, seconds: int, queue_limit: int) -> Backlog:
    store, time = MemoryStore(), Time()
    backlog = Backlog(store, queue_limit=queue_limit, clock=time)
    await backlog.look()
    for _ in range(seconds):
        time.now += 1
        store.totals["decided"] += decided_per_second
        await backlog.look()
    return backlog


@pytest.mark.parametrize(
    ("decided_per_second", "queue_limit", "seconds"),
    [
        (1000, 1_000_000, 100),
        (1000, 10_000, 1),
        (3, 100, 4),
        (1, 1_000_000, LONGEST_SECONDS),
        (0, 100, UNKNOWN_SECONDS),
    ],
)
async def test_a_client_comes_again_when_a_tenth_of_the_queue_is_free(
    decided_per_second: int, queue_limit: int, seconds: int
) -> None:
    backlog = await looked_at(decided_per_second=decided_per_second, seconds=5, queue_limit=queue_limit)

    assert backlog.retry_after_seconds() == seconds


async def test_the_rate_follows_workers_that_come_and_go() -> None:
    store, time = MemoryStore(), Time()
    backlog = Backlog(store, queue_limit=1000, clock=time)
    for rate in [1000] * 20 + [10] * 10:
        time.now += 1
        store.totals["decided"] += rate
        await backlog.look()

    assert backlog.decided_per_second == pytest.approx(10)


async def test_before_the_first_looks_the_rate_is_unknown() -> None:
    assert Backlog(MemoryStore(), queue_limit=10).retry_after_seconds() == UNKNOWN_SECONDS


def test_a_refused_submission_and_a_refused_batch_are_told_when_there_is_room() -> None:
    api = Api(queue_limit=100)
    api.backlog._looks.extend([(0.0, 0), (10.0, 20)])
    rows = [transaction_json(transaction_id=str(i)) for i in range(101)]
    assert api.client.simulate_post("/transactions/batch", json=rows).json["refused"] == 1

    one = api.client.simulate_post("/transactions", json=transaction_json(transaction_id="more"))
    batch = api.client.simulate_post("/transactions/batch", json=[transaction_json(transaction_id="more")])

    assert (one.status_code, one.headers["retry-after"]) == (503, "5")
    assert (batch.status_code, batch.headers["retry-after"]) == (503, "5")


async def test_the_queue_is_shown_in_readiness_and_metrics_and_unknown_while_redis_is_away() -> None:
    api = Api()
    await api.store.accept([queued_record(a_transaction(), submitted_at="2026-11-24T03:15:07.123Z")])
    await api.store.accept([queued_record(a_transaction(transaction_id="b"), submitted_at="2026-11-24T03:15:07.123Z")])
    api.store.decide("w1", [Outcome("b", b"{}", b"")])
    api.store.sweep("w1", lease_seconds=5, turn_seconds=1)

    await api.backlog.look()

    assert REGISTRY.get_sample_value("riskline_transactions_undecided") == 1
    assert REGISTRY.get_sample_value("riskline_transactions_failed") == 1
    assert REGISTRY.get_sample_value("riskline_workers") == 1
    api.store.away = True
    with pytest.raises(StoreUnavailableError):
        await api.backlog.look()


def test_readiness_says_what_the_last_look_found() -> None:
    api = Api()

    before = api.client.simulate_get("/health/ready").json["queue"]
    api.client.simulate_post("/transactions", json=transaction_json())
    asyncio.run(api.backlog.look())

    assert before is None
    assert api.client.simulate_get("/health/ready").json["queue"] == {
        "undecided": 1,
        "oldest_seconds": 0.0,
        "failed": 0,
        "workers": 0,
    }
