"""Tickets from a thread of their own, for where their Redis has nothing else."""

import threading
from typing import Any

import fakeredis
import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.process.jobs import CALLBACKS_QUEUE, Tickets
from riskline.worker.scoring.tickets import TicketsBeside
from tests.integration.running import PATIENCE_SECONDS, eventually


def test_a_ticket_is_there_soon() -> None:
    redis = fakeredis.FakeRedis()

    TicketsBeside(redis, CALLBACKS_QUEUE).ensure()

    eventually(lambda: Queue(CALLBACKS_QUEUE, connection=redis, serializer=JSONSerializer).count == 1)


def test_who_wants_a_ticket_does_not_wait_for_a_redis_that_hangs_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, tried = threading.Event(), threading.Semaphore(0)
    faults: list[Exception] = [StoreUnavailableError("Redis: away"), ValueError("a mistake")]

    def ensure(_self: Any) -> None:
        tried.release()
        goes_on.wait()
        if faults:
            raise faults.pop()

    monkeypatch.setattr(Tickets, "ensure", ensure)
    tickets = TicketsBeside(fakeredis.FakeRedis())

    # would not come back from a try of its own
    for _ in range(5):
        tickets.ensure()
    assert tried.acquire(timeout=PATIENCE_SECONDS)
    tickets.ensure()
    goes_on.set()
    assert tried.acquire(timeout=PATIENCE_SECONDS)
    tickets.ensure()
    assert tried.acquire(timeout=PATIENCE_SECONDS)
