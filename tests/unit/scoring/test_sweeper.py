"""The thread beside a worker's jobs: signs of life, what others left behind, a batch that hangs."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from rq.timeouts import JobTimeoutException
from structlog.testing import capture_logs

from riskline.shared.outage import Outage
from riskline.shared.store.memory import MemoryStore
from riskline.shared.store.records import queued_record
from riskline.worker.scoring import drain as draining
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.sweeper import HANGS_ROUNDS, Rounds, SideBySide, Sweeper
from tests.integration.running import PATIENCE_SECONDS, eventually
from tests.support.factories import AmountModel, a_transaction


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A sweeper over a store in memory."""

    def __init__(self) -> None:
        self.time = Time()
        self.store = MemoryStore(clock=self.time)
        self.tickets = Mock()
        self.ended = Mock()
        self.pulse = Pulse(end=self.ended)
        self.sweeper = Sweeper(
            worker="me",
            queue=self.store,
            tickets=self.tickets,
            serving=Mock(),
            pulse=self.pulse,
        )

    async def accept(self, *names: str) -> None:
        await self.store.accept(
            [
                queued_record(a_transaction(transaction_id=name), submitted_at="2026-11-24T03:15:07.123Z")
                for name in names
            ]
        )


async def test_what_a_lost_worker_held_gets_a_ticket() -> None:
    watched = Watched()
    await watched.accept("a", "b")
    watched.store.claim("lost", count=1, lease_seconds=5)
    watched.time.now += 5

    with capture_logs() as logs:
        watched.sweeper.sweep()

    assert watched.store.suspects == ["a"]
    watched.tickets.ensure.assert_called_once()
    assert [(each["worker"], each["transactions"]) for each in logs] == [("lost", 1)]


def test_where_nothing_waits_no_ticket_is_made() -> None:
    watched = Watched()

    watched.sweeper.sweep()

    watched.tickets.ensure.assert_not_called()


async def test_a_slow_batch_is_not_taken_from_the_worker_that_lives() -> None:
    watched = Watched()
    await watched.accept("a")
    watched.store.claim("me", count=1, lease_seconds=5)
    for _ in range(20):
        watched.time.now += 1
        watched.sweeper.sweep()

    assert watched.store.sweep("other", lease_seconds=5, turn_seconds=1).gone == {}


async def test_claims_that_a_drain_could_not_give_back_are_given_back_later_and_unsuspected() -> None:
    watched = Watched()
    await watched.accept("a", "b")
    with watched.pulse.holding(give_back=lambda: watched.store.leave("me")):
        watched.store.claim("me", count=2, lease_seconds=5)
        watched.store.away = True
    watched.store.away = False

    watched.sweeper.sweep()

    assert (watched.store.waiting, watched.store.suspects) == (["a", "b"], [])


def test_a_worker_whose_batch_hangs_ends_itself() -> None:
    watched = Watched()

    with watched.pulse.assessing():
        for _ in range(HANGS_ROUNDS):
            watched.sweeper.watch()
        assert not watched.ended.called
        watched.sweeper.watch()

    assert watched.ended.called


def test_a_worker_that_waits_or_has_another_batch_each_time_does_not_hang() -> None:
    watched = Watched()
    for _ in range(2 * HANGS_ROUNDS):
        watched.sweeper.watch()
        with watched.pulse.assessing():
            watched.sweeper.watch()

    assert not watched.ended.called


async def test_where_memory_runs_out_the_worker_ends_and_no_row_fails() -> None:
    watched = Watched()
    watched.ended.side_effect = ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await outcome_where_the_model_raises(MemoryError(), watched)

    assert (await watched.store.get(["a"]))[0]["status"] == "queued"


async def test_a_suspect_fails_once_three_workers_were_lost_with_it() -> None:
    watched = Watched()
    await watched.accept("a")
    for lost in range(draining.MAX_LOSSES):
        watched.store.claim(f"lost-{lost}", count=1, lease_seconds=5)
        for _ in range(6):
            watched.time.now += 1
            watched.sweeper.sweep()

    draining.drain(
        watched.store,
        worker="me",
        pulse=Pulse(),
        model=AmountModel,
        transaction_class=type(a_transaction()),
        time_is_over=lambda: not watched.store.undecided,
    )

    (record,) = await watched.store.get(["a"])
    assert record is not None
    assert (record["status"], record["error"]) == ("failed", "3 processes were lost while they assessed it")


