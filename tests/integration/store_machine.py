"""The store as a machine: whatever order things happen in, it keeps its promises."""

import sys
from collections import Counter

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import rule

from riskline.shared.store.failures import ReplayResult
from riskline.shared.store.interfaces import ACCEPTED, NO_ROOM, NOTHING, Stored, SweepResult
from riskline.shared.store.records import replayed
from tests.integration.store_model import StoreModel
from tests.integration.store_seen import end_turn, expire, seen_in, swept_before
from tests.integration.stores import QUEUE_LIMIT, a_submission, at_once

SLOTS = st.integers(0, 2)
IDS = st.sampled_from("aaaabbcdefgh")
"""Mostly the same few: what goes wrong needs several things to happen to one."""
SUBMITTED = st.lists(st.tuples(IDS, st.sampled_from([5, 6])), min_size=1, max_size=4)
"""Ids and amounts."""

LEASES = st.sampled_from([60.0, 0.0])
COUNTS = st.integers(1, 4)
FATES = st.lists(st.sampled_from([0.1, "fails", 0.9, "fails", "later"]), min_size=2, max_size=4)
"""What a worker makes of each row that it holds: a decision at this probability, a failure, or nothing yet."""


class StoreMachine(StoreModel):
    """Clients, an operator and three workers that may crash, stall and be taken for lost."""

    @rule(what=SUBMITTED)
    def submit(self, what: list[tuple[str, int]]) -> None:
        submissions = [a_submission(each, amount=amount) for each, amount in what]
        expected: list[Stored] = []
        for submission in submissions:
            if known := self.records.get(submission.transaction_id):
                expected.append(orjson.loads(known))
            elif len(self.undecided) >= QUEUE_LIMIT:
                expected.append(NO_ROOM)
            else:
                expected.append(ACCEPTED)
                self.records[submission.transaction_id] = submission.record
                self.undecided.add(submission.transaction_id)
        assert self.all(lambda store: store.accept(*submissions)) == expected

    @rule(ids=st.lists(IDS, min_size=1, max_size=2), wanted=st.booleans())
    def record(self, ids: list[str], wanted: bool) -> None:
        expected: list[Stored] = []
        for outcome in map(at_once, ids):
            if known := self.records.get(outcome.transaction_id):
                expected.append(orjson.loads(known) if wanted else NO_ROOM)
            else:
                expected.append(ACCEPTED)
                self.records[outcome.transaction_id] = outcome.record
                self.feed.append(outcome.decision)
        assert self.all(lambda store: store.record(*map(at_once, ids), wanted=wanted)) == expected

    @rule(slot=SLOTS, count=COUNTS, lease=LEASES)
    def claim(self, slot: int, count: int, lease: float) -> None:
        worker = self.names[slot]
        answer = self.all(lambda store: store.queue.claim(worker, count=count, lease_seconds=lease))
        self.claimed(slot, answer, count, lease)

    @rule(slot=SLOTS, what=SUBMITTED, count=COUNTS)
    def submit_and_claim(self, slot: int, what: list[tuple[str, int]], count: int) -> None:
        """As the two rules above do, more often: without them nothing can happen."""
        self.all_records_expire()
        self.submit(what)
        self.seen = seen_in(self.stores[0])
        self.claim(slot, count, 60.0)

    @rule(slot=SLOTS, fates=FATES)
    def decide(self, slot: int, fates: list[float | str]) -> None:
        worker, outcomes = self.names[slot], self.outcomes(slot, fates)
        assert self.all(lambda store: store.queue.decide(worker, outcomes)) == self.decided(outcomes)

    @rule(slot=SLOTS, fates=FATES, count=COUNTS, lease=LEASES)
    def decide_and_claim(self, slot: int, fates: list[float | str], count: int, lease: float) -> None:
        worker, outcomes = self.names[slot], self.outcomes(slot, fates)
        options = {"count": count, "lease_seconds": lease}
        number, answer = self.all(lambda store: store.queue.decide_and_claim(worker, outcomes, **options))
        assert number == self.decided(outcomes)
        self.claimed(slot, answer, count, lease, let_go=[each.transaction_id for each in outcomes])

    @rule(slot=SLOTS, ends=st.booleans())
    def leave(self, slot: int, ends: bool) -> None:
        before, worker = self.seen, self.names[slot]
        ids = before.claimed.get(worker, [])
        assert self.all(lambda store: store.queue.leave(worker, ends=ends)) == len(ids)
        self.held[slot] = NOTHING
        after = self.seen = seen_in(self.stores[0])
        assert after.waiting == [each for each in ids if not self.losses[each]] + before.waiting
        assert after.suspects == [each for each in ids if self.losses[each]] + before.suspects
        assert not (ends and worker in after.workers)
        if ends:
            self.lease_over = [each for each in self.lease_over if each != worker]

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        self.names[slot], self.held[slot] = f"w{self.started}", NOTHING
        self.started += 1

    @rule(slot=SLOTS)
    def sweep(self, slot: int) -> None:
        before, worker = self.seen, self.names[slot]
        swept = self.all(lambda store: store.sweep(worker, lease_seconds=60, turn_seconds=60))
        self.leased(worker, 60)
        if self.turn not in (None, worker):
            assert swept == SweepResult(0, {})
            return
        self.turn = worker
        if self.unswept:
            self.lease_over.clear()
            self.unswept = False
        gone = {each: [t for t in before.claimed.get(each, []) if t in self.undecided] for each in self.lease_over}
        lost = [each for name in self.lease_over for each in gone[name]]
        assert swept.gone == {name: len(ids) for name, ids in gone.items()}
        self.losses.update(lost)
        self.lease_over.clear()
        self.seen = seen_in(self.stores[0])
        # what was lost once comes first, of each worker in its order; what was lost before, last
        suspects = self.seen.suspects
        assert Counter(suspects) == Counter(lost) + Counter(before.suspects)
        if max(Counter(lost).values(), default=0) == 1:
            once = {each for each in lost if self.losses[each] == 1}
            first, last = suspects[: len(once)], suspects[len(suspects) - len(lost) + len(once) :]
            assert (set(first), set(last)) == (once, set(lost) - once)
            assert all(
                [each for each in first if each in ids] == [each for each in ids if each in once]
                for ids in gone.values()
            )
        assert swept.waiting == len(before.waiting) + len(suspects)

    @rule(number=st.integers(0, 5), turn=st.booleans())
    def time_runs_out(self, number: int, turn: bool) -> None:
        if running := sorted(self.seen.workers - set(self.lease_over)):
            self.end_lease(running[number % len(running)])
        if turn:
            self.turn_runs_out()

    def turn_runs_out(self) -> None:
        self.turn, self.unswept = None, False
        for store in self.stores:
            end_turn(store)

    @rule(slot=SLOTS)
    def nobody_sweeps_for_long(self, slot: int) -> None:
        """Redis was away, and with it every worker's sign of life: the first sweep spares them."""
        for worker in sorted(self.seen.workers.difference(self.lease_over)):
            self.end_lease(worker)
        self.unswept = self.unswept or self.turn is not None
        self.turn = None
        for store in self.stores:
            swept_before(store, 121)
        self.sweep(slot)

    @rule(slot=SLOTS, by=st.integers(1, 2), claims=st.booleans())
    def is_taken_for_lost(self, slot: int, by: int, claims: bool) -> None:
        """A worker is too slow for its lease, another sweeps, and may claim: what rules above do, only more often."""
        if self.names[slot] in self.seen.workers.difference(self.lease_over):
            self.end_lease(self.names[slot])
        self.turn_runs_out()
        other = (slot + by) % len(self.names)
        self.sweep(other)
        if claims:
            self.claim(other, 4, 60.0)

    @rule(ids=st.lists(IDS, max_size=2), failed=st.booleans())
    def replay(self, ids: list[str], failed: bool) -> None:
        asked = dict.fromkeys(ids + sorted(self.failed) * failed)
        ids = list(asked)
        done = [each for each in ids if each in self.records and orjson.loads(self.records[each])["status"] == "failed"]
        for each in done:
            self.records[each] = replayed(orjson.loads(self.records[each]))
            self.undecided.add(each)
            self.failed.remove(each)
            self.known_before.add(each)
        expected = ReplayResult(done, [each for each in ids if each not in done])
        assert self.all(lambda store: store.failures.replay(ids)) == expected

    @rule()
    def all_records_expire(self) -> None:
        # a TTL is far longer than anybody works on a batch
        believed = {each for claimed in self.held for each, _ in claimed.rows}
        for transaction_id in sorted(self.records.keys() - self.undecided - believed - self.failed):
            assert self.all(lambda store, each=transaction_id: expire(store, each))
            del self.records[transaction_id]
            self.known_before.add(transaction_id)

    @rule(ids=st.lists(IDS, min_size=1, max_size=2))
    def failed_records_expire(self, ids: list[str]) -> None:
        believed = {each for claimed in self.held for each, _ in claimed.rows}
        for transaction_id in sorted(self.failed.intersection(ids, self.records) - self.undecided - believed):
            assert self.all(lambda store, each=transaction_id: expire(store, each))
            del self.records[transaction_id]
            self.known_before.add(transaction_id)

    def teardown(self) -> None:
        try:
            # what went wrong before is what shall be told
            if sys.exc_info()[0] is None:
                self.end()
        finally:
            for store in self.stores:
                store.close()

    def end(self) -> None:
        """The workers are lost; one that is new decides what is left."""
        for slot in range(len(self.names)):
            self.crash(slot)
        for worker in sorted(self.seen.workers - set(self.lease_over)):
            self.end_lease(worker)
        self.turn_runs_out()
        for _ in range(4 * len(self.undecided)):
            if not self.undecided:
                break
            self.sweep(0)
            self.the_store_is_as_it_must_be()
            self.claim(0, 4, 60.0)
            self.decide(0, [0.1])
            self.the_store_is_as_it_must_be()
        assert self.undecided == set()
