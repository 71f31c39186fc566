"""What the workers measure comes to each API process by Redis, and says how many of them are needed."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import fakeredis
import pytest
from prometheus_client import REGISTRY

from riskline.ingest.background.backlog import Backlog
from riskline.ingest.background.worker_need import WorkerNeed
from riskline.shared.domain.capacity import BATCH, BatchTimes, Target
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.process.heartbeats import Presence
from riskline.shared.store.interfaces import Claim
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.status.paces import KEPT_BATCHES, AsyncPaces, BatchMeasurements, Paces
from riskline.shared.store.status.processes import Processes
from riskline.shared.store.status.tallies import Tallies
from riskline.shared.telemetry.metrics import WORKER_PACE, WORKERS_NEEDED
from riskline.worker.scoring import drain as draining
from riskline.worker.scoring.drain import Listeners
from riskline.worker.scoring.worker_status import WARM_UP_BATCHES, WorkerStatus
from tests.support.api import Api
from tests.support.factories import AmountModel, transaction_json
from tests.unit.store.test_processes import serving_of

FULL = {BATCH: BatchTimes(100, 100 * BATCH, 2.56)}
"""Ten thousand a second."""


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def needed() -> float | None:
    return metric("riskline_workers_needed", queue="scoring")


class Watched:
    """An API process that looks at a queue whose numbers the test sets."""

    def __init__(self, timed: dict[int, BatchTimes]) -> None:
        self.store = MemoryStore()
        self.store.workers = {"w": math.inf}
        self.now = 0.0
        self.backlog = Backlog(self.store, queue_limit=1_000_000, clock=lambda: self.now)
        self.measured = BatchMeasurements(timed, 2.5)
        self.away = False
        self.scaling = WorkerNeed(self.backlog, self, Target())

    async def read(self) -> BatchMeasurements:
        if self.away:
            raise StoreUnavailableError("Redis: away")
        return self.measured

    async def look(self, *, arrive: int = 0) -> None:
        self.now += 1
        self.store.totals["accepted"] += arrive
        await self.backlog.update()
        await self.scaling.update()


@pytest.fixture(autouse=True)
def _forget() -> None:
    # the metrics are the process's
    WORKERS_NEEDED.clear()
    WORKER_PACE.clear()


async def test_the_metrics_say_how_many_workers_the_load_needs() -> None:
    watched = Watched(FULL)

    for _ in range(3):
        await watched.look(arrive=21_000)

    assert needed() == 3
    assert metric("riskline_worker_pace_per_second", queue="scoring") == pytest.approx(10_000)
    assert watched.scaling.busy_seconds == 2.5


async def test_nothing_is_said_before_it_is_known_how_fast_transactions_arrive() -> None:
    """An autoscaler that finds no metric keeps what there is; a 0 would end workers at each start of an API."""
    watched = Watched(FULL)
    assert needed() is None

    await watched.look(arrive=1_000_000)
    assert needed() is None

    await watched.look(arrive=14_000)
    assert needed() == 2


async def test_what_arrived_before_the_last_ten_seconds_is_forgotten() -> None:
    watched = Watched(FULL)
    for _ in range(5):
        await watched.look(arrive=70_000)
    assert needed() == 10

    for _ in range(10):
        await watched.look()
    assert needed() == 1


async def test_an_outage_of_redis_changes_nothing_and_is_no_burst_afterwards() -> None:
    watched = Watched(FULL)
    for _ in range(3):
        await watched.look(arrive=21_000)

    watched.backlog._last = None
    watched.away = True
    watched.store.totals["accepted"] += 5_000_000
    await watched.scaling.update()
    assert needed() == 3

    watched.away = False
    for _ in range(2):
        await watched.look(arrive=7_000)
    assert needed() == 1


async def test_a_redis_that_lost_its_counts_is_no_negative_load() -> None:
    watched = Watched(FULL)
    for _ in range(3):
        await watched.look(arrive=21_000)

    watched.store.totals["accepted"] = 0
    for _ in range(3):
        await watched.look(arrive=14_000)

    assert needed() == 2


async def test_the_task_outlives_an_outage() -> None:
    watched = Watched(FULL)
    watched.away = True
    await watched.backlog.update()
    running = asyncio.create_task(watched.scaling.run())
    await asyncio.sleep(0)

    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def signs_on(redis: Any) -> WorkerStatus:
    presence = Presence(serving=serving_of(AmountModel()), process="w", kind="worker")
    signs = WorkerStatus(presence, Processes(redis), Tallies(redis), Paces(redis))
    for _ in range(WARM_UP_BATCHES):
        signs.time_batch(64, 30.0)
    return signs


async def test_what_workers_measured_comes_together_by_size_and_outlives_them() -> None:
    server = fakeredis.FakeServer()
    first, second = (signs_on(fakeredis.FakeRedis(server=server)) for _ in range(2))

    first.time_batch(1, 0.001)
    first.time_batch(256, 0.010)
    second.time_batch(256, 0.012)
    second.time_batch(255, 0.009)
    for each in (first, second):
        each.publish()
        each.leave()

    measured = await AsyncPaces(fakeredis.FakeAsyncRedis(server=server)).read()
    assert measured.timed == {
        1: BatchTimes(1, 1, 0.001),
        256: BatchTimes(2, 512, 0.022),
        128: BatchTimes(1, 255, 0.009),
    }
    assert measured.busy_seconds == pytest.approx(0.032)
    assert Paces(fakeredis.FakeRedis(server=server)).read() == measured


def test_the_first_batches_of_a_process_are_not_told_of() -> None:
    """A dozen new workers would have all seem slow, and a dozen more be started."""
    redis = fakeredis.FakeRedis()
    signs_on(redis).publish()

    assert Paces(redis).read() == BatchMeasurements({}, 0.0)


def test_small_batches_do_not_wash_away_what_is_known_of_large_ones_and_new_ones_replace_old_ones() -> None:
    paces = Paces(fakeredis.FakeRedis())
    paces.add({256: BatchTimes(400, 400 * 256, 4.0)})

    for _ in range(20):
        paces.add({1: BatchTimes(1000, 1000, 1.0)})
    assert paces.read().timed[256] == BatchTimes(400, 400 * 256, 4.0)
    assert paces.read().timed[1].batches == KEPT_BATCHES

    for _ in range(20):
        paces.add({256: BatchTimes(500, 500 * 256, 50.0)})
    assert paces.read().timed[256].seconds == pytest.approx(KEPT_BATCHES * 0.1, rel=0.01)
    # what Prometheus takes the rate of is never forgotten
    assert paces.read().busy_seconds == pytest.approx(4.0 + 20 + 1000.0)


def test_an_outage_costs_the_measurements_of_its_time_and_nothing_else() -> None:
    server = fakeredis.FakeServer()
    signs = signs_on(fakeredis.FakeRedis(server=server))

    server.connected = False
    signs.time_batch(8, 0.5)
    signs.publish()
    server.connected = True
    signs.time_batch(8, 0.001)
    signs.publish()

    assert Paces(fakeredis.FakeRedis(server=server)).read().timed == {8: BatchTimes(1, 8, 0.001)}


class SlowRedis:
    """A store that takes a while to write decisions, by a clock that the drain reads."""

    def __init__(self, store: MemoryStore, advance: Callable[[], None]) -> None:
        self._store, self._advance = store, advance

    def decide_and_claim(self, *args: Any, **options: Any) -> tuple[int, Claim]:
        self._advance()
        return self._store.decide_and_claim(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize(("redis_seconds", "timed"), [(0.25, [(3, 0.25)]), (2.0, [])])
def test_a_drain_times_its_batches_but_for_those_that_redis_held_up(
    redis_seconds: float, timed: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api()
    for number in range(3):
        api.client.simulate_post("/transactions", json=transaction_json(transaction_id=f"t{number}"))
    now = [100.0]
    monkeypatch.setattr(draining.time, "perf_counter", lambda: now[0])
    api.store = SlowRedis(api.store, lambda: now.__setitem__(0, now[0] + redis_seconds))
    seen: list[tuple[int, float]] = []

    assert api.work(Listeners(time_batch=lambda size, seconds: seen.append((size, seconds)))) == 3

    assert seen == timed
