"""A row that ends its process is found out in another one, at once, and the worker and the other rows live on."""

import ctypes
import errno
import faulthandler
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from riskline.shared.store.memory import MemoryStore
from riskline.worker.scoring import isolated_trial
from riskline.worker.scoring.drain import drain
from riskline.worker.scoring.isolated_trial import fatal_rows
from riskline.worker.scoring.pulse import Pulse
from tests.integration.stores import a_submission
from tests.support.factories import AmountModel, a_transaction

ENDS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "a fault of memory": lambda: ctypes.string_at(0),
    "an exit": lambda: os._exit(0),
    "aborted": os.abort,
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """pytest's handler would print a traceback of each process that is meant to end."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if was_enabled:
        faulthandler.enable()


def attempt(rows: Sequence[Any]) -> None:
    for row in rows:
        if row in ENDS:
            ENDS[row]()
        if row == "raises":
            raise MemoryError
        if row == "hangs":
            time.sleep(60)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", [0, 3, 9])
def test_the_row_that_ends_its_process_is_found(end: str, place: int) -> None:
    rows: list[object] = list(range(10))
    rows[place] = end

    assert fatal_rows(rows, attempt, times=2) == {place: 2}


def test_several_are_found_and_none_besides() -> None:
    rows = [1, "killed", 2, "aborted", "an exit", 3]

    assert fatal_rows(rows, attempt, times=3) == {1: 3, 3: 3, 4: 3}


@pytest.mark.parametrize("rows", [[], [1], [1, "raises", 2], ["raises"]])
def test_what_only_raises_or_is_all_right_is_not(rows: list[object]) -> None:
    assert fatal_rows(rows, attempt, times=1) == {}


def test_a_try_that_says_nothing_for_too_long_is_ended_and_says_nothing_of_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated_trial, "SILENT_SECONDS", 0.2)

    assert fatal_rows([1, "hangs"], attempt, times=1) == {}


def test_where_the_system_allows_no_other_process_the_rows_are_decided_without_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    before = sorted(Path("/dev/fd").iterdir())

    assert fatal_rows([1, 2], attempt, times=1) == {}
    assert sorted(Path("/dev/fd").iterdir()) == before


def test_a_process_that_ends_by_chance_is_no_verdict(tmp_path: Any) -> None:
    def once(rows: Sequence[int]) -> None:
        if 2 in rows and not (tmp_path / f"{len(rows)}").exists():
            (tmp_path / f"{len(rows)}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    assert fatal_rows([1, 2, 3], once, times=2) == {}


class Deadly(AmountModel):
    """Ends whoever scores an amount of 666, and says whom it met in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.pid = os.getpid()
        self.met: list[float] = []

    def score_one(self, features: Sequence[float]) -> float:
        if features[0] == 666:
            os.kill(os.getpid() if os.getpid() != self.pid else 0, signal.SIGKILL)
        self.met.append(features[0])
        return super().score_one(features)


def work(store: MemoryStore, model: AmountModel) -> None:
    drain(
        store,
        worker="me",
        pulse=Pulse(),
        model=lambda: model,
        transaction_class=type(a_transaction()),
        time_is_over=lambda: not store.undecided,
    )


async def test_twenty_killers_among_thousands_cost_no_worker_once_one_was_lost() -> None:
    """All others are decided, each killer fails alone after three processes, and this one lives."""
    now = [100.0]
    store = MemoryStore(clock=lambda: now[0])
    amounts = {f"t{n}": 666.0 if n % 100 == 50 else 1.0 for n in range(2000)}
    await store.accept([a_submission(each, amount=amount) for each, amount in amounts.items()])
    store.claim("lost", count=256, lease_seconds=5)
    now[0] += 6
    store.sweep("me", lease_seconds=60, turn_seconds=1)
    model = Deadly()

    work(store, model)

    found = dict(zip(amounts, await store.get(list(amounts)), strict=True))
    failed = {each for each, record in found.items() if record and record["status"] == "failed"}
    assert failed == {each for each, amount in amounts.items() if amount == 666}
    assert all(record and record["status"] in {"scored", "failed"} for record in found.values())
    assert {record["error"] for each in failed if (record := found[each])} == {
        "3 processes were lost while they assessed it"
    }
    assert 666.0 not in model.met


async def test_without_a_loss_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated_trial.os, "fork", lambda: pytest.fail("it forks"))
    store = MemoryStore()
    await store.accept([a_submission("a"), a_submission("b")])

    work(store, AmountModel())

    assert not store.undecided
