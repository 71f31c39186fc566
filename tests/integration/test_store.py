"""One contract for the store in memory, for Lua on fakeredis, and for Lua on a real Redis."""

import orjson
import pytest

from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import LifecycleError
from riskline.shared.store.interfaces import ACCEPTED, NO_ROOM
from riskline.shared.store.records import failed, state_of
from riskline.worker.scoring.drain import outcomes
from tests.integration.stores import NOW, QUEUE_LIMIT, Store, a_decision, a_submission, at_once, fake_store, outcome_of
from tests.support.factories import AmountModel, a_transaction

pytestmark = pytest.mark.integration


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


def test_a_claim_answers_first_what_the_worker_still_holds(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"), a_submission("c"))
    store.claim("w1", count=2)

    assert store.claim("w1", count=3) == ["a", "b", "c"]


def test_a_claim_that_waits_takes_what_waits_and_nothing_where_none_comes_in_time(store: Store) -> None:
    def claimed() -> list[str]:
        return [each for each, _ in store.queue.claim("w1", count=10, lease_seconds=60, wait_seconds=0.01).rows]

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


def test_what_is_given_back_comes_first_unless_it_shall_come_last(store: Store) -> None:
    store.accept(*(a_submission(each) for each in "abcd"))

    store.claim("w1", count=2)
    store.queue.leave("w1")
    assert store.claim("w1", count=2) == ["a", "b"]
    assert store.queue.leave("w1", last=True) == 2

    assert store.claim("w2") == ["c", "d", "a", "b"]


def test_a_decision_that_comes_after_the_sweep_still_counts_once(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("slow", lease_seconds=0)
    late = outcome_of(store, probability=0.2)
    store.sweep("w2")
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

    answers = store.record(*[at_once(id_) for id_ in ("a", "b", "b")])

    assert [answer is ACCEPTED for answer in answers] == [False, True, False]
    assert store.get("a")["status"] == "queued"
    assert store.get("b")["decision"] == a_decision("b").to_dict()


def test_a_decided_record_cannot_be_decided_again(store: Store) -> None:
    store.accept(a_submission("a"))
    store.queue.decide("w1", [outcome_of(store)])

    with pytest.raises(LifecycleError, match="scored cannot decide"):
        outcome_of(store)


def test_an_unknown_id_has_no_record(store: Store) -> None:
    assert store.get("nobody") is None


def test_the_record_of_a_known_id_is_answered_where_it_is_wanted(store: Store) -> None:
    store.accept(a_submission("a", amount=5))

    (answer,) = store.record(at_once("a"), wanted=True)

    assert answer["transaction"]["amount"] == 5


@pytest.mark.parametrize(
    "kept", [b"\xff", b"[]", b'{"status":"queued","submitted_at":"now","transaction":{"opt":1%b}}' % (b"0" * 400)]
)
def test_an_accepted_transaction_whose_record_cannot_be_read_fails(store: Store, kept: bytes) -> None:
    store.accept(a_submission("a"), a_submission("b"))
    if store.redis is None:
        store.intake.records["a"] = kept
    else:
        store.redis.set("riskline:{0}:tx:a", kept)

    claimed = store.queue.claim("w1", count=10, lease_seconds=60)
    done = outcomes(claimed, model=AmountModel(), transaction_class=Transaction)

    assert store.queue.decide("w1", done) == 2
    assert store.counts().undecided == store.counts().unreadable == 0
    assert store.get("a")["status"] == "failed"
    assert store.get("a")["error"] == "its record cannot be read (status): submit the transaction by another id"
    assert store.get("b")["status"] == "scored"
    assert store.failures.replay(["a"])
    done = outcomes(
        store.queue.claim("w1", count=10, lease_seconds=60), model=AmountModel(), transaction_class=Transaction
    )
    assert store.queue.decide("w1", done) == 1
    assert store.get("a")["status"] == "failed"


def test_all_keys_are_ours_and_have_a_bound() -> None:
    store = fake_store()
    store.accept(*[a_submission(name) for name in "abcde"])
    store.claim("w2", count=2)
    store.decide("a", worker="w2")
    store.fail("b", worker="w2")
    store.claim("dead", count=1, lease_seconds=0)
    store.claim("w1", count=1)
    store.sweep("w1")
    redis = store.redis

    assert {key.decode() for key in redis.keys("*")} == {
        f"riskline:{{0}}:{name}"
        for name in (
            *(f"tx:{name}" for name in "abcde"),
            *("undecided", "waiting", "losses", "suspects", "lost", "claimed:w1", "workers"),
            *("sweeper", "failed", "totals", "decisions"),
        )
    }
    assert redis.ttl("riskline:{0}:tx:a") == 60
    assert redis.ttl("riskline:{0}:tx:b") == 600
    assert redis.ttl("riskline:{0}:tx:d") == -1
    assert redis.ttl("riskline:{0}:sweeper") == 86_400
    assert [orjson.loads(fields[b"d"]) for _, fields in redis.xrange("riskline:{0}:decisions")] == [
        a_decision("a").to_dict()
    ]
    store.close()
