"""Queued transactions of a class with history are decided by the values in their records, whoever decides them when."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest

from riskline import Count, Entity
from riskline.shared.domain.assessment import decide
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.bundle import ServingModel
from riskline.shared.model.registry import Registry
from riskline.shared.store.feed import OLDEST
from riskline.shared.store.interfaces import Claim
from riskline.shared.store.records import queued_record
from riskline.shared.store.sharding import sharded_queue
from riskline.worker.scoring import drain as draining
from riskline.worker.scoring.isolated_trial import without_fatal_rows
from riskline.worker.scoring.pulse import Pulse
from tests.integration.garbage import VALUES
from tests.integration.stores import NOW, Store
from tests.support.histories import Purchase, purchase
from tests.support.models import write_version_with_history

pytestmark = pytest.mark.integration


class Changed(Purchase):
    """A later version of the class: the same columns, of which one has another window."""

    purchases_1h: Annotated[int, Count("card_id", "2h")]


class Kept(Purchase):
    """A later version of the class: the same columns of cards that are kept for longer."""

    card_id: Annotated[str, Entity("60d")]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(draining, "HOT_WAITS", 4)


class Versions:
    """Model versions that decline above four purchases an hour, and without history above four items."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir

    def of(self, transaction_class: type[TransactionModel], *, twin: bool = True) -> ServingModel:
        made = write_version_with_history(
            self._models_dir / f"{transaction_class.__name__}-{twin}",
            transaction_class,
            by_history=("purchases_1h", 4),
            by_twin=("items", 4) if twin else None,
        )
        return Registry(self._models_dir / f"{transaction_class.__name__}-{twin}").load(
            made.version, inputs_of(transaction_class)
        )


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Versions]:
    return Versions(tmp_path)


def accepted(store: Store, count: int = 4) -> list[Purchase]:
    """Purchases with many items, of which the odd ones come after nine of their card; the first is without history."""
    transactions = []
    for number in range(count):
        made = Purchase.from_row(purchase(number, items=9))
        if number:
            made = made.with_history([9.0 if number % 2 else 0.1 if not each.whole else 1.0 for each in columns()])
        transactions.append(made)
    store.accept(*[queued_record(each, submitted_at=NOW) for each in transactions])
    return transactions


def columns() -> Any:
    history = history_of(Purchase)
    assert history is not None
    return history.columns


def drained(store: Store, model: Any, transaction_class: type[TransactionModel] = Purchase) -> int:
    return draining.drain(
        store.queue,
        worker="w1",
        pulse=Pulse(),
        model=lambda: model,
        transaction_class=transaction_class,
        time_is_over=lambda: False,
    )


def decisions(store: Store, count: int = 4) -> list[dict[str, Any]]:
    found = [store.get(f"P-{number}")["decision"] for number in range(count)]
    return [{name: value for name, value in each.items() if name != "scored_at"} for each in found]


def test_a_worker_decides_as_it_is_decided_in_process_to_the_bit(store: Store, versions: Versions) -> None:
    transactions, model = accepted(store), versions.of(Purchase)

    assert drained(store, model) == 4

    alone = [decide(each, model, scored_at=NOW).to_dict() for each in transactions]
    for each in alone:
        del each["scored_at"]
    assert decisions(store) == alone
    assert [each["action"] for each in alone] == ["DECLINE", "DECLINE", "APPROVE", "DECLINE"]
    assert [each.get("history") for each in alone] == ["away", None, None, None]
    assert [store.get(f"P-{i}")["history"] == "away" for i in range(4)] == [True, False, False, False]


