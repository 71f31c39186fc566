"""One contract for the store in memory, for Lua on fakeredis, and (integration) for Lua on a real Redis."""

import asyncio
from collections.abc import Iterator
from typing import Any

import fakeredis
import orjson
import pytest

from shared.decision import Decision
from shared.errors import LifecycleError
from shared.policy import Action
from shared.store.memory import MemoryStore
from shared.store.records import Outcome, Submission, decided, decided_at_once, failed, queued_record, state_of
from shared.store.transactions import ACCEPTED, NO_ROOM, RedisIntake, RedisQueue
from tests.factories import a_transaction

NOW = "2026-11-24T03:15:07.123Z"
QUEUE_LIMIT = 5
LIMITS = {"result_ttl_seconds": 60, "feed_length": 1000}


class Store:
    """Both sides of a store behind one loop."""

    def __init__(self, intake: Any, queue: Any) -> None:
        self.intake = intake
        self.queue = queue
        self._loop = asyncio.new_event_loop()

    def accept(self, *submissions: Submission) -> list[Any]:
        return self._loop.run_until_complete(self.intake.accept(submissions))

    def get(self, transaction_id: str) -> Any:
        return self._loop.run_until_complete(self.intake.get([transaction_id]))[0]

    def record(self, *outcomes: Any) -> int:
        return self._loop.run_until_complete(self.intake.record(outcomes))

    def claim(self, claimer: str = "w1", count: int = 10, lease_seconds: float = 60) -> list[str]:
        return [each[0] for each in self.queue.claim(claimer, count=count, lease_seconds=lease_seconds)]

    def close(self) -> None:
        self._loop.close()


def memory_store() -> Iterator[Store]:
    both = MemoryStore(queue_limit=QUEUE_LIMIT)
    store = Store(both, both)
    yield store
    store.close()


def fake_store() -> Iterator[Store]:
    server = fakeredis.FakeServer()
    redis = fakeredis.FakeAsyncRedis(server=server)
    store = Store(
        RedisIntake(redis, queue_limit=QUEUE_LIMIT, **LIMITS), RedisQueue(fakeredis.FakeRedis(server=server), **LIMITS)
    )
    yield store
    store._loop.run_until_complete(redis.aclose())
    store.close()


