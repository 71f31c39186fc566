"""Erasing a transaction: what is kept of it goes, wherever it is; that there was one stays."""

import orjson
import pytest

from riskline.shared.store.feed import OLDEST
from riskline.shared.store.interfaces import ACCEPTED, Erasure
from tests.integration.stores import NOW, Store, a_submission, at_once

pytestmark = pytest.mark.integration

TOMBSTONE = {"v": 1, "status": "erased", "submitted_at": NOW, "transaction": None, "erased_at": NOW}


def ids_in(page: object) -> list[str]:
    return [orjson.loads(each)["transaction_id"] for each in page.decisions]


def test_what_is_erased_is_in_no_record_and_not_in_the_feed(store: Store) -> None:
    store.accept(a_submission("a"), a_submission("ab"), a_submission("b"))
    store.claim()
    store.decide("a", "ab", "b")
    store.record(at_once("c"))

    assert [store.erase(each) for each in ("a", "c")] == [Erasure.DONE, Erasure.DONE]

    assert store.get("a") == store.get("c") == TOMBSTONE
    assert ids_in(store.page(OLDEST)) == ["ab", "b"]
    assert store.get("ab")["status"] == "scored"


def test_what_failed_is_erased_too_and_is_not_tried_again(store: Store) -> None:
    store.accept(a_submission("a"))
    store.claim()
    store.fail("a")

    assert store.erase("a") is Erasure.DONE

    assert store.counts().failed_now == 0
    assert store.failures.replay(["a"]).replayed == []
    assert store.claim() == []


def test_what_is_not_decided_is_not_erased_and_goes_on(store: Store) -> None:
    store.accept(a_submission("a"))

    assert store.erase("a") is Erasure.QUEUED
    store.claim()
    assert store.erase("a") is Erasure.QUEUED

    assert store.decide("a") == 1
    assert store.erase("a") is Erasure.DONE


def test_nobody_knows_what_was_never_there(store: Store) -> None:
    assert store.erase("a") is Erasure.UNKNOWN
    assert store.get("a") is None


def test_the_id_of_an_erased_one_is_not_taken_anew(store: Store) -> None:
    store.record(at_once("a"))
    store.erase("a")

    assert store.accept(a_submission("a")) == [TOMBSTONE]
    assert store.record(at_once("a"), wanted=True) == [TOMBSTONE]

    assert store.erase("a") is Erasure.DONE
    assert store.get("a") == TOMBSTONE
    assert ids_in(store.page(OLDEST)) == []
    assert store.accept(a_submission("b")) == [ACCEPTED]


def test_who_reads_the_feed_goes_on_where_the_entry_that_was_read_last_is_erased(store: Store) -> None:
    store.record(at_once("a"), at_once("b"), at_once("c"))
    read = store.page(OLDEST, limit=2)
    store.erase("b")

    page = store.page(read.next, limit=1)
    store.record(at_once("d"))

    assert ids_in(page) == ["c"]
    assert ids_in(store.page(page.next)) == ["d"]


def test_its_callback_goes_with_it_and_is_not_delivered(store: Store) -> None:
    store.accept(a_submission("a", callback_url="https://shop.example/hooks"))
    store.claim()
    store.decide("a")

    store.erase("a")

    assert store._loop.run_until_complete(store.intake.callback("a")) is None
    assert store.counts().callbacks_pending == 0


def test_nothing_of_it_is_in_redis_but_its_tombstone_which_expires(store: Store) -> None:
    if store.redis is None:
        pytest.skip("the store in memory keeps no TTL")
    store.accept(a_submission("erase-me", callback_url="https://shop.example/hooks", amount=12_345.5))
    store.claim()
    store.decide("erase-me")

    store.erase("erase-me")

    [key] = list(store.redis.scan_iter("*erase-me*"))
    assert 0 < store.redis.ttl(key) <= 60
    lists = [store.redis.zrange(name, 0, -1) for name in store.redis.scan_iter(_type="zset")]
    assert not any(b"erase-me" in each for each in lists)
    assert store.redis.xrange("riskline:{0}:decisions") == []
