"""What must be true of the store, as a model in plain Python: compared with it after each step of the machine."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import orjson
from hypothesis.stateful import RuleBasedStateMachine, invariant

from riskline.shared.store.interfaces import NOTHING, Claim
from riskline.shared.store.records import Outcome, decided, failed
from tests.integration.store_seen import end_lease, seen_in
from tests.integration.stores import Store, a_decision

TICK_SECONDS = 0.0015
"""Redis counts milliseconds: leases that end in the same one would have no order."""

LONG_AGO = 1
"""In ms; leases that are made to run out do so one after the other from here on."""

LATE_IN_A_SECOND = 0.97
"""What a claim takes depends on the second, which must be the same for the second store."""


class StoreModel(RuleBasedStateMachine):
    """What must lie in a store, and what its three workers believe to hold; rules make something happen to both.

    A second store, where there is one, is told the same and must answer the same.
    """

    def __init__(self, *stores: Store) -> None:
        super().__init__()
        self.stores = stores
        self.seen = seen_in(stores[0])
        self.records: dict[str, bytes] = {}
        self.undecided: set[str] = set()
        self.failed: set[str] = set()
        self.known_before: set[str] = set()
        """Ids that were replayed or came anew: they may still lie where they were before."""
        self.losses: Counter[str] = Counter()
        self.feed: list[bytes] = []
        self.names = ["w0", "w1", "w2"]
        self.started = len(self.names)
        self.ended = 0
        self.held: list[Claim] = [NOTHING] * len(self.names)
        self.lease_over: list[str] = []
        self.turn: str | None = None
        self.unswept = False
        """Nobody has swept for longer than a lease: the next sweep spares all."""

    def all(self, call: Callable[[Store], Any]) -> Any:
        """The answer that each store gives."""
        if len(self.stores) > 1 and time.time() % 1 > LATE_IN_A_SECOND:
            time.sleep(1 - LATE_IN_A_SECOND)
        answers = [call(store) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    def leased(self, worker: str, seconds: float) -> None:
        self.lease_over = [each for each in self.lease_over if each != worker] + [worker] * (not seconds)
        time.sleep(0 if seconds else TICK_SECONDS)

    def claimed(self, slot: int, answer: Claim, count: int, lease: float, let_go: Sequence[str] = ()) -> None:
        before, worker = self.seen, self.names[slot]
        held = list(before.claimed.get(worker, []))
        for each in let_go:
            if each in held:
                held.remove(each)
        firsts = [held] if held else self.suspects_that_may_come(count)
        assert answer._replace(lost_of_late=False) in [self.claim_of(first, count) for first in firsts]
        self.held[slot] = answer
        self.leased(worker, lease)

    def suspects_that_may_come(self, count: int) -> list[list[str]]:
        """Those with one loss together; one with more alone and, while others wait, in every other second only."""
        suspects = self.seen.suspects
        first = self.losses[suspects[0]] if suspects else 0
        if first != 1:
            return [suspects[:1], []][: 1 + bool(first > 1 and self.seen.waiting)]
        return [list(takewhile(lambda each: self.losses[each] == 1, suspects[: max(1, count)]))]

    def claim_of(self, held: list[str], count: int) -> Claim:
        """What a claim answers a worker that holds this, or is given it first."""
        losses = self.losses[held[0]] if held else 0
        ids = held if losses else held + self.seen.waiting[: max(0, count - len(held))]
        records = [self.records.get(each) for each in ids]
        return Claim([(each, orjson.loads(it) if it else None) for each, it in zip(ids, records, strict=True)], losses)

    def outcomes(self, slot: int, fates: Sequence[float | str]) -> list[Outcome]:
        """What the worker makes of the rows that it believes to hold; it no longer believes so of these."""
        outcomes: list[Outcome] = []
        rows, later = self.held[slot].rows, []
        for i, (transaction_id, record) in enumerate(rows):
            fate = fates[i % len(fates)]
            if fate == "later":
                later.append((transaction_id, record))
            elif record is None or record["status"] != "queued":
                outcomes.append(Outcome(transaction_id, b"", b""))
            elif fate == "fails":
                outcomes.append(failed(transaction_id, record, "it raised ValueError"))
            else:
                outcomes.append(decided(record, a_decision(transaction_id, float(fate))))
        self.held[slot] = Claim(later, self.held[slot].losses)
        return outcomes

    def decided(self, outcomes: list[Outcome]) -> int:
        """How many of the outcomes come first."""
        number = 0
        for outcome in outcomes:
            if outcome.record and outcome.transaction_id in self.undecided and not self.is_of_an_earlier_try(outcome):
                self.undecided.remove(outcome.transaction_id)
                del self.losses[outcome.transaction_id]
                self.records[outcome.transaction_id] = outcome.record
                if outcome.decision:
                    self.feed.append(outcome.decision)
                else:
                    self.failed.add(outcome.transaction_id)
                number += 1
        return number

    def is_of_an_earlier_try(self, outcome: Outcome) -> bool:
        """Whether it is a failure that a replay has come after."""
        tries = [
            orjson.loads(each).get("replays", 0) for each in (outcome.record, self.records[outcome.transaction_id])
        ]
        return not outcome.decision and tries[0] != tries[1]

    def end_lease(self, worker: str) -> None:
        self.ended += 1  # in which order leases ended is the order of what is given back
        for store in self.stores:
            end_lease(store, worker, LONG_AGO + self.ended)
        self.lease_over.append(worker)

    @invariant()
    def the_journal_adds_up(self) -> None:
        for store in self.stores:
            counts = store.counts()
            assert counts.problems() == []
            assert (counts.undecided, counts.failed_now) == (len(self.undecided), len(self.failed))

    @invariant()
    def the_store_is_as_it_must_be(self) -> None:
        seen = self.seen = self.all(seen_in)
        assert seen.records == self.records
        assert seen.undecided == self.undecided
        assert {each for each, record in seen.records.items() if b'"queued"' in record} == self.undecided
        assert seen.feed == self.feed
        assert seen.losses == +self.losses
        assert seen.losses.keys() <= self.undecided
        assert seen.failed == self.failed
        assert seen.claimed.keys() <= seen.workers

    @invariant()
    def the_undecided_are_in_one_place(self) -> None:
        places = Counter([*self.seen.waiting, *self.seen.suspects])
        for ids in self.seen.claimed.values():
            places.update(ids)
        assert {each for each in self.undecided if not places[each]} == set()
        assert {each for each in self.undecided - self.known_before if places[each] > 1} == set()