@pytest.fixture(params=[memory_store, fake_store], ids=["memory", "fakeredis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    yield from request.param()


def a_submission(transaction_id: str = "a", **changes: Any) -> Submission:
    return queued_record(a_transaction(transaction_id=transaction_id, **changes), submitted_at=NOW)


def a_decision(transaction_id: str = "a", probability: float = 0.1) -> Decision:
    return Decision(transaction_id, probability, Action.APPROVE, "v1", NOW)


def at_once(transaction_id: str) -> Outcome:
    shown = orjson.dumps(a_decision(transaction_id).to_dict())
    transaction = a_transaction(transaction_id=transaction_id).to_json()
    return decided_at_once(transaction_id, transaction=transaction, scored_at=NOW, shown=shown)


def outcome_of(store: Store, transaction_id: str = "a", probability: float = 0.1) -> Any:
    return decided(store.get(transaction_id), a_decision(transaction_id, probability))


def test_an_accepted_transaction_is_queued_and_waits(store: Store) -> None:
    assert store.accept(a_submission("a"), a_submission("b")) == [ACCEPTED, ACCEPTED]

    assert state_of("a", store.get("a")) == {
        "transaction_id": "a",
        "status": "queued",
        "submitted_at": NOW,
        "decision": None,
        "callback": None,
    }
    assert store.claim() == ["a", "b"]


def test_an_id_is_accepted_once_and_its_record_is_answered_afterwards(store: Store) -> None:
    store.accept(a_submission("a", amount=5))

    again = store.accept(a_submission("a", amount=6), a_submission("b"), a_submission("b"))

    assert again[0]["transaction"]["amount"] == 5
    assert again[1] is ACCEPTED
    assert again[2]["transaction"]["transaction_id"] == "b"
    assert store.claim() == ["a", "b"]


def test_beyond_the_queue_limit_new_ones_are_refused_and_known_ones_are_not(store: Store) -> None:
    store.accept(*[a_submission(str(i)) for i in range(QUEUE_LIMIT - 1)])

    answers = store.accept(a_submission("last"), a_submission("more"), a_submission("0"))

    assert answers[0] is ACCEPTED
    assert answers[1] is NO_ROOM
    assert answers[2]["transaction"]["transaction_id"] == "0"
    assert store.get("more") is None


def test_a_claim_takes_the_oldest_and_leaves_the_rest_to_others(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"), a_submission("c"))

    assert store.claim("w1", count=2) == ["a", "b"]
    assert store.claim("w2", count=2) == ["c"]


def test_a_claim_answers_first_what_the_claimer_still_holds(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"), a_submission("c"))
    store.claim("w1", count=2)

    assert store.claim("w1", count=3) == ["a", "b", "c"]


def test_a_claim_that_waits_takes_what_waits_and_nothing_where_none_comes_in_time(store: Store) -> None:
    def claimed() -> list[str]:
        return [each for each, _ in store.queue.claim("w1", count=10, lease_seconds=60, wait_seconds=0.01)]

    assert claimed() == []
    store.accept(a_submission("a"), a_submission("b"))

    assert claimed() == ["a", "b"]


def test_a_decision_is_written_to_the_record_and_ends_the_claim(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim()

    assert store.queue.decide("w1", [outcome_of(store)]) == 1

    record = store.get("a")
    assert record["status"] == "scored"
    assert record["decision"] == a_decision().to_dict()
    assert record["transaction"] == a_transaction(transaction_id="a").model_dump()
    assert store.claim() == []


def test_the_first_decision_wins(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("w1")
    first, second = outcome_of(store, probability=0.1), outcome_of(store, probability=0.9)

    assert store.queue.decide("w1", [first]) == 1
    assert store.queue.decide("w2", [second]) == 0
    assert store.get("a")["decision"]["fraud_probability"] == 0.1


def test_deciding_a_part_keeps_the_claim_on_the_rest(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"))
    store.claim("w1")

    store.queue.decide("w1", [outcome_of(store, "a")])

    assert store.claim("w2") == []
    assert store.queue.leave("w1") == 1
    assert store.claim("w2") == ["b"]


def test_what_a_dead_claimer_held_waits_again_oldest_first(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"), a_submission("c"))
    store.claim("dead", count=2, lease_seconds=0)

    assert store.queue.sweep() == (2, 3)
    assert store.claim("w2") == ["a", "b", "c"]


def test_a_sweep_leaves_a_live_claimer_alone(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("alive", lease_seconds=60)

    assert store.queue.sweep() == (0, 0)


def test_a_claimer_that_leaves_gives_back_what_it_holds(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("w1")

    assert store.queue.leave("w1") == 1
    assert store.claim("w2") == ["a"]


def test_a_decision_that_comes_after_the_sweep_still_counts_once(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("slow", lease_seconds=0)
    late = outcome_of(store, probability=0.2)
    store.queue.sweep()
    store.claim("w2")

    assert store.queue.decide("slow", [late]) == 1
    assert store.queue.decide("w2", [late]) == 0


def test_a_failed_transaction_keeps_its_reason_and_is_not_decided(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim()

    store.queue.decide("w1", [failed("a", store.get("a"), "the model raised ValueError")])

    state = state_of("a", store.get("a"))
    assert state["status"] == "failed"
    assert state["error"] == "the model raised ValueError"
    assert state["decision"] is None


def test_a_synchronous_decision_is_recorded_unless_the_id_is_known(store: Store) -> None:
    store.accept(a_submission("a"))

    new = store.record(*[at_once(id_) for id_ in ("a", "b", "b")])

    assert new == 1
    assert store.get("a")["status"] == "queued"
    assert store.get("b")["decision"] == a_decision("b").to_dict()


def test_a_decided_record_cannot_be_decided_again(store: Store) -> None:
    store.accept(a_submission("a"))
    store.queue.decide("w1", [outcome_of(store)])

    with pytest.raises(LifecycleError, match="scored cannot decide"):
        outcome_of(store)


def test_an_unknown_id_has_no_record(store: Store) -> None:
    assert store.get("nobody") is None


def test_all_keys_are_ours_and_have_a_bound() -> None:
    server = fakeredis.FakeServer()
    redis = fakeredis.FakeRedis(server=server)
    store = Store(
        RedisIntake(fakeredis.FakeAsyncRedis(server=server), queue_limit=QUEUE_LIMIT, **LIMITS),
        RedisQueue(redis, **LIMITS),
    )
    store.accept(a_submission("a"), a_submission("b"))
    store.claim(count=1)
    store.queue.decide("w1", [outcome_of(store)])
    store.claim(count=1)

    assert {key.decode() for key in redis.keys("*")} == {
        "riskline:{0}:tx:a",
        "riskline:{0}:tx:b",
        "riskline:{0}:undecided",
        "riskline:{0}:claimed:w1",
        "riskline:{0}:claimers",
        "riskline:{0}:decisions",
    }
    assert redis.ttl("riskline:{0}:tx:a") == 60
    assert redis.ttl("riskline:{0}:tx:b") == -1
    assert [orjson.loads(fields[b"d"]) for _, fields in redis.xrange("riskline:{0}:decisions")] == [
        a_decision("a").to_dict()
    ]
    store._loop.run_until_complete(store.intake._redis.aclose())
    store.close()
