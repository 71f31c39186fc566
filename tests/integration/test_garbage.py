"""Whatever is in Redis, the others go on: garbage in any record, id, count or callback keeps nothing else waiting."""

import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis as AsyncRedis
from structlog.testing import capture_logs

from riskline.shared.domain.lifecycle import CallbackEvent
from riskline.shared.domain.transaction import Transaction
from riskline.shared.store.callbacks import AttemptOutcome, RedisCallbacks
from riskline.shared.store.interfaces import Erasure
from riskline.shared.store.keys import FIRST
from riskline.shared.store.records import STATUSES, readable
from riskline.shared.store.status.consistency import Audit
from riskline.worker.scoring.drain import Listeners, drain
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.worker_status import _waited
from tests.integration.garbage import VALUES, a_record, mangled, records
from tests.integration.running import OwnRedis
from tests.integration.stores import Store, a_submission, real_store
from tests.support.factories import AmountModel

pytestmark = pytest.mark.integration

GOOD = [f"good-{number}" for number in range(3)]
MOST_CLAIMS = 40


@pytest.fixture(autouse=True)
def _quietly() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.fixture
def store(shared_redis: OwnRedis) -> Iterator[Store]:
    store = real_store(shared_redis.url, queue_limit=10_000)
    yield store
    store.close()


def work(store: Store) -> int:
    """Drains as a worker does, for so many claims at the most; how many were decided."""
    looks = iter(range(MOST_CLAIMS))

    def count(queued: Any, decisions: Any) -> None:
        assert not decisions or list(_waited(queued, decisions)) is not None

    return drain(
        _Unwaited(store.queue),
        worker="w1",
        pulse=Pulse(),
        model=AmountModel,
        transaction_class=Transaction,
        listeners=Listeners(count=count),
        time_is_over=lambda: next(looks, None) is None,
    )


