"""What becomes of transactions whose worker is lost or that fail, in each kind of store."""

import time
from typing import Any

import pytest

from riskline.shared.store.interfaces import ACCEPTED
from riskline.shared.store.records import failed, state_of
from riskline.shared.store.status.counts import Counts
from tests.integration.running import eventually
from tests.integration.stores import LIMITS, Store, a_submission, outcome_of, real_store

pytestmark = pytest.mark.integration


def three_waiting(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"), a_submission("c"))


def test_what_a_lost_worker_held_is_tried_again_first_oldest_first_and_without_others(store: Store) -> None:
    three_waiting(store)
    store.claim("dead", lease_seconds=0)

    swept = store.sweep("w1")

    store.accept(a_submission("d"))
    assert (swept.waiting, swept.gone) == (3, {"dead": 3})
    assert store.claim("w1") == ["a", "b", "c"]
    assert store.claim("w2") == ["d"]


def test_what_a_worker_puts_at_the_end_comes_behind_the_others_also_if_a_worker_was_lost_with_it(store: Store) -> None:
    three_waiting(store)
    store.claim("dead", lease_seconds=0)
    store.sweep("w1")
    store.accept(a_submission("d"))

    assert store.claim("w1") == ["a", "b", "c"]
    store.queue.leave("w1", last=True)

    assert store.claim("w1") == ["d", "a", "b", "c"]


def test_what_two_workers_were_lost_with_comes_alone_and_behind_what_one_was(store: Store) -> None:
    """The culprit is tried last: none waits for it."""
    three_waiting(store)
    store.claim("dead-1", count=2, lease_seconds=0)
    store.sweep("w1")
    store.claim("dead-2", count=2, lease_seconds=0)
    store.claim("dead-3", lease_seconds=0)
    store.sweep("w1")

    claims = [store.queue.claim(f"w{n}", count=10, lease_seconds=60) for n in range(3)]

    assert [([row[0] for row in each.rows], each.losses) for each in claims[:1]] == [(["c"], 1)]
    assert sorted(([row[0] for row in each.rows], each.losses) for each in claims[1:]) == [(["a"], 2), (["b"], 2)]


def test_for_a_minute_after_a_loss_a_claim_says_that_there_was_one(store: Store) -> None:
    three_waiting(store)
    store.claim("dead-0", count=0)
    assert not store.queue.claim("dead", count=1, lease_seconds=0).lost_of_late
    store.sweep("w1")
    store.claim("w1")

    assert store.queue.claim("w2", count=10, lease_seconds=60).lost_of_late
    if store.redis is not None:
        assert 0 < store.redis.ttl("riskline:{0}:lost") <= 60


def test_a_worker_that_ends_without_anything_in_its_hands_alarms_nobody(store: Store) -> None:
    store.claim("dead", lease_seconds=0)
    store.sweep("w1")
    store.accept(a_submission("a"))

    assert not store.queue.claim("w1", count=10, lease_seconds=60).lost_of_late


@pytest.mark.parametrize(("second", "first"), [(0, "a"), (1, "b")])
def test_while_others_wait_one_that_two_workers_were_lost_with_comes_in_every_other_second(
    store: Store, second: int, first: str
) -> None:
    if store.redis is None:
        pytest.skip("the twin has a clock of its own")
    store.accept(a_submission("a"))
    for lost in range(2):
        store.claim(f"dead-{lost}", lease_seconds=0)
        store.sweep("w1")
    store.accept(a_submission("b"))
    eventually(lambda: time.time() % 1 < 0.5 and int(time.time()) % 2 == second)

    assert store.claim("w1") == [first]


def test_a_claim_says_how_many_workers_were_lost_with_a_suspect_and_nothing_of_others(store: Store) -> None:
    store.accept(a_submission("a"))
    for lost in range(1, 4):
        store.claim(f"dead-{lost}", count=1, lease_seconds=0)
        store.sweep("w1")

    assert store.queue.claim("w1", count=10, lease_seconds=60).losses == 3
    store.accept(a_submission("b"))
    assert store.queue.claim("w2", count=10, lease_seconds=60).losses == 0


def test_a_suspect_that_is_decided_is_suspect_no_more(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("dead", lease_seconds=0)
    store.sweep("w1")
    store.claim("w1")

    assert store.decide("a") == 1

    assert (store.counts().suspects, store.claim("w1")) == (0, [])


def test_a_claim_repeated_after_a_lost_answer_still_has_the_suspect_alone(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("dead", count=1, lease_seconds=0)
    store.sweep("w1")
    store.claim("w1")
    store.accept(a_submission("b"))

    again = store.queue.claim("w1", count=10, lease_seconds=60)

    assert ([row[0] for row in again.rows], again.losses) == (["a"], 1)


def test_a_sweep_leaves_a_live_worker_alone(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("alive", lease_seconds=60)

    assert store.sweep("w1").gone == {}


def test_a_sweep_renews_the_lease_of_the_worker_that_makes_it(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("slow", lease_seconds=0)

    store.sweep("slow", lease_seconds=60, turn_seconds=0.001)

    assert store.counts().workers == 1
    assert store.decide("a", worker="slow") == 1


def test_one_worker_at_a_time_sweeps_and_another_once_its_turn_is_over(store: Store) -> None:
    store.accept(a_submission("a"))
    store.sweep("first", turn_seconds=60)
    store.claim("dead", lease_seconds=0)

    assert store.sweep("second").gone == {}
    assert store.sweep("first", turn_seconds=60).gone == {"dead": 1}


def test_a_sweeper_that_is_lost_is_followed_by_another(store: Store) -> None:
    store.accept(a_submission("a"))
    store.sweep("first")
    store.claim("dead", lease_seconds=0)

    assert store.sweep("second", turn_seconds=0.05).gone == {}
    assert eventually(lambda: store.sweep("second", turn_seconds=0.05).gone) == {"dead": 1}


def test_after_an_outage_the_workers_get_time_to_show_that_they_live(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("b"))
    store.sweep("first", turn_seconds=0.1)
    store.claim("dead", count=1, lease_seconds=0.1)
    store.claim("alive", count=1, lease_seconds=0.1)
    time.sleep(0.3)

    swept = store.sweep("first", lease_seconds=1, turn_seconds=0.1)
    store.queue.claim("alive", count=0, lease_seconds=60)

    assert swept.gone == {}
    # of several shards each sees it gone by itself, also those in which it held nothing
    assert eventually(lambda: store.sweep("first", lease_seconds=1).gone.get("dead")) == 1
    assert store.decide("b", worker="alive") == 1


def test_a_clock_that_was_set_back_keeps_no_lost_worker_alive(store: Store) -> None:
    if store.redis is None:
        pytest.skip("the twin's clock is not set back")
    store.accept(a_submission("a"))
    store.claim("dead")
    hence = 10**6 * time.time()
    store.redis.zadd("riskline:{0}:workers", {"dead": hence})
    store.redis.set("riskline:{0}:sweeper", f"dead {hence:.0f}")

    assert store.sweep("w1", lease_seconds=0.1).gone == {}
    assert eventually(lambda: store.sweep("w1", lease_seconds=0.1).gone) == {"dead": 1}


def test_a_worker_that_leaves_gives_back_what_it_holds_in_its_order_and_unsuspected(store: Store) -> None:
    three_waiting(store)
    store.claim("w1", count=2)

    assert store.queue.leave("w1", ends=True) == 2

    assert store.counts().workers == 0
    assert store.claim("w2") == ["a", "b", "c"]


def test_a_suspect_that_is_given_back_stays_one(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("dead", lease_seconds=0)
    store.sweep("w1")
    store.claim("w1")

    store.queue.leave("w1")

    assert store.queue.claim("w2", count=10, lease_seconds=60).losses == 1


def test_what_was_decided_by_a_worker_taken_for_lost_is_not_tried_again(store: Store) -> None:
    three_waiting(store)
    store.claim("slow", lease_seconds=0)
    store.queue.decide("other", [outcome_of(store, "b")])

    assert store.sweep("w1").gone == {"slow": 2}


def test_a_failed_transaction_is_counted_kept_and_replayed_once(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim()
    store.fail("a")
    assert (store.counts().failed, store.counts().failed_now) == (1, 1)

    replayed = store.failures.replay(["a", "nobody"])

    assert replayed == (["a"], ["nobody"])
    assert store.failures.replay(["a"]) == ([], ["a"])
    assert state_of("a", store.get("a"))["status"] == "queued"
    assert "error" not in store.get("a")
    assert store.claim() == ["a"]
    assert store.decide("a") == 1
    assert store.counts().failed_now == 0


def test_a_failure_of_an_earlier_try_does_not_undo_a_replay(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim("slow")
    late = failed("a", store.get("a"), "it raised ValueError")
    store.queue.decide("slow", [late])
    store.failures.replay(["a"])

    assert store.queue.decide("slow", [late]) == 0

    assert store.get("a")["status"] == "queued"
    assert store.fail("a", reason="again") == 1
    assert store.get("a")["error"] == "again"


def test_the_failed_are_listed_newest_first_with_their_reasons(store: Store) -> None:
    if store.redis is None:
        pytest.skip("the twin in memory does not list them")
    three_waiting(store)
    for transaction_id in store.claim():
        store.fail(transaction_id, reason=f"{transaction_id} raised")
    store.redis.zadd("riskline:{0}:failed", {"b": 2_000_000_000})
    store.redis.delete("riskline:{0}:tx:c")
    assert 0 < store.redis.ttl("riskline:{0}:failed") <= LIMITS["failed_ttl_seconds"]

    assert [(each.transaction_id, each.reason) for each in store.failures.newest(10)] == [
        ("b", "b raised"),
        ("a", "a raised"),
    ]
    assert store.failures.count() == 3


def through_everything(store: Store) -> None:
    store.accept(*[a_submission(name) for name in "abcde"])
    store.record()
    store.claim("w1", count=2)
    store.decide("a")
    store.fail("b")
    store.failures.replay(["b"])
    store.claim("dead", count=1, lease_seconds=0)
    store.sweep("w1")


def test_the_journal_adds_up_whatever_has_happened(store: Store) -> None:
    through_everything(store)

    counts = store.counts()

    assert counts.problems() == []
    assert (counts.accepted, counts.replayed, counts.decided, counts.failed) == (5, 1, 1, 1)
    assert (counts.undecided, counts.waiting, counts.suspects, counts.claimed) == (4, 3, 1, 0)


def lost_record(redis: Any) -> str:
    redis.zrem("riskline:{0}:undecided", "d")
    return "accepted and"


def lost_place(redis: Any) -> str:
    redis.lpop("riskline:{0}:waiting")
    return "only 2 wait"


def decided_twice(redis: Any) -> str:
    redis.xadd("riskline:{0}:decisions", {"d": "{}"})
    return "the feed was given 2"


@pytest.mark.parametrize("damage", [lost_record, lost_place, decided_twice])
def test_the_journal_shows_what_does_not_add_up(shared_redis: Any, damage: Any) -> None:
    store = real_store(shared_redis.url)
    through_everything(store)

    words = damage(store.redis)

    (problem,) = store.counts().problems()
    assert words in problem
    store.close()


def test_a_key_of_somebody_elses_is_a_conflict_and_leaves_its_neighbours_whole(store: Store) -> None:
    if store.redis is None:
        pytest.skip("the twin in memory has no keys")
    store.redis.lpush("riskline:{0}:tx:strange", "x")

    answers = store.accept(a_submission("a"), a_submission("strange"), a_submission("b"))

    assert [answer is ACCEPTED for answer in answers] == [True, False, True]
    assert answers[1]["transaction"] is None
    assert store.counts().problems() == []
    assert store.claim() == ["a", "b"]


def test_a_feed_whose_entries_an_older_redis_did_not_count_is_no_complaint() -> None:
    assert Counts(recorded=5000, fed=122).problems() == []
    assert len(Counts(recorded=5000, fed=5001).problems()) == 1
