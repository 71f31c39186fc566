"""An API process knows which processes serve what without asking when it is asked."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import fakeredis
import pytest
from prometheus_client import REGISTRY

from riskline.ingest.background.process_status import ProcessStatus
from riskline.shared.errors import BundleError, StoreUnavailableError
from riskline.shared.process.heartbeats import Presence
from riskline.shared.store.status.processes import AsyncProcesses, Processes, ProcessState
from riskline.shared.store.status.tallies import AsyncTallies, Measured, Tallied, Tallies
from tests.support.api import Api
from tests.support.factories import AmountModel
from tests.unit.store.test_processes import serving_of, state

VERSION = AmountModel().version


class Signs:
    """Redis, which can be away."""

    def __init__(self) -> None:
        self.away = False
        self.announced: list[ProcessState] = []
        self.others: list[ProcessState] = []

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("Redis: away")

    async def announce(self, state: ProcessState) -> list[ProcessState]:
        self._reach()
        self.announced.append(state)
        return [*self.others, state]

    async def living(self) -> list[ProcessState]:
        self._reach()
        return [*self.others, *self.announced[-1:]]

    async def leave(self, process: str) -> None:
        self._reach()


class Nothing:
    """No worker has decided anything yet."""

    async def read(self) -> Tallied:
        return Counter()

    async def read_measured(self) -> Measured:
        return Counter()


def fleet_of(signs: Signs, model: Any = None) -> ProcessStatus:
    return ProcessStatus(
        Presence(serving=serving_of(model or AmountModel()), process="me", kind="api"), signs, Nothing()
    )


async def one_round(fleet: ProcessStatus) -> None:
    running = asyncio.create_task(fleet.run())
    await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_it_says_what_it_serves_once_and_looks_at_the_others() -> None:
    signs = Signs()
    fleet = fleet_of(signs)

    await fleet.update()
    signs.others = [state("w", kind="worker", version="v2")]
    await fleet.update()

    assert [each.version for each in signs.announced] == [VERSION]
    assert [each.version for each in fleet.states or ()] == ["v2", VERSION]


async def test_an_outage_of_redis_costs_the_look_and_nothing_else() -> None:
    signs = Signs()
    fleet = fleet_of(signs)
    await one_round(fleet)
    assert fleet.states is not None

    signs.away = True
    await one_round(fleet)
    await fleet.leave()

    assert (fleet.states, fleet.decided, fleet.measured) == (None, None, None)


async def test_versions_are_counted_in_the_metrics_and_one_that_nobody_serves_any_more_is_zero() -> None:
    signs = Signs()
    fleet = fleet_of(signs)
    signs.others = [state("w", kind="worker", version="v-old"), state("b", version=None, problem="refused")]
    await fleet.update()

    def sample(kind: str, version: str) -> float | None:
        return REGISTRY.get_sample_value("riskline_model_processes", {"kind": kind, "version": version})

    assert (sample("worker", "v-old"), sample("api", VERSION)) == (1, 1)
    assert REGISTRY.get_sample_value("riskline_model_refusals") == 1
    signs.others = []
    await fleet.update()
    assert (sample("worker", "v-old"), sample("api", VERSION)) == (0, 1)
    assert REGISTRY.get_sample_value("riskline_model_refusals") == 0


async def test_the_client_of_the_event_loop_says_and_reads_the_same_as_the_other() -> None:
    server = fakeredis.FakeServer()
    processes = AsyncProcesses(fakeredis.FakeAsyncRedis(server=server))

    assert await processes.announce(state("a")) == [state("a")]
    assert await processes.living() == Processes(fakeredis.FakeRedis(server=server)).living() == [state("a")]
    await processes.leave("a")
    assert await processes.living() == []


@pytest.mark.parametrize("looked", [True, False])
def test_readiness_tells_who_serves_what_from_the_last_look(looked: bool) -> None:
    api = Api()
    if looked:
        api.processes.states = [state("a"), state("w", kind="worker", version="v0", wanted="v1", problem="altered")]

    ready = api.client.simulate_get("/health/ready").json

    assert ready["model_problem"] is None
    if not looked:
        assert ready["processes"] is None
        return
    assert ready["processes"]["versions"] == [
        {"version": "v0", "api": 0, "workers": 1},
        {"version": "v1", "api": 1, "workers": 0},
    ]
    assert [(each["process"], each["problem"]) for each in ready["processes"]["refusals"]] == [("w", "altered")]


def test_a_process_that_serves_an_old_version_is_ready_and_says_why_not_the_new_one() -> None:
    api = Api()
    api.serving._source.model = BundleError("model bundle v2: trees.npz was altered")
    api.serving._source.active_version = lambda: "v2"

    api.serving.refresh()
    ready = api.client.simulate_get("/health/ready")

    assert ready.status_code == 200
    assert ready.json["model_version"] == VERSION
    assert "trees.npz was altered" in ready.json["model_problem"]


async def test_what_the_workers_decided_is_seen_by_version() -> None:
    server = fakeredis.FakeServer()
    Tallies(fakeredis.FakeRedis(server=server)).add(Counter({("tally-1", "DECLINE"): 3, ("tally-1", "APPROVE"): 4}))
    presence = Presence(serving=serving_of(AmountModel()), process="me", kind="api")
    fleet = ProcessStatus(presence, Signs(), AsyncTallies(fakeredis.FakeAsyncRedis(server=server)))

    await fleet.update()

    assert fleet.decided == {("tally-1", "DECLINE"): 3, ("tally-1", "APPROVE"): 4}