def test_an_outage_is_logged_once_and_its_end_once() -> None:
    log = Mock()
    outage = Outage(log, failing="away", back="back")

    for _ in range(1000):
        outage.failed("refused")
    outage.over()
    outage.over()

    log.warning.assert_called_once_with("away", problem="refused")
    assert log.info.call_count == 1


class Raising(AmountModel):
    """A model that raises what a test says."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def score_one(self, features: Sequence[float]) -> float:
        raise self._error


async def outcome_where_the_model_raises(error: BaseException, watched: Watched | None = None) -> str:
    watched = watched or Watched()
    await watched.accept("a")
    draining.drain(
        watched.store,
        worker="me",
        pulse=watched.pulse,
        model=lambda: Raising(error),
        transaction_class=type(a_transaction()),
        time_is_over=lambda: not watched.store.undecided,
    )
    (record,) = await watched.store.get(["a"])
    assert record is not None
    return str(record["error"])


class PanicException(BaseException):
    """As an extension in Rust raises it."""


@pytest.mark.parametrize("error", [SystemExit(1), PanicException(), KeyboardInterrupt(), ValueError()])
async def test_whatever_a_row_raises_fails_the_row_and_not_the_worker(error: BaseException) -> None:
    reason = await outcome_where_the_model_raises(error)

    assert reason.startswith(f"deciding it raised {type(error).__name__} at test_sweeper.py:")


async def test_a_job_whose_time_is_over_fails_no_transaction() -> None:
    with pytest.raises(JobTimeoutException):
        await outcome_where_the_model_raises(JobTimeoutException())


def test_a_row_that_keeps_all_python_from_running_is_ended_by_the_kernel() -> None:
    hangs = (
        "import re; from riskline.worker.scoring.pulse import Pulse\n"
        "with Pulse(most_cpu_seconds=0.2).assessing(): re.fullmatch('(a+)+b', 'a' * 60)"
    )

    ended = subprocess.run([sys.executable, "-c", hangs], timeout=PATIENCE_SECONDS, check=False)

    assert ended.returncode == -signal.SIGPROF


def test_a_batch_in_time_ends_nothing() -> None:
    fine = (
        "from riskline.worker.scoring.pulse import Pulse\n"
        "pulse = Pulse(most_cpu_seconds=0.2)\nwith pulse.assessing(): pass\n"
        "sum(range(30_000_000))"
    )

    assert subprocess.run([sys.executable, "-c", fine], timeout=PATIENCE_SECONDS, check=False).returncode == 0


def test_a_worker_that_stops_gives_back_what_it_held_once_and_not_before_each_shard_was_asked() -> None:
    watched = Watched()
    leave = watched.store.leave = Mock()  # type: ignore[method-assign]
    watched.pulse.left_behind = True
    watched.sweeper.start()
    eventually(lambda: leave.called)
    watched.pulse.left_behind = True
    leave.reset_mock()

    watched.sweeper.end_soon()
    watched.sweeper.sweep()
    assert not leave.called
    watched.sweeper.stop()

    leave.assert_called_once_with("me", ends=True)


class Waits(Rounds):
    """A round that waits until all of them are to end, as for a Redis that hangs."""

    def __init__(self, ending: threading.Barrier) -> None:
        super().__init__("waits")
        self._ending = ending
        self.began = threading.Event()

    def round(self) -> None:
        self.began.set()
        self._stop.wait(5)
        # all of them at once, or none
        self._ending.wait(1)


@pytest.mark.parametrize("kind", ["callbacks", "scoring"])
def test_rounds_that_wait_for_redis_when_they_are_to_end_wait_at_the_same_time(kind: str) -> None:
    ending = threading.Barrier(3)
    parts: Any = [Waits(ending) for _ in range(3)]
    beside = Sweeper(worker="me", queue=MemoryStore(), tickets=Mock(), serving=Mock(), pulse=Pulse(), shards=parts)
    threads = SideBySide(parts) if kind == "callbacks" else beside
    threads.start()
    assert all(each.began.wait(PATIENCE_SECONDS) for each in parts)

    threads.stop()

    assert not ending.broken
