"""Each process says which version it serves; one that says nothing any more is forgotten."""

from collections import Counter
from dataclasses import replace
from typing import Any

import fakeredis
import pytest

from riskline.shared.domain.assessment import decide_all
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError, StoreUnavailableError
from riskline.shared.model.serving import Serving
from riskline.shared.process.heartbeats import REPEAT_SECONDS, Presence, process_name
from riskline.shared.store.keys import Keys
from riskline.shared.store.status.paces import Paces
from riskline.shared.store.status.processes import (
    LIFETIME_SECONDS,
    MAX_PROBLEM,
    Processes,
    ProcessState,
    RecentWork,
    VersionCount,
    by_version,
    refusing,
)
from riskline.shared.store.status.tallies import KEPT_VERSIONS, AsyncTallies, Tallies
from riskline.worker.scoring.worker_status import WorkerStatus
from tests.support.factories import AmountModel, FixedSource, a_transaction


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def state(process: str = "a", **changes: Any) -> ProcessState:
    values: dict[str, Any] = {
        "kind": "api",
        "host": "h",
        "pid": 7,
        "version": "v1",
        "since": "2026-11-24T03:15:07.123Z",
        "wanted": "v1",
        "pinned": False,
        "problem": None,
    }
    return ProcessState(process=process, **{**values, **changes})


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def processes(redis: fakeredis.FakeRedis) -> Processes:
    return Processes(redis)


def serving_of(model: Any) -> Serving:
    serving = Serving(FixedSource(model), inputs_of(Transaction))
    serving.refresh()
    return serving


def test_what_a_process_says_is_read_as_it_was_said(processes: Processes) -> None:
    processes.announce(state("a", problem='broken \\ "quoted" \n ä'))
    processes.announce(state("b", kind="worker"))

    assert processes.living() == [state("a", problem='broken \\ "quoted" \n ä'), state("b", kind="worker")]


def test_a_process_that_leaves_or_says_nothing_any_more_is_forgotten(
    processes: Processes, redis: fakeredis.FakeRedis
) -> None:
    seconds = redis.time()[0]
    redis.hset(Keys().processes, "dead", f"{seconds * 1000 - 1} {state('dead').model_dump_json()}")
    processes.announce(state("gone"))
    processes.leave("gone")
    assert processes.living() == []

    processes.announce(state("a"))

    assert redis.hkeys(Keys().processes) == [b"a"]
    assert 0 < redis.pttl(Keys().processes) <= LIFETIME_SECONDS * 1000


def test_what_another_release_wrote_does_not_hide_the_others(processes: Processes, redis: fakeredis.FakeRedis) -> None:
    processes.announce(state("a"))
    until = redis.time()[0] * 1000 + 5000
    redis.hset(Keys().processes, mapping={"b": f'{until} {{"process":"b"}}', "c": "nonsense"})

    assert [each.process for each in processes.living()] == ["a"]


def test_processes_are_counted_by_version_and_kind() -> None:
    states = [state("a"), state("b"), state("c", kind="worker", version="v2"), state("d", version=None, problem="no")]

    assert by_version(states) == [VersionCount(None, 1, 0), VersionCount("v1", 2, 0), VersionCount("v2", 0, 1)]
    assert [each.process for each in refusing(states)] == ["d"]


def test_a_process_says_what_it_serves_and_why_not() -> None:
    good = Presence(serving=serving_of(AmountModel()), process="a", kind="api").state()
    bad = Presence(serving=serving_of(BundleError("x" * 10_000)), process="b", kind="worker").state()

    assert (good.version, good.problem) == (AmountModel().version, None)
    assert good.since is not None
    assert (bad.version, bad.problem) == (None, "x" * MAX_PROBLEM)


def test_a_change_is_said_at_once_and_the_same_only_now_and_then() -> None:
    time, serving = Time(), serving_of(AmountModel())
    presence = Presence(serving=serving, process="a", kind="api", clock=time)
    first = presence.state_to_publish()
    assert first is not None
    presence.mark_published(first)
    assert presence.state_to_publish() is None

    time.now += REPEAT_SECONDS
    again = presence.state_to_publish()
    assert again is not None
    assert again.bare == first.bare
    presence.mark_published(first)
    serving.problem = "refused"
    assert presence.state_to_publish() is not None


def test_a_worker_says_with_each_sign_what_it_did_since_the_one_before() -> None:
    time = Time()
    presence = Presence(serving=serving_of(AmountModel()), process="w", kind="worker", clock=time)
    first = presence.state_to_publish()
    assert first is not None
    presence.mark_published(first)

    presence.add_batch(100)
    presence.add_batch(50)
    assert presence.state_to_publish() is None
    time.now += REPEAT_SECONDS
    lost = presence.state_to_publish()
    presence.add_batch(6)
    time.now += 1
    said = presence.state_to_publish()
    assert said is not None
    presence.mark_published(said)
    time.now += REPEAT_SECONDS
    idle = presence.state_to_publish()

    assert (lost and lost.lately) == RecentWork(seconds=REPEAT_SECONDS, transactions=150, batches=2)
    assert said.lately == RecentWork(seconds=REPEAT_SECONDS + 1, transactions=156, batches=3)
    assert (idle and idle.lately) == RecentWork(seconds=REPEAT_SECONDS, transactions=0, batches=0)
    assert said.said_at is not None


