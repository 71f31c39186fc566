"""What the Lua of the callbacks promises, on fakeredis and on a real Redis: each attempt is kept, none is forgotten."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.domain.lifecycle import CALLBACK_TRANSITIONS, CallbackEvent
from riskline.shared.store import callbacks as module
from riskline.shared.store.callbacks import AttemptOutcome, CallbackRecords, Due, RedisCallbacks
from riskline.shared.store.failures import Failures
from riskline.shared.store.keys import Keys
from riskline.shared.store.operations import AllCallbacks
from riskline.shared.store.records import queued_record, state_of
from riskline.shared.store.status.consistency import Audit
from riskline.shared.webhooks.event import operator_view
from tests.integration.running import PATIENCE_SECONDS
from tests.integration.stores import NOW, Store, fake_store, real_store
from tests.support.factories import a_transaction

pytestmark = pytest.mark.integration

URL = "https://shop.example/hook"
DEAD_URL = "https://dead.example/hook"


class Callbacks:
    """A store with what a delivery worker asks of it, behind a loop of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._loop = store._loop
        asynchronous: AsyncRedis = store.intake._redis
        self.queue = RedisCallbacks(asynchronous, waiting=asynchronous, result_ttl_seconds=60, failed_ttl_seconds=600)
        self.records = AllCallbacks([store.redis])

    def announce(self, *ids: str, url: str = URL, default: bool = False, **changes: Any) -> None:
        names = {"default_callback_url" if default else "callback_url": url}
        for each in ids:
            self.store.accept(queued_record(a_transaction(transaction_id=each, **changes), submitted_at=NOW, **names))
        assert self.store.decide(*self.store.claim(count=len(ids))) == len(ids)

    def take(
        self, *, room: int = 10, host_limit: int = 10, busy: dict[str, int] | None = None, reserve: int = 0
    ) -> list[Due]:
        taken = self.queue.take(room=room, host_limit=host_limit, busy=busy or {}, reserve=reserve)
        return self._loop.run_until_complete(taken).due

    def next_seconds(self) -> float | None:
        return self._loop.run_until_complete(self.queue.take(room=0, host_limit=1, busy={})).next_seconds

    def finish(self, *attempted: AttemptOutcome) -> None:
        self._loop.run_until_complete(self.queue.finish(attempted))

    def fail(self, due: Due, *, wait_seconds: float = 0.0, host_works: bool | None = None) -> None:
        self.finish(
            AttemptOutcome(due, CallbackEvent.RETRY, wait_seconds=wait_seconds, attempt=ATTEMPT, host_works=host_works)
        )

    def state(self, transaction_id: str) -> dict[str, Any]:
        return next(operator_view(kept) for _, kept in self.records.read([transaction_id]))

    def sound(self) -> None:
        """As `riskline doctor --audit` has it."""
        auditor = Audit(self.store.redis, pause=lambda _: None)
        assert auditor.counts().problems() == []
        assert auditor.callbacks_out_of_line() == set()
        assert auditor.callbacks_without_record() == set()


ATTEMPT = {"at": NOW, "status": 500, "latency_ms": 1.5, "answer": "oh", "error": None}


@pytest.fixture(params=["fakeredis", "redis"])
def callbacks(request: pytest.FixtureRequest) -> Iterator[Callbacks]:
    if request.param == "fakeredis":
        store = fake_store(queue_limit=1000)
    else:
        store = real_store(request.getfixturevalue("shared_redis").url, queue_limit=1000)
    yield Callbacks(store)
    store.close()


def test_a_decision_and_its_callback_come_in_one_step(callbacks: Callbacks) -> None:
    callbacks.announce("a")

    state = callbacks.state("a")
    assert (state["status"], state["event"], state["url"], state["attempts"]) == (
        "pending",
        "transaction.scored",
        URL,
        [],
    )
    [due] = callbacks.take()
    assert (due.transaction_id, due.host, due.step, due.losses, due.held) == ("a", "shop.example", 0, 0, False)
    assert due.message_id == state["webhook_id"]
    assert due.event["body"].startswith('{"type":"transaction.scored","timestamp":"2026-11-24T03:15:07.123Z","data":')
    callbacks.sound()


def test_a_transaction_without_a_url_has_no_callback(callbacks: Callbacks) -> None:
    callbacks.store.accept(queued_record(a_transaction(transaction_id="a"), submitted_at=NOW))
    callbacks.store.decide(*callbacks.store.claim())

    assert callbacks.take() == []
    assert callbacks.store.counts().callbacks_announced == 0
    assert state_of("a", callbacks.store.get("a"))["callback"] is None


