"""A delivery worker's thread: it takes while a ticket is worked on, and ends what is under way whether or not."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from riskline.worker.delivery import composition
from riskline.worker.delivery.composition import DeliveryRuntime
from riskline.worker.scoring.pulse import Pulse
from tests.integration.running import eventually


class Deliverer:
    """Notes when it may take, and whether its loop goes on."""

    def __init__(self) -> None:
        self.idle_seconds = 0.0
        self.took = self.turns = 0
        self.ended = False

    async def run(self, *, active: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        while not stopping():
            self.turns += 1
            self.took += active()
            await asyncio.sleep(0.001)
        self.ended = True

    def end_pause(self) -> None:
        """It looks all the time."""


class Clock:
    """The time of a ticket, which goes on by its pauses alone, and by one only once the loop has had a turn."""

    def __init__(self, deliverer: Deliverer) -> None:
        self.now = 0.0
        self._deliverer = deliverer

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        turns = self._deliverer.turns
        eventually(lambda: self._deliverer.turns > turns + 1)
        self.now += seconds


@pytest.fixture
def started() -> Iterator[tuple[DeliveryRuntime, Deliverer, threading.Event]]:
    deliverer, stopping = Deliverer(), threading.Event()
    build: Any = lambda: deliverer  # noqa: E731
    runtime = DeliveryRuntime(build, stopping=stopping.is_set, pulse=Pulse())
    runtime.start()
    yield runtime, deliverer, stopping
    runtime.close()


def test_between_two_tickets_nothing_is_taken_and_what_is_under_way_goes_on(
    started: tuple[DeliveryRuntime, Deliverer, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, deliverer, _ = started
    monkeypatch.setattr(composition, "TIME_SLICE_SECONDS", 0.1)
    monkeypatch.setattr(composition, "time", Clock(deliverer))

    assert deliverer.took == 0
    runtime.deliver()
    took, turns = deliverer.took, deliverer.turns
    eventually(lambda: deliverer.turns > turns + 10)

    assert took > 0
    assert deliverer.took <= took + 1


def test_a_ticket_ends_once_nothing_was_due_for_a_while(
    started: tuple[DeliveryRuntime, Deliverer, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, deliverer, _ = started
    monkeypatch.setattr(composition, "time", clock := Clock(deliverer))
    deliverer.idle_seconds = 100.0

    runtime.deliver()

    assert composition.HOT_SECONDS <= clock.now <= composition.HOT_SECONDS + 2 * composition.PAUSE_SECONDS


def test_a_process_that_is_to_stop_ends_its_ticket_and_its_thread(
    started: tuple[DeliveryRuntime, Deliverer, threading.Event],
) -> None:
    runtime, deliverer, stopping = started
    threading.Timer(0.1, stopping.set).start()

    runtime.deliver()
    runtime.close()

    assert deliverer.ended
