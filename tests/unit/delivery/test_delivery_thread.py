"""A delivery worker's thread: it takes while a ticket is worked on, and ends what is under way whether or not."""

import asyncio
import threading
import time
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

    def look(self) -> None:
        """It looks all the time."""


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

    assert deliverer.took == 0
    runtime.deliver()
    eventually(lambda: deliverer.took > 0)
    took, turns = deliverer.took, deliverer.turns
    time.sleep(0.05)

    assert deliverer.took <= took + 1
    assert deliverer.turns > turns


def test_a_ticket_ends_once_nothing_was_due_for_a_while(
    started: tuple[DeliveryRuntime, Deliverer, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, deliverer, _ = started
    monkeypatch.setattr(composition, "HOT_SECONDS", 0.1)
    deliverer.idle_seconds = 100.0

    began = time.monotonic()
    runtime.deliver()

    assert 0.1 <= time.monotonic() - began < 2


def test_a_process_that_is_to_stop_ends_its_ticket_and_its_thread(
    started: tuple[DeliveryRuntime, Deliverer, threading.Event],
) -> None:
    runtime, deliverer, stopping = started
    threading.Timer(0.1, stopping.set).start()

    runtime.deliver()
    runtime.close()

    assert deliverer.ended