def test_the_default_url_is_called_where_the_submission_names_none(callbacks: Callbacks) -> None:
    callbacks.announce("a", default=True)

    assert [due.event["url"] for due in callbacks.take()] == [URL]


def test_a_transaction_that_fails_has_an_event_of_its_own_which_that_of_its_decision_supersedes(
    callbacks: Callbacks,
) -> None:
    callbacks.store.accept(queued_record(a_transaction(transaction_id="a"), submitted_at=NOW, callback_url=URL))
    callbacks.store.claim()
    callbacks.store.fail("a")
    [failure] = callbacks.take()

    Failures(callbacks.store.redis).replay(["a"])
    assert state_of("a", callbacks.store.get("a"))["callback"]["status"] == "waiting"
    callbacks.store.decide(*callbacks.store.claim())

    assert failure.event["type"] == "transaction.failed"
    assert '"error":"it raised ValueError"' in failure.event["body"]
    [scored] = callbacks.take()
    assert (scored.event["type"], scored.message_id == failure.message_id) == ("transaction.scored", False)
    # what became of the earlier one says nothing of this one
    callbacks.finish(AttemptOutcome(failure, CallbackEvent.DELIVER, attempt=ATTEMPT))
    assert (callbacks.state("a")["status"], callbacks.state("a")["attempts"]) == ("pending", [])
    assert callbacks.store.counts().callbacks_superseded == 1
    callbacks.sound()