class _Unwaited:
    """The queue, of which no claim waits for more."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def claim(self, worker: str, *, count: int, lease_seconds: float, wait_seconds: float) -> Any:
        del wait_seconds
        return self._queue.claim(worker, count=count, lease_seconds=lease_seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def put(store: Store, transaction_id: str | bytes, record: bytes | None) -> None:
    """A transaction that waits with this record, whoever wrote it."""
    raw = transaction_id.encode() if isinstance(transaction_id, str) else transaction_id
    if record is not None:
        store.redis.set(FIRST.transaction_prefix.encode() + raw, record)
    store.redis.zadd(FIRST.undecided, {raw: 1})
    store.redis.rpush(FIRST.waiting, raw)
    store.redis.hincrby(FIRST.totals, "accepted", 1)


def all_are_decided(store: Store) -> None:
    """The good ones are, of the others nothing is in line, and the journal adds up."""
    assert [store.get(each)["status"] for each in GOOD] == ["scored"] * len(GOOD)
    assert store.redis.zrange(FIRST.undecided, 0, -1) == []
    assert store.redis.llen(FIRST.waiting) == store.redis.exists(FIRST.claimed("w1")) == 0
    assert Audit(store.redis, pause=lambda _: None).counts().problems() in ([], [_gone(store)])


def _gone(store: Store) -> str:
    unreadable = store.counts().unreadable
    return next(each for each in store.counts().problems() if each.startswith(f"when a worker came to {unreadable}"))


def in_the_midst(store: Store, garbage: list[bytes | None]) -> None:
    store.accept(*(a_submission(each) for each in GOOD[:1]))
    for number, record in enumerate(garbage):
        put(store, f"bad-{number}", record)
    store.accept(*(a_submission(each) for each in GOOD[1:]))


def test_any_record_that_no_door_writes_fails_alone_or_is_decided(store: Store) -> None:
    """Each has an end that a client may be told of: its record is a sound one afterwards."""
    garbage = [_as(record, number) for number, record in enumerate(records("bad-"))]
    in_the_midst(store, garbage)

    work(store)

    all_are_decided(store)
    for number, before in enumerate(garbage):
        after = readable(store.redis.get(f"{FIRST.transaction_prefix}bad-{number}"))
        if before:
            assert after is not None, before
            assert after["status"] in STATUSES, before
            assert after["status"] != "queued", before


def _as(record: bytes, number: int) -> bytes:
    return record.replace(b'"bad-"', b'"bad-%d"' % number)


@pytest.mark.parametrize("seed", range(4))
def test_records_with_any_of_their_bytes_changed_keep_nothing_waiting(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    url = "https://shop.example/hook"
    in_the_midst(
        store,
        [mangled(chance, orjson.dumps(a_record(f"bad-{n}", callback_url=url, explain=True))) for n in range(200)],
    )

    work(store)

    # whoever writes a later version leaves it to later workers, which there are none of here
    later = [each for each in store.redis.zrange(FIRST.undecided, 0, -1) if b'"v":1,' not in _record(store, each)]
    for each in later:
        store.redis.zrem(FIRST.undecided, each)
        store.redis.lrem(FIRST.waiting, 1, each)
    assert [store.get(each)["status"] for each in GOOD] == ["scored"] * len(GOOD)
    assert store.redis.zrange(FIRST.undecided, 0, -1) == []


def _record(store: Store, raw: bytes) -> bytes:
    return bytes(store.redis.get(FIRST.transaction_prefix.encode() + raw) or b"")


def test_a_record_is_never_decided_by_the_values_of_another_transaction(store: Store) -> None:
    put(store, "bad", orjson.dumps(a_record("good-1")))
    store.accept(a_submission("good-1", amount=9999))

    work(store)

    assert store.get("good-1")["decision"]["fraud_probability"] == 0.9999
    assert "of another id" in store.get("bad")["error"]


def test_a_flawed_record_keeps_its_transaction_and_its_time_and_says_which_member_is_wrong(store: Store) -> None:
    put(store, "bad", orjson.dumps(a_record("bad", callback_url=5)))

    work(store)

    kept = store.get("bad")
    assert (kept["submitted_at"], kept["transaction"]["transaction_id"]) == (a_record("bad")["submitted_at"], "bad")
    assert kept["error"].startswith("its record cannot be read (callback_url)")
    assert store.failures.replay(["bad"]).replayed == ["bad"]
    work(store)
    assert store.get("bad")["status"] == "scored"


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"", b"a b\n", b"\x00", "ä".encode(), b"x" * 1000])
def test_an_id_of_any_bytes_keeps_nothing_waiting(store: Store, raw: bytes) -> None:
    store.accept(a_submission("good-0"))
    put(store, raw, orjson.dumps(a_record("bad")))
    put(store, raw + b"-2", None)
    store.accept(*(a_submission(each) for each in GOOD[1:]))

    work(store)

    all_are_decided(store)
    assert len(store.failures.ids()) == 1
    assert store.failures.replay(store.failures.ids()) is not None


def test_values_of_other_types_under_the_keys_of_one_transaction_keep_nothing_waiting(store: Store) -> None:
    host = "shop.example"
    store.accept(*(a_submission(each, callback_url=f"https://{host}/hook") for each in GOOD))
    put(store, "bad", None)
    store.redis.rpush(FIRST.transaction("bad"), "no string")
    store.redis.set(FIRST.callback("good-0"), "no hash")
    store.redis.set(FIRST.callback_host_prefix + host, "no sorted set")

    work(store)

    all_are_decided(store)
    assert store.redis.zcard(FIRST.callback_host_prefix + host) == len(GOOD)


@pytest.mark.parametrize("value", ["x", "", "1.5", "9" * 30])
def test_counts_that_are_no_numbers_keep_nothing_waiting(store: Store, value: str) -> None:
    for name in ("accepted", "decided", "failed", "recorded", "replayed", "callbacks_announced", "unreadable"):
        store.redis.hset(FIRST.totals, name, value)
    store.accept(a_submission("good-0"), a_submission("bad", callback_url="https://shop.example/hook"))
    assert store.claim() == ["good-0", "bad"]
    store.redis.hset(FIRST.losses, mapping={"bad": value, "good-0": value})
    store.redis.zadd(FIRST.workers, {"w1": 1, b"\xff": 1, "odd": 1})
    store.redis.set(FIRST.claimed("odd"), "no list")
    store.redis.delete(FIRST.sweeper)

    gone = store.sweep().gone
    store.accept(*(a_submission(each) for each in GOOD[1:]))
    work(store)

    assert gone["w1"] == 2
    assert [store.get(each)["status"] for each in (*GOOD, "bad")] == ["scored"] * 4
    assert store.counts().undecided == 0


def test_whatever_was_decided_can_be_erased(store: Store) -> None:
    store.accept(a_submission("good-0"))
    work(store)
    fed = store.redis.xlen(FIRST.feed)
    for value in [*VALUES, {"scored_at": 5}, {"scored_at": "yesterday"}, {"scored_at": "9999-12-31T23:59:59Z"}]:
        record = a_record("good-0", status="scored", decision=value)
        store.redis.set(FIRST.transaction("good-0"), orjson.dumps(record))

        erased = store.erase("good-0")

        assert erased is (Erasure.DONE if value is None or isinstance(value, dict) else Erasure.UNKNOWN), value
    assert store.redis.xlen(FIRST.feed) == fed - 1


def test_one_that_cannot_be_replayed_is_named_and_the_others_are(store: Store) -> None:
    garbage = [_as(each, n) for n, each in enumerate(records("bad-"))]
    store.accept(a_submission("good-0"))
    assert store.claim() == ["good-0"]
    store.fail("good-0")
    for number, record in enumerate(garbage):
        store.redis.set(FIRST.transaction(f"bad-{number}"), record.replace(b'"queued"', b'"failed"'))
        store.redis.zadd(FIRST.failed, {f"bad-{number}": 1})
    store.redis.zadd(FIRST.failed, {b"\xff": 1})

    done = store.failures.replay(store.failures.ids())

    assert "good-0" in done.replayed
    assert len(done.replayed) + len(done.not_failed) == len(garbage) + 2
    assert work(store) >= 1
    assert store.get("good-0")["status"] == "scored"


class Delivering:
    """What a delivery worker asks of the store."""

    def __init__(self, store: Store) -> None:
        redis: AsyncRedis = store.asynchronous
        self._run = store._loop.run_until_complete
        self.queue = RedisCallbacks(redis, waiting=redis, result_ttl_seconds=60, failed_ttl_seconds=600)

    def turn(self, *, busy: dict[str, int] | None = None) -> list[str]:
        """Takes what is due and gives each up; the ids of those taken whose event could be read."""
        due = self._run(self.queue.take(room=100, host_limit=100, busy=busy or {})).due
        self._run(
            self.queue.finish([AttemptOutcome(each, CallbackEvent.GIVE_UP, attempt={}, reason="no") for each in due])
        )
        return [each.transaction_id for each in due if each.event]


FIELDS = ("id", "event", "step", "status", "claimed", "host", "claims", "lost", "due", "tries")
RAW = [b"", b"x", b"-1", b"1.5", b"9" * 30, b"\xff\xfe", b"{}", b"[]", b"null", b'{"type":1,"url":2,"body":3}']


def test_callbacks_of_which_anything_is_kept_keep_no_other_waiting(store: Store) -> None:
    url = "https://shop.example/hook"
    changes = [(name, value) for name in FIELDS for value in RAW]
    ids = [f"bad-{number}" for number in range(len(changes))]
    store.accept(*(a_submission(each, callback_url=url) for each in [*ids, *GOOD]))
    work(store)
    for each, (name, value) in zip(ids, changes, strict=True):
        store.redis.hset(FIRST.callback(each), name, value)
    store.redis.zadd(FIRST.callback_host_prefix + "shop.example", {b"\xff": 1, "nothing": 1})
    store.redis.zadd(FIRST.callback_hosts, {b"\xff\xfe": 1})
    store.redis.zadd(FIRST.callback_host_prefix.encode() + b"\xff\xfe", {"nothing": 1})
    store.redis.hset(FIRST.callback_gates, mapping={"shop.example": "garbage"})
    store.redis.set(FIRST.callback_taken, "garbage")
    delivering = Delivering(store)

    taken = [each for _ in range(3) for each in delivering.turn(busy={"\udcff": 1})]

    assert set(GOOD) <= set(taken)
    assert len(set(taken)) == len(taken)
    assert delivering.turn() == []
    for each in GOOD:
        assert store.redis.hget(FIRST.callback(each), "status") == b"dead"
