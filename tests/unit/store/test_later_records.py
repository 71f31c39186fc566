"""What a later release accepted is not this one's to read: it stays in line, and nothing waits behind it."""

import orjson
import pytest

from riskline.ingest.recording.strict_recorder import StrictRecorder
from riskline.shared.domain.assessment import decide
from riskline.shared.errors import ConflictError
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import RECORD_VERSION
from riskline.worker.scoring.drain import BATCH, Listeners
from tests.integration.stores import a_submission
from tests.support.api import Api
from tests.support.factories import AmountModel, a_transaction

LATER = 3 * BATCH


async def a_line(*, later: int, own: int) -> Api:
    """A store in which later records wait before own ones."""
    api = Api(queue_limit=10_000)
    await api.store.accept([a_submission(f"later-{number}") for number in range(later)])
    for number in range(later):
        record = orjson.loads(api.store.records[f"later-{number}"])
        record |= {"v": RECORD_VERSION + 1, "transaction": {"fields": record["transaction"]}}
        api.store.records[f"later-{number}"] = orjson.dumps(record)
    await api.store.accept([a_submission(f"own-{number}") for number in range(own)])
    return api


@pytest.mark.parametrize("own", [0, 1, 300])
async def test_all_that_is_own_is_decided_at_once_and_the_rest_is_left_as_it_was(own: int) -> None:
    api = await a_line(later=LATER, own=own)
    timed: list[int] = []
    told: list[int] = []

    decided = api.work(
        Listeners(time_batch=lambda transactions, _seconds: timed.append(transactions), later=told.append)
    )

    assert decided == own
    assert sorted(api.store.waiting) == sorted(f"later-{number}" for number in range(LATER))
    assert 0 not in timed
    assert sum(timed) == own
    assert max(told) == BATCH
    assert api.store.claimed == {}


async def test_what_a_worker_of_a_later_release_was_lost_with_keeps_no_own_one_waiting() -> None:
    """Suspects come before all others: after an upgrade that was taken back, only they would ever be claimed."""
    api = await a_line(later=2, own=0)
    api.store.claim("of the later release", count=2, lease_seconds=0)
    api.store.sweep("any", lease_seconds=60, turn_seconds=0)
    await api.store.accept([a_submission("own")])

    assert api.work() == 1
    assert sorted(api.store.waiting + api.store.suspects) == ["later-0", "later-1"]


async def test_the_strict_door_decides_nothing_that_a_later_release_queued() -> None:
    store = MemoryStore()
    submission = a_submission("L1")
    record = orjson.loads(submission.record) | {"v": RECORD_VERSION + 1}
    await store.accept([submission._replace(record=orjson.dumps(record))])
    transaction = a_transaction(transaction_id="L1", amount=9000)
    decision = decide(transaction, AmountModel(), scored_at="2026-11-24T03:15:07.123Z")

    with pytest.raises(ConflictError, match="later release"):
        await StrictRecorder(store).keep(transaction, decision, orjson.dumps(decision.to_dict()))

    assert orjson.loads(store.records["L1"])["status"] == "queued"