def test_what_is_taken_is_due_again_when_its_lease_is_over_and_its_worker_counts_as_lost(
    callbacks: Callbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks.announce("a")
    [first] = callbacks.take()
    assert callbacks.take() == []
    assert 15 < callbacks.next_seconds() <= 20

    monkeypatch.setattr(module, "LEASE_SECONDS", 0.001)
    callbacks.fail(first)
    [second] = callbacks.take()
    time.sleep(0.005)
    [third] = callbacks.take()
    time.sleep(0.005)

    assert [each.losses for each in (first, second, third)] == [0, 0, 1]
    # a worker that was taken for lost is believed where it has delivered, and only there
    callbacks.fail(second, wait_seconds=100)
    assert callbacks.state("a")["status"] == "pending"
    assert [each.transaction_id for each in callbacks.take()] == ["a"]
    callbacks.finish(AttemptOutcome(second, CallbackEvent.DELIVER, attempt=ATTEMPT))
    assert callbacks.state("a")["status"] == "delivered"
    assert len(callbacks.state("a")["attempts"]) == 3
    assert callbacks.take() == []
    callbacks.sound()


def test_a_failed_attempt_is_kept_and_the_next_one_waits(callbacks: Callbacks) -> None:
    callbacks.announce("a")
    [due] = callbacks.take()

    callbacks.fail(due, wait_seconds=1000)

    state = callbacks.state("a")
    assert (state["status"], state["attempts"]) == ("pending", [ATTEMPT])
    assert state["next_attempt_at"] > NOW
    assert callbacks.take() == []
    assert 900 < callbacks.next_seconds() <= 1000
    callbacks.sound()


def test_the_schedule_goes_on_where_it_was_and_only_the_last_attempts_are_kept(callbacks: Callbacks) -> None:
    callbacks.announce("a")

    for step in range(module.KEPT_ATTEMPTS + 5):
        [due] = callbacks.take()
        assert due.step == step
        callbacks.finish(AttemptOutcome(due, CallbackEvent.RETRY, attempt={**ATTEMPT, "status": 500 + step}))

    kept = [each["status"] for each in callbacks.state("a")["attempts"]]
    assert kept == list(range(505, 505 + module.KEPT_ATTEMPTS))
    assert callbacks.store.counts().callbacks_attempted == module.KEPT_ATTEMPTS + 5


@pytest.mark.parametrize(
    ("event", "status", "ttl"), [(CallbackEvent.DELIVER, "delivered", 60), (CallbackEvent.GIVE_UP, "dead", 600)]
)
def test_what_is_over_expires_and_can_be_sent_again_under_the_same_id(
    callbacks: Callbacks, event: CallbackEvent, status: str, ttl: int
) -> None:
    callbacks.announce("a")
    [due] = callbacks.take()

    callbacks.finish(AttemptOutcome(due, event, attempt=ATTEMPT, reason="no more" if status == "dead" else ""))

    assert callbacks.state("a")["status"] == status
    assert callbacks.state("a").get("error") == ("no more" if status == "dead" else None)
    key = Keys().callback("a")
    assert 0 < callbacks.store.redis.ttl(key) <= ttl
    assert callbacks.records.dead(10) == (["a"] if status == "dead" else [])
    assert callbacks.records.pending(10) == []
    callbacks.sound()

    assert callbacks.records.resend(["a", "nobody"]) == ["a"]
    [again] = callbacks.take()
    assert (again.message_id, again.step) == (due.message_id, 0)
    assert callbacks.store.redis.ttl(key) == -1
    assert (callbacks.records.dead(10), callbacks.records.pending(10)) == ([], ["a"])
    callbacks.sound()


def test_what_was_not_tried_is_due_again_and_counts_for_nothing(callbacks: Callbacks) -> None:
    callbacks.announce("a")
    [due] = callbacks.take()

    callbacks.finish(AttemptOutcome(due, None))

    [again] = callbacks.take()
    assert (again.step, again.losses, callbacks.state("a")["attempts"]) == (0, 0, [])


def test_one_host_gets_no_more_than_its_limit_and_the_others_do_not_wait_behind_it(callbacks: Callbacks) -> None:
    callbacks.announce(*(f"slow-{i:02}" for i in range(20)), url=DEAD_URL)
    callbacks.announce("quick")

    first = callbacks.take(room=100, host_limit=3)
    assert sorted(due.transaction_id for due in first) == ["quick", "slow-00", "slow-01", "slow-02"]
    assert callbacks.take(room=100, host_limit=3, busy={"dead.example": 3}) == []
    callbacks.announce("later")
    assert [due.transaction_id for due in callbacks.take(host_limit=3, busy={"dead.example": 3})] == ["later"]
    assert [due.transaction_id for due in callbacks.take(host_limit=3, busy={"dead.example": 2})] == ["slow-03"]
    assert len(callbacks.take(room=2, host_limit=10)) == 2


def test_the_last_places_are_for_hosts_with_next_to_nothing_under_way(callbacks: Callbacks) -> None:
    callbacks.announce(*(f"slow-{i:02}" for i in range(50)), url=DEAD_URL)

    first = callbacks.take(room=40, host_limit=100, reserve=15)
    assert len(first) == 40 - 15
    callbacks.announce(*(f"quick-{i:02}" for i in range(20)))
    second = callbacks.take(room=15, host_limit=100, reserve=15, busy={"dead.example": 25})
    assert [due.host for due in second] == ["shop.example"] * module.IN_ANY_CASE


def test_each_host_has_a_few_before_one_has_many(callbacks: Callbacks) -> None:
    callbacks.announce(*(f"old-{i:02}" for i in range(50)), url=DEAD_URL)
    callbacks.announce(*(f"new-{i:02}" for i in range(50)))

    hosts = [due.host for due in callbacks.take(room=30, host_limit=100)]

    assert (hosts.count("dead.example"), hosts.count("shop.example")) == (20, 10)


def test_what_another_wrote_under_our_keys_ends_no_other_callback(callbacks: Callbacks) -> None:
    callbacks.announce("a")
    redis, keys = callbacks.store.redis, Keys()
    redis.set(keys.callback("b"), "no hash")
    redis.set(keys.callback_host_prefix + "dead.example", "no sorted set")
    redis.zadd(keys.callback_hosts, {"dead.example": 1})

    callbacks.announce("b", "c")

    assert sorted(due.transaction_id for due in callbacks.take()) == ["a", "b", "c"]
    redis.hset(keys.callback("a"), "event", "no JSON")
    callbacks.records.resend(["a"])
    assert [due.event for due in callbacks.take()] == [{}]


def test_what_was_sent_again_by_hand_is_not_given_up_by_an_attempt_before(callbacks: Callbacks) -> None:
    callbacks.announce("a")
    [before] = callbacks.take()

    callbacks.records.resend(["a"])
    callbacks.finish(AttemptOutcome(before, CallbackEvent.GIVE_UP, attempt=ATTEMPT, reason="no more"))

    assert callbacks.state("a")["status"] == "pending"
    [again] = callbacks.take()
    assert again.step == 0
    callbacks.sound()


def test_the_event_of_a_failure_is_kept_as_long_as_the_failed_transaction(callbacks: Callbacks) -> None:
    callbacks.store.accept(queued_record(a_transaction(transaction_id="a"), submitted_at=NOW, callback_url=URL))
    callbacks.store.claim()
    callbacks.store.fail("a")

    [due] = callbacks.take()
    callbacks.finish(AttemptOutcome(due, CallbackEvent.DELIVER, attempt=ATTEMPT))

    assert callbacks.store.redis.ttl(Keys().callback("a")) > 60


def test_a_gate_that_a_clock_set_back_has_closed_for_hours_is_open(callbacks: Callbacks) -> None:
    close_gate(callbacks)
    far = int(time.time() * 1000) + 3_600_000
    callbacks.store.redis.hset(Keys().callback_gates, "dead.example", f"{module.MOST_FAILURES} {far}")
    callbacks.store.redis.zadd(Keys().callback_hosts, {"dead.example": 1})

    assert len(callbacks.take()) == 1


def test_one_that_says_nothing_of_its_host_leaves_the_way_to_another(callbacks: Callbacks) -> None:
    close_gate(callbacks)
    callbacks.store.redis.hset(Keys().callback_gates, "dead.example", f"{module.MOST_FAILURES} 1")
    callbacks.store.redis.zadd(Keys().callback_hosts, {"dead.example": 1})
    [probe] = callbacks.take()
    assert callbacks.take() == []

    callbacks.finish(AttemptOutcome(probe, CallbackEvent.GIVE_UP, attempt=ATTEMPT, reason="its address is private"))

    assert len(callbacks.take()) == 1


def close_gate(callbacks: Callbacks) -> list[Due]:
    """Ten attempts under way at a host of which each fails; what is due again at once."""
    callbacks.announce(*(f"d{i}" for i in range(module.MOST_FAILURES)), url=DEAD_URL)
    taken = callbacks.take(room=100, host_limit=100)
    for due in taken:
        callbacks.fail(due, host_works=False)
    return taken


def test_a_host_at_which_all_fails_is_left_alone_and_then_tried_with_one(
    callbacks: Callbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_gate(callbacks)
    callbacks.announce("new", url=DEAD_URL)
    callbacks.announce("other")

    [other] = callbacks.take()
    assert other.transaction_id == "other"
    callbacks.finish(AttemptOutcome(other, CallbackEvent.DELIVER, attempt=ATTEMPT, host_works=True))
    assert 8 < callbacks.next_seconds() <= 10
    assert not CallbackRecords(callbacks.store.redis).overdue()

    # the gate opens; the one that is tried fails, and it is closed again
    callbacks.store.redis.hset(Keys().callback_gates, "dead.example", f"{module.MOST_FAILURES} 1")
    callbacks.store.redis.zadd(Keys().callback_hosts, {"dead.example": 1})
    [probe] = callbacks.take()
    assert callbacks.take() == []
    callbacks.fail(probe, wait_seconds=100, host_works=False)
    assert callbacks.take() == []

    # it opens once more, the one goes well, and all others come through
    callbacks.store.redis.hset(Keys().callback_gates, "dead.example", f"{module.MOST_FAILURES} 1")
    callbacks.store.redis.zadd(Keys().callback_hosts, {"dead.example": 1})
    [probe] = callbacks.take()
    callbacks.finish(AttemptOutcome(probe, CallbackEvent.DELIVER, attempt=ATTEMPT, host_works=True))
    assert len(callbacks.take(room=100, host_limit=100)) == module.MOST_FAILURES - 1
    callbacks.sound()


def test_a_callback_is_not_kept_for_ever_for_a_host_that_is_left_alone(
    callbacks: Callbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_gate(callbacks)
    assert callbacks.take() == []

    monkeypatch.setattr(module, "HOLD_SECONDS", 0)
    callbacks.finish()
    callbacks.store.redis.zadd(Keys().callback_hosts, {"dead.example": 1})

    held = callbacks.take(room=100, host_limit=100)
    assert {due.held for due in held} == {True}
    assert len(held) == module.MOST_FAILURES


def test_an_attempt_that_goes_well_between_others_keeps_the_gate_open(callbacks: Callbacks) -> None:
    callbacks.announce(*(f"d{i}" for i in range(2 * module.MOST_FAILURES)), url=DEAD_URL)
    taken = callbacks.take(room=100, host_limit=100)

    for number, due in enumerate(taken):
        callbacks.fail(due, host_works=number % (module.MOST_FAILURES - 1) == 0)

    assert len(callbacks.take(room=100, host_limit=100)) == len(taken)


def test_who_waits_is_woken_by_an_event(callbacks: Callbacks) -> None:
    async def waits() -> None:
        await asyncio.wait_for(callbacks.queue.wait(2 * PATIENCE_SECONDS), PATIENCE_SECONDS)

    callbacks.announce("a")
    callbacks.announce("b")

    callbacks._loop.run_until_complete(waits())
    assert callbacks.store.redis.llen(Keys().callback_wake) == 0


def test_nothing_stays_behind_once_all_is_over(callbacks: Callbacks) -> None:
    callbacks.announce("a", "b")
    for due in callbacks.take():
        callbacks.finish(AttemptOutcome(due, CallbackEvent.DELIVER, attempt=ATTEMPT, host_works=True))

    keys = Keys()
    left = {key.decode() for key in callbacks.store.redis.keys(f"{keys.prefix}callback*")}
    assert left == {keys.callback("a"), keys.callback("b"), keys.callback_wake, keys.callback_taken}


LEADS_TO: dict[str, list[CallbackEvent]] = {
    "pending": [],
    "delivered": [CallbackEvent.DELIVER],
    "dead": [CallbackEvent.GIVE_UP],
}


@pytest.mark.parametrize("event", [event for event in CallbackEvent if event is not CallbackEvent.ANNOUNCE])
@pytest.mark.parametrize("status", LEADS_TO)
def test_the_scripts_do_what_the_table_of_states_says_and_change_nothing_else(
    callbacks: Callbacks, status: str, event: CallbackEvent
) -> None:
    callbacks.announce("a")
    assert callbacks.state("a")["status"] == CALLBACK_TRANSITIONS[None][CallbackEvent.ANNOUNCE]
    [due] = callbacks.take()

    for each in (*LEADS_TO[status], event):
        before = callbacks.state("a")["status"]
        if each is CallbackEvent.REPLAY:
            callbacks.records.resend(["a"])
        else:
            callbacks.finish(AttemptOutcome(due, each, attempt=ATTEMPT))

        assert callbacks.state("a")["status"] == CALLBACK_TRANSITIONS[before].get(each, before)
    assert before == status
    callbacks.sound()


def test_a_call_whose_answer_was_lost_is_made_again_and_counts_once(callbacks: Callbacks) -> None:
    callbacks.announce("a", "b")
    first, second = callbacks.take()

    for _ in range(2):
        callbacks.fail(first)
        callbacks.finish(AttemptOutcome(second, CallbackEvent.DELIVER, attempt=ATTEMPT))

    assert [len(callbacks.state(each)["attempts"]) for each in "ab"] == [1, 1]
    assert [due.step for due in callbacks.take()] == [1]
    callbacks.sound()


def test_what_has_ended_is_kept_and_what_is_due_is_taken_in_one_round_trip(callbacks: Callbacks) -> None:
    callbacks.announce("a", "b")
    [first] = callbacks.take(room=1)

    ended = AttemptOutcome(first, CallbackEvent.DELIVER, attempt=ATTEMPT)
    taken = callbacks.queue.take(room=1, host_limit=1, busy={}, finished=[ended])
    [second] = callbacks._loop.run_until_complete(taken).due

    assert callbacks.state(first.transaction_id)["status"] == "delivered"
    assert second.transaction_id != first.transaction_id


def test_while_many_transactions_wait_decisions_come_first(
    callbacks: Callbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_WAITING", 3)
    monkeypatch.setattr(module, "UNDER_WAY_THEN", 5)
    callbacks.announce(*(f"t{i}" for i in range(20)))
    for number in range(4):
        waiting = a_transaction(transaction_id=f"waits-{number}")
        callbacks.store.accept(queued_record(waiting, submitted_at=NOW))

    first = callbacks.take(room=100, host_limit=100, reserve=20)
    assert len(first) == 5
    assert callbacks.take(room=95, host_limit=100, reserve=20, busy={"shop.example": 5}) == []

    callbacks.store.claim(count=1)
    assert len(callbacks.take(room=95, host_limit=100, reserve=20, busy={"shop.example": 5})) == 15


def test_a_receiver_that_is_left_alone_is_named_with_how_many_wait_and_when_one_is_tried(callbacks: Callbacks) -> None:
    assert callbacks.records.paused() == []
    before_ms = time.time() * 1000
    closing = close_gate(callbacks)
    callbacks.announce("fine")

    [paused] = callbacks.records.paused()
    counts = callbacks.store.counts()

    assert paused.host == closing[0].host
    assert paused.failures == module.MOST_FAILURES
    assert paused.waiting == counts.callbacks_held == counts.callbacks_pending - 1 > 0
    assert 0 < paused.next_attempt_ms - before_ms <= (module.CLOSED_SECONDS + 60) * 1000
    assert counts.receivers_paused == 1
    # which is why it has to be told: nothing is overdue
    assert counts.callbacks_overdue_ms < 30_000


def test_gates_that_are_not_ours_name_no_receiver(callbacks: Callbacks) -> None:
    gates = {"a": "many 1", "b": "", "c": "99", "d": "9 1", "e": "10 soon"}
    callbacks.store.redis.hset(Keys().callback_gates, mapping=gates)

    assert callbacks.records.paused() == []
    assert callbacks.store.counts().receivers_paused <= 2