def test_two_processes_of_one_machine_have_different_names() -> None:
    assert process_name() != process_name()


def test_a_worker_that_cannot_say_it_goes_on_and_says_it_later(redis: fakeredis.FakeRedis) -> None:
    away = True

    class Sometimes(Processes):
        def announce(self, state: ProcessState) -> None:
            if away:
                raise StoreUnavailableError("Redis: away")
            super().announce(state)

    signs = WorkerStatus(
        Presence(serving=serving_of(AmountModel()), process="w", kind="worker"),
        Sometimes(redis),
        Tallies(redis),
        Paces(redis),
    )
    signs.publish()
    assert Processes(redis).living() == []

    away = False
    signs.publish()
    assert [each.process for each in Processes(redis).living()] == ["w"]
    signs.leave()
    assert Processes(redis).living() == []


DECIDED_AT = "2026-11-24T03:15:07.123Z"


async def test_a_worker_tells_how_many_it_decided_without_history() -> None:
    server = fakeredis.FakeServer()
    redis = fakeredis.FakeRedis(server=server)
    presence = Presence(serving=serving_of(AmountModel()), process="w", kind="worker")
    signs = WorkerStatus(presence, Processes(redis), Tallies(redis), Paces(redis))
    known = decide_all([a_transaction(amount=amount) for amount in (1, 2, 3)], AmountModel(), scored_at=DECIDED_AT)
    away = [replace(each, history="away") for each in known[:2]]

    for decisions in (known, away):
        signs.count([{"submitted_at": DECIDED_AT}] * len(decisions), decisions)
    signs.publish()

    told = await AsyncTallies(fakeredis.FakeAsyncRedis(server=server)).read_measured()
    assert {field: number for field, number in told.items() if field.measure == "without_history"} == {
        ("without_history", "", "number"): 2
    }


async def test_a_worker_tells_what_it_decided_by_version_and_loses_none_while_redis_is_away() -> None:
    server = fakeredis.FakeServer()
    redis = fakeredis.FakeRedis(server=server)
    presence = Presence(serving=serving_of(AmountModel()), process="w", kind="worker")
    signs = WorkerStatus(presence, Processes(redis), Tallies(redis), Paces(redis))
    decisions = decide_all(
        [a_transaction(amount=amount) for amount in (1, 2, 9000)], AmountModel(), scored_at=DECIDED_AT
    )
    records = [{"submitted_at": each} for each in ("2026-11-24T03:15:06.900Z", "2026-11-24T03:15:06.900Z", "not ours")]

    server.connected = False
    signs.count(records, decisions)
    signs.publish()
    server.connected = True
    signs.count(records, decisions)
    signs.publish()

    version = AmountModel().version
    tallies = AsyncTallies(fakeredis.FakeAsyncRedis(server=server))
    told = await tallies.read()
    assert {what: number for what, number in told.items() if not what[1].startswith("p:")} == {
        (version, "APPROVE"): 4,
        (version, "DECLINE"): 2,
    }
    assert (told[version, "p:0.05"], told[version, "p:0.9"], told[version, "p:sum"]) == (4, 2, 18_006)
    assert await tallies.read_measured() == {
        ("batch", "", "4.0"): 2,
        ("batch", "", "sum"): 6,
        ("queue_seconds", "", "0.25"): 4,
        ("queue_seconds", "", "sum"): 892_000,
    }


async def test_the_oldest_versions_are_counted_as_older_ones_so_that_no_sum_falls() -> None:
    server = fakeredis.FakeServer()
    tallies = Tallies(fakeredis.FakeRedis(server=server))
    for number in range(KEPT_VERSIONS + 2):
        tallies.add(Counter({(f"2026{number:02d}", "APPROVE"): 1}))

    told = await AsyncTallies(fakeredis.FakeAsyncRedis(server=server)).read()

    kept = [f"2026{number:02d}" for number in range(2, KEPT_VERSIONS + 2)]
    assert sorted(version for version, _ in told) == [*kept, "older"]
    assert told["older", "APPROVE"] == 2
    assert sum(told.values()) == KEPT_VERSIONS + 2


async def test_an_old_version_that_serves_again_is_counted() -> None:
    server = fakeredis.FakeServer()
    tallies = Tallies(fakeredis.FakeRedis(server=server))
    for number in range(1, KEPT_VERSIONS + 1):
        tallies.add(Counter({(f"2026{number:02d}", "APPROVE"): 1}))

    for _ in range(2):
        tallies.add(Counter({("202600", "APPROVE"): 3}))

    told = await AsyncTallies(fakeredis.FakeAsyncRedis(server=server)).read()
    assert told["202600", "APPROVE"] == 6
    assert "older" in {version for version, _ in told}
    assert len(told) == KEPT_VERSIONS + 1
