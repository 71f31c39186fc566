"""What a client is told that finds the queue full: when there will be room, from the rate at which it is worked on."""

import asyncio
import math

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from riskline.ingest.background.backlog import LONGEST_SECONDS, SOON_SECONDS, UNKNOWN_SECONDS, Backlog
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import Outcome, queued_record
from tests.support.api import Api
from tests.support.factories import a_transaction, transaction_json


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A backlog over a store that tests fill and drain by numbers."""

    def __init__(self, *, queue_limit: int = 1_000_000, workers: int = 1) -> None:
        self.store = MemoryStore()
        self.time = Time()
        self.backlog = Backlog(self.store, queue_limit=queue_limit, clock=self.time)
        self.store.workers = {str(worker): math.inf for worker in range(workers)}
        self.busy(undecided=True)

    def busy(self, *, undecided: bool) -> None:
        self.store.undecided = {"a"} if undecided else set()

    async def look(self, *, decided: int = 0, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.time.now += 1
            self.store.totals["decided"] += decided
            await self.backlog.update()


@pytest.mark.parametrize(
    ("decided", "queue_limit", "said"),
    [
        (1000, 1_000_000, 100),
        (1000, 10_000, 1),
        (3, 100, 4),
        (1, 1_000_000, LONGEST_SECONDS),
        (0, 100, UNKNOWN_SECONDS),
    ],
)
async def test_a_client_comes_again_when_a_tenth_of_the_queue_is_free(
    decided: int, queue_limit: int, said: int
) -> None:
    watched = Watched(queue_limit=queue_limit)

    await watched.look(decided=decided, seconds=5)

    assert watched.backlog.retry_after_seconds() == said


async def test_the_rate_follows_workers_that_come_and_go() -> None:
    watched = Watched()
    await watched.look(decided=1000, seconds=20)

    await watched.look(decided=10, seconds=10)

    assert watched.backlog.decided_per_second == pytest.approx(10)


async def test_seconds_with_nothing_to_do_say_nothing_of_how_fast_the_workers_are() -> None:
    watched = Watched()
    await watched.look(decided=1000, seconds=5)
    watched.busy(undecided=False)

    await watched.look(decided=1, seconds=20)

    assert watched.backlog.decided_per_second == pytest.approx(1000)


async def test_an_outage_says_nothing_of_how_fast_the_workers_are() -> None:
    watched = Watched()
    await watched.look(decided=1000, seconds=5)
    watched.store.away = True
    running = asyncio.create_task(watched.backlog.run())
    await asyncio.sleep(0)
    running.cancel()
    watched.store.away = False
    watched.time.now += 600

    await watched.look(decided=1000, seconds=3)

    assert watched.backlog.decided_per_second == pytest.approx(1000)


@pytest.mark.parametrize(("workers", "said"), [(0, UNKNOWN_SECONDS), (1, SOON_SECONDS)])
async def test_before_the_rate_is_known_it_matters_whether_workers_live(workers: int, said: int) -> None:
    watched = Watched(workers=workers)

    await watched.look()

    assert watched.backlog.retry_after_seconds() == said


def test_a_refused_submission_and_a_refused_batch_are_told_when_there_is_room() -> None:
    api = Api(queue_limit=100)
    api.backlog._busy.append((10.0, 20))
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

    await api.backlog.update()

    assert REGISTRY.get_sample_value("riskline_transactions_undecided") == 1
    assert REGISTRY.get_sample_value("riskline_transactions_failed") == 1
    assert REGISTRY.get_sample_value("riskline_workers") == 1
    api.store.away = True
    with pytest.raises(StoreUnavailableError):
        await api.backlog.update()


def test_readiness_says_what_the_last_look_found() -> None:
    api = Api()

    before = api.client.simulate_get("/health/ready").json["queue"]
    api.client.simulate_post("/transactions", json=transaction_json())
    asyncio.run(api.backlog.update())

    assert before is None
    assert api.client.simulate_get("/health/ready").json["queue"] == {
        "undecided": 1,
        "oldest_seconds": 0.0,
        "failed": 0,
        "workers": 0,
        "callbacks": 0,
        "callbacks_overdue_seconds": 0.0,
        "callbacks_dead": 0,
        "receivers_paused": 0,
        "callbacks_held": 0,
    }


async def test_that_no_worker_lives_is_said_once_and_not_at_the_first_look_which_may_come_before_they_show_it() -> None:
    watched = Watched(workers=0)

    with capture_logs() as logs:
        await watched.look()
        assert logs == []
        await watched.look(seconds=3)

    assert [entry["event"] for entry in logs] == ["no worker shows signs of life"]


def test_that_no_worker_lives_is_degraded_before_anything_waits_and_leaves_the_process_ready() -> None:
    api = Api()
    asyncio.run(api.backlog.update())

    without = api.client.simulate_get("/health/ready")
    api.store.sweep("w1", lease_seconds=5, turn_seconds=1)
    asyncio.run(api.backlog.update())
    with_one = api.client.simulate_get("/health/ready")

    assert (without.status_code, without.json["status"], without.json["degraded"]) == (200, "ready", ["workers"])
    assert "riskline worker" in without.json["checks"]["workers"]
    assert (with_one.json["degraded"], "workers" in with_one.json["checks"]) == ([], False)