def test_what_a_lost_worker_had_is_decided_by_the_same_values(
    store: Store, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tried in a process of their own before, as one of them may have ended the worker."""
    transactions, model = accepted(store), versions.of(Purchase)
    tried: list[int] = []

    def attempt(claimed: Claim, *arguments: Any, **named: Any) -> Any:
        tried.append(claimed.losses)
        return without_fatal_rows(claimed, *arguments, **named)

    monkeypatch.setattr(draining, "without_fatal_rows", attempt)
    monkeypatch.setattr(sharded_queue, "LOOK_SECONDS", 0.0)
    store.queue.claim("lost", count=10, lease_seconds=0)
    store.sweep(lease_seconds=60, turn_seconds=0)

    drained(store, model)

    assert 1 in tried
    alone = [decide(each, model, scored_at=NOW).to_dict() for each in transactions]
    assert [each["fraud_probability"] for each in decisions(store)] == [each["fraud_probability"] for each in alone]
    assert [each.get("history") for each in decisions(store)] == ["away", None, None, None]


def test_the_feed_says_which_were_decided_without_history(store: Store, versions: Versions) -> None:
    accepted(store)
    drained(store, versions.of(Purchase))

    said = {each["transaction_id"]: each.get("history") for each in map(orjson.loads, store.page(OLDEST).decisions)}

    assert said == {"P-0": "away", "P-1": None, "P-2": None, "P-3": None}


@pytest.mark.parametrize("changed", [Changed, Kept])
def test_what_was_accepted_with_other_windows_is_decided_by_the_twin(
    store: Store, versions: Versions, changed: type[TransactionModel]
) -> None:
    accepted(store)

    assert drained(store, versions.of(changed), changed) == 4

    assert [each["history"] for each in decisions(store)] == ["away"] * 4
    assert [each["action"] for each in decisions(store)] == ["DECLINE"] * 4
    assert [store.get(f"P-{i}")["history"] for i in range(4)] == ["away"] * 4


@pytest.mark.parametrize("changed", [False, True])
def test_without_a_twin_what_has_no_history_fails_alone_with_its_reason_and_can_be_tried_again(
    store: Store, versions: Versions, *, changed: bool
) -> None:
    accepted(store)
    transaction_class = Changed if changed else Purchase

    assert drained(store, versions.of(transaction_class, twin=False), transaction_class) == 4

    records = [store.get(f"P-{i}") for i in range(4)]
    failures = [record for record in records if record["status"] == "failed"]
    assert len(failures) == (4 if changed else 1)
    assert "; model" in records[0]["error"]
    assert "its history was away when it was accepted" in records[0]["error"]
    if changed:
        assert "no history of the columns that the transaction class has now" in records[1]["error"]
    assert "RISKLINE_HISTORY is `required`, or the version has no twin" in failures[0]["error"]

    assert len(store.failures.replay([f"P-{i}" for i in range(4)]).replayed) == len(failures)
    assert drained(store, versions.of(Purchase)) == len(failures)
    assert [each.get("history") for each in decisions(store)] == ["away", None, None, None]


def test_a_worker_that_may_not_decide_without_history_fails_what_has_none(store: Store, versions: Versions) -> None:
    accepted(store)

    drained(store, versions.of(Purchase).without_twin())

    assert [store.get(f"P-{i}")["status"] for i in range(4)] == ["failed", "scored", "scored", "scored"]


@pytest.mark.parametrize("damaged", [{"purchases_1h": "x"}, {"purchases_1h": None}, {}])
def test_a_record_with_damaged_values_is_decided_by_the_twin_never_by_zeros(
    versions: Versions, damaged: dict[str, Any]
) -> None:
    model = versions.of(Purchase)
    made = Purchase.from_row(purchase(items=9)).with_history([0.0] * len(columns()))
    record = orjson.loads(queued_record(made, submitted_at=NOW).record)
    record["history"] = {**record["history"], **damaged} if damaged else {}

    (outcome,) = draining.outcomes(Claim([("P-1", record)]), model=model, transaction_class=Purchase)

    decision = orjson.loads(outcome.decision)
    assert (decision["action"], decision["history"]) == ("DECLINE", "away")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_record_says_of_its_history_it_is_decided_by_that_or_by_the_twin_or_fails(
    versions: Versions, seed: int
) -> None:
    """The model decides where each column has a number of its kind, else the twin."""
    chance, model = random.Random(seed), versions.of(Purchase)
    sound = orjson.loads(
        queued_record(Purchase.from_row(purchase()).with_history([1.0] * len(columns())), submitted_at=NOW).record
    )
    records = []
    for _ in range(200):
        record = orjson.loads(orjson.dumps(sound))
        for name in chance.sample(sorted(record["history"]), chance.randint(0, 2)):
            record["history"][name] = chance.choice(VALUES)
        for name in chance.sample(["history", "history_of", "history_order"], chance.choice((0, 0, 1))):
            record[name] = chance.choice(VALUES)
        records.append(record)

    done = draining.outcomes(Claim([("P-1", each) for each in records]), model=model, transaction_class=Purchase)

    assert len(done) == len(records)
    by_model = 0
    for outcome in done:
        if not outcome.decision:
            assert orjson.loads(outcome.record)["status"] == "failed"
            continue
        decision = orjson.loads(outcome.decision)
        kept = orjson.loads(outcome.record)["history"]
        assert (decision.get("history") == "away") == (kept == "away")
        by_model += kept != "away"
        assert kept == "away" or all(type(value) in (int, float) for value in kept.values())
    assert 20 < by_model < len(records)


def test_a_feature_that_makes_no_number_of_the_history_fails_its_row_alone(store: Store, versions: Versions) -> None:
    transactions = [Purchase.from_row(purchase(number)).with_history([1.0] * len(columns())) for number in range(3)]
    submissions = [queued_record(each, submitted_at=NOW) for each in transactions]
    wrong = submissions[1].record.replace(b'"mean_30d":1.0', b'"mean_30d":1e-320')
    store.accept(submissions[0], submissions[1]._replace(record=wrong), submissions[2])

    class Divides(Purchase):
        """Its ratio is not finite where the mean is next to nothing."""

        def _usual(self) -> float:
            return self.mean_30d

    drained(store, versions.of(Divides), Divides)

    assert [store.get(f"P-{i}")["status"] for i in range(3)] == ["scored", "failed", "scored"]
    assert "does not fit the transaction class in: cost_to_mean" in store.get("P-1")["error"]


def test_an_erased_one_keeps_nothing_of_its_history(store: Store, versions: Versions) -> None:
    accepted(store)
    drained(store, versions.of(Purchase))

    store.erase("P-1")

    assert not {"history", "history_of"} & store.get("P-1").keys()
